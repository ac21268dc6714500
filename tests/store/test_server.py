import os
import subprocess
import sys
from pathlib import Path

import pytest

from tamis import store
from tamis.store import server


def test_up_again_and_down_across_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"from tamis.store import server; server.up({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    try:
        at = server.status(tmp_path)
        assert at and server.up(tmp_path) == at
        for name, value in at.environ().items():
            monkeypatch.setenv(name, value)
        store.write_bytes("s3://tamis/x", b"kept")
        files = [path for path in tmp_path.iterdir() if path.is_file()]
        holding = [path for path in files if at.secret_key in path.read_text()]
        assert sorted(path.name for path in holding) == ["env", "s3.json", "server.json"]
        assert {path.stat().st_mode & 0o777 for path in holding} == {0o600}
        assert at.secret_key not in repr(at) and at.access_key not in repr(at)
    finally:
        assert server.down(tmp_path)
    assert server.status(tmp_path) is None and not server.down(tmp_path)
    with server.running(tmp_path) as again:  # other ports, the same keys and data
        monkeypatch.setenv("TAMIS_S3_ENDPOINT", again.endpoint)
        assert again.secret_key == at.secret_key
        assert store.read_bytes("s3://tamis/x") == b"kept"
    assert not [name for name in os.listdir("/tmp") if name == f"seaweedfs-s3-{again.endpoint.rpartition(':')[2]}.sock"]
