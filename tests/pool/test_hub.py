"""Data sets of the hub, through the real client against a server on this machine that answers as the hub does."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "README.md": b"about",
    "dataset_infos.json": b"{}",
    "main/train-00000.jsonl": b'{"prompt": "1+1?", "response": "2"}\n{"prompt": "1+2?", "response": "3"}\n',
    "main/test-00000.jsonl": b'{"prompt": "2+2?", "response": "4"}\n',
}


class _Hub(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/api/datasets/org/sums"):
            body = json.dumps(self._told(path)).encode()
            self._answer({"Content-Type": "application/json", "Content-Length": str(len(body))}, body)
        elif (name := path.partition(f"/resolve/{COMMIT}/")[2]) in FILES:
            tag = hashlib.sha1(FILES[name]).hexdigest()
            size = str(len(FILES[name]))
            self._answer({"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT, "Content-Length": size}, FILES[name])
        else:
            self._answer({"X-Error-Code": "RepoNotFound", "Content-Length": "0"}, b"", 404)

    do_HEAD = do_GET

    def _told(self, path: str) -> object:
        if "/tree/" in path:
            return [{"type": "file", "path": name, "size": len(data), "oid": COMMIT} for name, data in FILES.items()]
        return {"id": "org/sums", "sha": COMMIT, "siblings": [{"rfilename": name} for name in FILES]}

    def _answer(self, headers: dict[str, str], body: bytes, status: int = 200) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a process that finds the server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    yield plain | {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "hf")}
    server.shutdown()


def test_a_data_set_s_split_is_named_and_read(hub: dict[str, str], tmp_path: Path) -> None:
    def prepare(uri: str) -> subprocess.CompletedProcess[str]:
        code = "import sys; from tamis.cli import main; sys.exit(main())"
        command = [sys.executable, "-c", code, "prepare", uri, "--out", str(tmp_path / "out")]
        return subprocess.run(command, capture_output=True, text=True, env=hub)

    told = prepare("hf://datasets/org/sums")
    assert told.returncode == 2
    assert "has the splits test, train; name the files, such as hf://datasets/org/sums/*train*" in told.stderr
    told = prepare("hf://datasets/org/sums/*train*")
    assert told.returncode == 0, told.stderr
    assert "pool: 2 rows of 2 read" in told.stdout
    told = prepare("hf://datasets/org/none")
    assert told.returncode == 2 and "no such dataset or revision on the hub" in told.stderr
