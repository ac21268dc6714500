import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tamis import store
from tamis.errors import TamisError, UserError
from tamis.store import MANIFEST, Manifest, files


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"a")
    (folder / "deep" / "b b.bin").write_bytes(os.urandom(300_000))
    (folder / "deep" / "er" / "é").write_bytes(b"")
    (folder / "link").symlink_to(folder / "a.txt")
    (folder / ".0123456789abcdef.part").write_bytes(b"left by a kill")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST}


def wanted(source: Path) -> dict[str, bytes]:
    return {name: data for name, data in content(source).items() if not name.endswith(".part")}


def test_a_folder_comes_back(folder: str, source: Path, tmp_path: Path) -> None:
    manifest = store.upload_folder(source, folder, {"identity": {"model": "m", "rows": 3}})
    assert store.read_manifest(folder) == manifest and set(manifest.files) == set(wanted(source))
    assert store.download_folder(folder, tmp_path / "back") == manifest
    assert content(tmp_path / "back") == wanted(source)
    assert store.download_folder(folder, tmp_path / "back") == manifest  # it is there already
    assert store.upload_folder(tmp_path / "back", folder, manifest.about) == manifest  # the manifest is no member
    with pytest.raises(UserError, match="holds something else"):
        store.download_folder(folder, source)


def test_data_first_manifest_last_and_a_rerun_sends_only_the_rest(
    folder: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    killed: list[bool] = []
    write_file, write_bytes = files.write_file, files.write_bytes

    def file(uri: str, path: Path, **more: object) -> str:
        sent.append(uri.removeprefix(folder + "/"))
        if sent[-1] == "link" and not killed:
            killed.append(True)
            raise TamisError("killed here")
        return write_file(uri, path, **more)  # type: ignore[arg-type]

    def small(uri: str, data: bytes) -> str:
        sent.append(uri.removeprefix(folder + "/"))
        return write_bytes(uri, data)

    monkeypatch.setenv("TAMIS_S3_THREADS", "1")
    monkeypatch.setattr(files, "write_file", file)
    monkeypatch.setattr(files, "write_bytes", small)
    with pytest.raises(TamisError, match="killed"):
        store.upload_folder(source, folder)
    with pytest.raises(UserError, match="not a published folder"):
        store.read_manifest(folder)
    there = {name for name, _ in store.list_keys(folder)}
    sent.clear()
    store.upload_folder(source, folder)
    assert sent[-1] == MANIFEST and set(sent[:-1]) == set(wanted(source)) - there
    sent.clear()
    store.upload_folder(source, folder)  # the same again is nothing
    assert sent == []


def test_publishing_something_else_is_never_a_mix(folder: str, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.upload_folder(source, folder)
    (source / "a.txt").write_bytes(b"other")
    (source / "link").unlink()

    def fails(*args: object, **more: object) -> str:
        raise TamisError("killed here")

    with monkeypatch.context() as patch, pytest.raises(TamisError, match="killed"):
        patch.setattr(files, "write_file", fails)
        store.upload_folder(source, folder)
    with pytest.raises(UserError):
        store.read_manifest(folder)
    store.upload_folder(source, folder)
    assert store.read_bytes(store.join(folder, "a.txt")) == b"other"
    assert not store.exists(store.join(folder, "link"))


def test_readers_trust_only_the_manifest(folder: str, source: Path, tmp_path: Path) -> None:
    store.upload_folder(source, folder)
    store.write_bytes(store.join(folder, "stray"), b"not listed")
    store.download_folder(folder, tmp_path / "one")
    assert "stray" not in content(tmp_path / "one")
    store.write_bytes(store.join(folder, "a.txt"), b"b")
    with pytest.raises(TamisError, match="not what the manifest says"):
        store.download_folder(folder, tmp_path / "two")
    assert not (tmp_path / "two").exists() and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/../../outside", "..\\outside"])
def test_no_manifest_writes_outside_its_folder(folder: str, tmp_path: Path, name: str) -> None:
    hostile = Manifest({name: (1, "0" * 64)})
    store.write_bytes(store.join(folder, MANIFEST), hostile.dump())
    with pytest.raises(UserError, match="unsafe name"):
        store.download_folder(folder, tmp_path / "in" / "side")
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith("outside")]


def test_a_damaged_manifest_is_noticed(folder: str, source: Path) -> None:
    data = store.upload_folder(source, folder).dump()
    for at in range(0, len(data), 37):
        flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        try:
            same = json.loads(flipped) == json.loads(data)  # a flip in white space changes nothing
        except ValueError:
            same = False
        if not same:
            with pytest.raises(TamisError):
                Manifest.load(flipped, "m")


def test_what_cannot_be_published_is_refused(folder: str, tmp_path: Path) -> None:
    for number, make in enumerate(
        (
            lambda path: None,
            lambda path: (path / "back\\slash").write_text(""),
            lambda path: (path / MANIFEST).write_text("{}"),
            lambda path: (path / "loop").symlink_to(path),
            lambda path: os.mkfifo(path / "pipe"),
        )
    ):
        path = tmp_path / str(number)
        path.mkdir()
        make(path)
        with pytest.raises(UserError):
            store.upload_folder(path, folder)
    with pytest.raises(UserError, match="no such"):
        store.upload_folder(tmp_path / "none", folder)


def test_seals_what_another_tool_wrote(folder: str, source: Path, tmp_path: Path) -> None:
    for name, data in wanted(source).items():
        store.write_bytes(store.join(folder, name), data)
    with pytest.raises(UserError, match="seal"):
        store.download_folder(folder, tmp_path / "back")
    store.seal(folder)
    store.download_folder(folder, tmp_path / "back")
    assert content(tmp_path / "back") == wanted(source)


PUBLISH = "import sys; from tamis import store; print('go', flush=True); store.upload_folder(sys.argv[1], sys.argv[2])"


def test_killed_at_any_moment_it_is_not_there_or_whole(folder: str, tmp_path: Path) -> None:
    source = tmp_path / "many"
    source.mkdir()
    for number in range(60):
        (source / f"{number:03d}").write_bytes(os.urandom(50_000))
    published = 0
    for moment in (0.03, 0.1, 0.3):
        process = subprocess.Popen(
            [sys.executable, "-c", PUBLISH, str(source), folder], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout and process.stdout.readline() == "go\n"
        time.sleep(moment)
        process.kill()
        process.communicate()
        try:
            store.read_manifest(folder)
        except UserError:
            assert not published
        else:
            published += 1
            store.download_folder(folder, tmp_path / f"back-{published}")
            assert content(tmp_path / f"back-{published}") == content(source)
    store.upload_folder(source, folder)
    store.download_folder(folder, tmp_path / "back")
    assert content(tmp_path / "back") == content(source)


def test_a_copy_is_the_same_folder(folder: str, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "a").write_bytes(os.urandom(100_000))
    (tmp_path / "in" / "sub" / "b").write_bytes(b"b")
    manifest = store.upload_folder(tmp_path / "in", folder, {"made": "here"})
    for target in (f"{bucket}/copy", str(tmp_path / "copy")):
        assert store.copy_folder(folder, target) == manifest == store.read_manifest(target)
        assert store.read_bytes(f"{target}/sub/b") == b"b"
        assert store.copy_folder(folder, target) == manifest
    store.write_bytes(f"{folder}/a", b"replaced")
    with pytest.raises(TamisError, match="not what its folder's manifest says"):
        store.copy_folder(folder, f"{bucket}/other")
    assert not store.exists(f"{bucket}/other/{store.MANIFEST}")


def test_what_is_there_is_told_from_what_was_there(bucket: str, tmp_path: Path) -> None:
    store.write_bytes(f"{bucket}/pool/a.jsonl", b"1")
    store.write_bytes(f"{bucket}/pool/b.jsonl", b"2")
    before = store.identify(f"{bucket}/pool"), store.identify(f"{bucket}/pool/a.jsonl")
    assert before == (store.identify(f"{bucket}/pool"), store.identify(f"{bucket}/pool/a.jsonl"))
    store.write_bytes(f"{bucket}/pool/a.jsonl", b"3")
    after = store.identify(f"{bucket}/pool"), store.identify(f"{bucket}/pool/a.jsonl")
    assert before[0] != after[0] and before[1] != after[1]
    assert store.seal(f"{bucket}/pool").digest == store.identify(f"{bucket}/pool")
