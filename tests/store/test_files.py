import gzip
import io
import os
from pathlib import Path

import pytest
from minio import Minio

from tamis import store
from tamis.errors import TamisError, UserError
from tamis.store import Connection, s3, server, transfer
from tamis.store.uri import parse

ODD = "é +%&#'\"~=,;:@ü*{}[]$!()|<>^`.bin"


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 999], ids=["empty", "byte", "256k"])
def test_bytes_come_back(folder: str, data: bytes) -> None:
    uri = store.join(folder, "a", ODD)
    assert not store.exists(uri)
    assert store.write_bytes(uri, data) == s3.sha256(data)
    assert store.exists(uri) and store.read_bytes(uri) == data
    with store.open_read(uri) as file:
        assert file.read() == data
    assert list(store.list_keys(folder)) == [(f"a/{ODD}", len(data))]
    store.remove(uri)
    store.remove(uri)
    assert not store.exists(uri)


def test_a_block_that_fails_writes_nothing(folder: str) -> None:
    uri = store.join(folder, "x")
    for old in (False, True):
        if old:
            store.write_bytes(uri, b"old")
        with pytest.raises(ZeroDivisionError), store.open_write(uri) as file:
            file.write(b"half")
            raise ZeroDivisionError
        assert store.exists(uri) == old
    with store.open_write(uri) as file:
        file.write(b"whole")
    assert store.read_bytes(uri) == b"whole"
    assert [name for name, _ in store.list_keys(folder)] == ["x"]


def test_forty_megabytes_in_parts(bucket: str, tmp_path: Path) -> None:
    data = os.urandom(40 << 20)
    (tmp_path / "f").write_bytes(data)
    uri = bucket.replace("s3://", "minio://") + "/f"
    assert store.write_file(uri, tmp_path / "f") == s3.sha256(data)
    there = s3.stat(parse(uri))
    assert there.etag.endswith("-3") and there.sha256 == s3.sha256(data)
    assert store.read_file(uri, tmp_path / "g") == s3.sha256(data)
    assert (tmp_path / "g").read_bytes() == data
    with store.open_read(uri) as file:
        assert b"".join(iter(lambda: file.read(1 << 20), b"")) == data


def test_part_boundaries(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PART", 5 << 20)
    for size in ((5 << 20) - 1, 5 << 20, (5 << 20) + 1, 10 << 20):
        data = os.urandom(size)
        (tmp_path / "f").write_bytes(data)
        store.write_file(f"{bucket}/f", tmp_path / "f")
        store.read_file(f"{bucket}/f", tmp_path / "g")
        assert (tmp_path / "g").read_bytes() == data


def test_lists_more_than_a_page(bucket: str) -> None:
    transfer.each(lambda n: store.write_bytes(f"{bucket}/{n:04d}", b""), range(1003))
    assert [name for name, _ in store.list_keys(bucket)] == [f"{n:04d}" for n in range(1003)]


def test_reads_as_a_stream_through_gzip(bucket: str) -> None:
    with store.open_write(f"{bucket}/a.gz") as file, gzip.open(file, "wb") as packed:
        packed.write(b"line\n" * 100_000)
    with store.open_read(f"{bucket}/a.gz") as file, gzip.open(file) as lines:
        assert sum(1 for _ in lines) == 100_000


def client(at: Connection) -> Minio:
    return Minio(at.endpoint.removeprefix("http://"), at.access_key, at.secret_key, secure=False, region="us-east-1")


def test_objects_of_other_tools_are_read(s3: Connection, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * (11 << 20))
    key = parse(bucket).path
    client(s3).fput_object(server.BUCKET, f"{key}/parts", tmp_path / "f", part_size=5 << 20)
    client(s3).fput_object(server.BUCKET, f"{key}/one", tmp_path / "f", part_size=20 << 20)
    for name in ("parts", "one"):
        assert len(store.read_bytes(f"{bucket}/{name}")) == 11 << 20
        assert store.fetch(f"{bucket}/{name}").read_bytes() == (tmp_path / "f").read_bytes()


def test_a_damaged_object_is_noticed(
    s3: Connection, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes in the store that are not those of the recorded digest, as after bit rot."""
    monkeypatch.setenv("TAMIS_S3_ATTEMPTS", "2")
    digest = "0" * 64
    body = io.BytesIO(b"rotten")
    client(s3).put_object(server.BUCKET, f"{parse(bucket).path}/x", body, 6, metadata={"sha256": digest})
    with pytest.raises(TamisError, match="damaged"):
        store.read_bytes(f"{bucket}/x")
    with pytest.raises(TamisError, match="damaged"):
        store.read_file(f"{bucket}/x", tmp_path / "x")
    with pytest.raises(TamisError, match="must not be used"), store.open_read(f"{bucket}/x") as file:
        file.read()
    with pytest.raises(TamisError, match="damaged"):
        store.fetch(f"{bucket}/x")
    assert not (tmp_path / "x").exists()


def test_a_file_that_changes_while_it_is_sent_is_noticed(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    for size in (10, 20 << 20):
        path.write_bytes(b"a" * size)
        seen = transfer.fingerprint(path)
        path.write_bytes(b"a" * (size - 1) + b"b")
        with pytest.raises(TamisError, match="changed"):
            store.write_file(f"{bucket}/f", path, seen=seen)
        assert not store.exists(f"{bucket}/f")


def test_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TamisError, match="disk is full") as error:
        store.write_bytes(tmp_path / "x", b"x")
    assert not isinstance(error.value, UserError) and not list(tmp_path.iterdir())


def test_no_room_for_a_download(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_bytes(b"x" * (17 << 20))
    store.write_file(f"{bucket}/f", tmp_path / "f")
    monkeypatch.setattr("tamis.store.local.free_space", lambda path: 1000)
    with pytest.raises(TamisError, match="needs 0.0 GB"):
        store.read_file(f"{bucket}/f", tmp_path / "g")
    assert not (tmp_path / "g").exists()


def test_local_mistakes(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for call in (
        lambda: store.read_bytes(tmp_path / "none"),
        lambda: store.write_bytes(tmp_path, b""),
        lambda: store.write_bytes(tmp_path / "file" / "x", b""),
        lambda: list(store.list_keys(tmp_path / "none")),
        lambda: store.fetch(tmp_path / "none"),
        lambda: store.write_bytes("s3://bucket-only", b""),
        lambda: store.read_bytes("hf://org/name"),
    ):
        with pytest.raises(UserError):
            call()


def test_the_hub_is_refused_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="HF_HUB_OFFLINE"):
        store.fetch("hf://org/name")


def test_nothing_pickled_comes_from_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    asked: list[tuple[str, str, str | None]] = []
    files = ["model.safetensors", "pytorch_model.bin", "tokenizer.json", "training_args.bin", "optimizer.pt"]

    def snapshot(name: str, *, repo_type: str, revision: str | None, ignore_patterns: list[str] | None) -> str:
        asked.append((name, repo_type, revision))
        for file in hub.utils.filter_repo_objects(files, ignore_patterns=ignore_patterns):
            (tmp_path / file).write_text("")
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert store.fetch("hf://org/name@v1") == tmp_path
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors", "tokenizer.json"]
    store.fetch("hf://datasets/org/rows")
    assert asked == [("org/name", "model", "v1"), ("org/rows", "dataset", None)]
    monkeypatch.setattr(hub, "snapshot_download", lambda *_, **__: 1 / 0)
    with pytest.raises(TamisError, match="unreachable"):
        store.fetch("hf://org/name")
