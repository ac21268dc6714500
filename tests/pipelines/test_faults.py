"""A whole run through a proxy that breaks a tenth of all requests: the same results, or an error that says why."""

import json
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from fault_proxy import KINDS, FaultProxy

from tamis import store
from tamis.cli import main
from tamis.store import Connection

RUNS = 2


def results(out: Path, release: str) -> dict[str, Any]:
    """What a run found, without what differs between two runs: times, and the workspace's name."""
    tables = [path for name in ("shard-*", "heldout", "decisions") for path in out.rglob(f"{name}.parquet")]
    found: dict[str, Any] = {
        f"{path.parent.name}/{path.name}": sha256(path.read_bytes()).hexdigest() for path in sorted(tables)
    }
    figures = json.loads((out / "report.json").read_text())
    found |= {f"measures of {name}": arm["measures"] for name, arm in figures["arms"].items()}
    files = store.read_manifest(release).files
    return found | {name: one for name, one in files.items() if name.endswith((".safetensors", ".parquet"))}


@pytest.mark.slow
def test_a_run_over_a_bad_network_finds_the_same(
    config: Path,
    bucket: str,
    s3: Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> None:
    monkeypatch.setenv("TAMIS_S3_TIMEOUT", "10")  # a part of a model takes seconds on a busy machine
    monkeypatch.setenv("TAMIS_S3_THREADS", "3")
    release = f"{bucket}/work/releases/numbers/1"
    assert main(["run", str(config), "--out", str(tmp_path / "straight")]) == 0
    wanted = results(tmp_path / "straight", release)
    ended, made, requests = Counter[str](), Counter[str](), 0
    for number in range(RUNS):
        workspace = f"{bucket}/work-{number}"
        monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / f"cache-{number}"))
        with FaultProxy(s3.endpoint, stall=11.0, seed=number) as proxy:
            monkeypatch.setenv("TAMIS_S3_ENDPOINT", proxy.url)
            proxy.at_rate(0.1)
            capfd.readouterr()
            out = tmp_path / str(number)
            code = main(["run", str(config), "--set", f"workspace={workspace}", "--out", str(out)])
            proxy.shutdown()
        monkeypatch.setenv("TAMIS_S3_ENDPOINT", s3.endpoint)
        made.update(proxy.made)
        requests += proxy.requests
        told = capfd.readouterr().err
        if code:
            ended["error"] += 1
            assert told.strip().splitlines()[-1].startswith("tamis: ") and "Traceback" not in told.splitlines()[-1]
        else:
            ended["identical"] += 1
            assert results(out, f"{workspace}/releases/numbers/1") == wanted
    for name, value in {**ended, **made, "requests": requests}.items():
        record_property(name, value)
    print(dict(ended), dict(made), requests)
    assert ended["identical"] and set(made) == set(KINDS)
