import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tamis import store
from tamis.errors import TamisError
from tamis.store import s3
from tamis.store.uri import parse

FETCH = "import sys; from tamis import store; print(store.fetch(sys.argv[1]))"


@pytest.fixture
def model(bucket: str, tmp_path: Path) -> str:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(os.urandom(30 << 20))
    store.upload_folder(folder, f"{bucket}/model")
    return f"{bucket}/model"


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The requests made."""
    seen: list[str] = []
    execute = s3.execute

    def counted(client: object, method: str, uri: object, *args: object, **more: object) -> object:
        seen.append(f"{method} {uri}")
        return execute(client, method, uri, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(s3, "execute", counted)
    return seen


def test_a_local_path_is_itself(tmp_path: Path) -> None:
    assert store.fetch(tmp_path) == tmp_path and store.fetch(f"file://{tmp_path}") == tmp_path


def test_a_folder_is_fetched_once(model: str, tmp_path: Path, requests: list[str]) -> None:
    path = store.fetch(model)
    assert path.is_relative_to(tmp_path / "cache") and path.name == store.read_manifest(model).digest
    assert (path / "model.safetensors").read_bytes() == (tmp_path / "model" / "model.safetensors").read_bytes()
    requests.clear()
    assert store.fetch(model.replace("s3://", "minio://")) == path
    assert [one.split("/")[-1] for one in requests if one.startswith("GET")][-1:] == ["manifest.json"]
    assert not [one for one in requests if "safetensors" in one]
    path.joinpath("config.json").chmod(0o644)
    path.joinpath("config.json").write_text("longer than it was")
    assert (store.fetch(model) / "config.json").read_text() == "{}"


def test_new_content_is_a_new_entry(bucket: str) -> None:
    store.write_bytes(f"{bucket}/rows.jsonl", b"1")
    old = store.fetch(f"{bucket}/rows.jsonl")
    store.write_bytes(f"{bucket}/rows.jsonl", b"2")
    new = store.fetch(f"{bucket}/rows.jsonl")
    assert old.read_bytes() == b"1" and new.read_bytes() == b"2" and new.name == "rows.jsonl"


def test_two_processes_download_once(model: str, tmp_path: Path, s3_server: store.Connection) -> None:
    command = [sys.executable, "-c", FETCH, model]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})
        for _ in range(2)
    ]
    results = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], results
    assert results[0][0] == results[1][0]
    entries = [path for path in (tmp_path / "cache").iterdir() if not path.name.startswith(".")]
    assert len(entries) == 1 and str(entries[0]) == results[0][0].strip()


def test_only_one_downloads_while_the_other_waits(
    model: str, monkeypatch: pytest.MonkeyPatch, requests: list[str]
) -> None:
    import threading

    paths: list[Path] = []
    threads = [threading.Thread(target=lambda: paths.append(store.fetch(model))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 4 and len(set(paths)) == 1
    assert sum(one.startswith("GET") and one.endswith("model.safetensors") for one in requests) == 2  # its two ranges


def test_a_killed_download_is_not_taken_for_whole(model: str, tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", FETCH, model], env={**os.environ}, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 30
    while not list((tmp_path / "cache").glob(".*.part/.*.part")) and process.poll() is None:
        assert time.monotonic() < until
    process.kill()
    process.wait()
    path = store.fetch(model)
    assert (path / "model.safetensors").read_bytes() == (tmp_path / "model" / "model.safetensors").read_bytes()
    assert not list((tmp_path / "cache").glob(".*.part"))


def test_an_unwritable_cache_says_what_to_set(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write_bytes(f"{bucket}/x", b"x")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(TamisError, match="TAMIS_CACHE"):
        store.fetch(f"{bucket}/x")


def test_digest_of_an_object_is_asked_not_computed(bucket: str) -> None:
    store.write_bytes(f"{bucket}/x", b"x")
    assert s3.stat(parse(f"{bucket}/x")).sha256 == s3.sha256(b"x")
