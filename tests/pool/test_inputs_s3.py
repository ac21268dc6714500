"""Pools in S3, on a real server: read as they stream, known by their digests, and a flipped byte is noticed."""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fault_proxy import FaultProxy

from tamis import store
from tamis.cli import main
from tamis.errors import TamisError, UserError
from tamis.pool.inputs import digest, files
from tamis.pool.prepare import PrepareSettings, prepare
from tamis.store import Connection


def rows(start: int, number: int = 400) -> list[dict[str, Any]]:
    return [{"prompt": f"What is {i} and {i + 1}?", "response": f"{2 * i + 1}."} for i in range(start, start + number)]


def lines(start: int, number: int = 400) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows(start, number)).encode()


def parquet(start: int) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows(start)), out)
    return out.getvalue()


def content(out: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in out.rglob("*.parquet")}


def fill(folder: str) -> None:
    store.write_bytes(store.join(folder, "a.jsonl"), lines(0))
    store.write_bytes(store.join(folder, "b", "c.jsonl.gz"), gzip.compress(lines(400), mtime=0))
    store.write_bytes(store.join(folder, "b", "d.parquet"), parquet(800))
    store.write_bytes(store.join(folder, "notes.txt"), b"not read")


def test_a_prefix_gives_what_the_same_folder_here_gives(bucket: str, tmp_path: Path) -> None:
    fill(bucket)
    fill(str(tmp_path / "pool"))
    there = prepare(bucket, tmp_path / "there")
    here = prepare(tmp_path / "pool", tmp_path / "here")
    assert there == here and there["pool"]["rows"] == 1200
    assert content(tmp_path / "there") == content(tmp_path / "here")
    assert prepare(bucket.replace("s3://", "minio://"), tmp_path / "there") == there
    assert [file.name for file in files(f"{bucket}/*.jsonl*")] == ["a.jsonl", "b/c.jsonl.gz"]
    assert not (tmp_path / "cache").exists()  # nothing is kept beside the result


def test_the_command_line_and_the_run_take_uris(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tamis.config import RunConfig
    from tamis.preflight import check, fingerprint

    fill(bucket)
    store.write_bytes(store.join(bucket, "held.jsonl"), lines(5000, 5))
    given = [f"{bucket}/b", "--heldout", f"{bucket}/held.jsonl", "--target", f"{bucket}/held.jsonl"]
    assert main(["prepare", *given, "--out", str(tmp_path / "out")]) == 0
    assert "pool: 800 rows of 800 read" in capsys.readouterr().out
    config = RunConfig(pool=f"{bucket}/b", heldout=f"{bucket}/held.jsonl", methods=["length"])
    check(config)
    before = fingerprint(config)
    assert fingerprint(config) == before
    store.write_bytes(store.join(bucket, "b", "c.jsonl.gz"), gzip.compress(lines(401)))
    assert fingerprint(config) != before
    assert main(["prepare", f"{bucket}/none", "--out", str(tmp_path / "none")]) == 2
    assert f"{bucket}/none: no file there that ends in" in capsys.readouterr().err


def test_of_a_published_folder_its_manifest_is_followed(bucket: str, tmp_path: Path) -> None:
    fill(str(tmp_path / "pool"))
    store.upload_folder(tmp_path / "pool", bucket)
    store.write_bytes(store.join(bucket, "stray.jsonl"), lines(9000))
    assert [file.name for file in files(bucket)] == ["a.jsonl", "b/c.jsonl.gz", "b/d.parquet"]
    assert digest(files(bucket)) == digest(files(tmp_path / "pool"))
    store.write_bytes(store.join(bucket, "a.jsonl"), lines(1))
    with pytest.raises(TamisError, match=r"a\.jsonl is not what its folder's manifest says"):
        prepare(bucket, tmp_path / "out")


def test_a_byte_flipped_on_the_way_is_noticed_and_what_was_made_of_it_does_not_stay(
    bucket: str, s3: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write_bytes(store.join(bucket, "a.jsonl"), lines(0, 4000))
    options = PrepareSettings(shard_rows=500)
    whole = prepare(bucket, tmp_path / "whole", options=options)
    proxy = FaultProxy(s3.endpoint, seed=3)
    monkeypatch.setenv("TAMIS_S3_ENDPOINT", proxy.url)
    monkeypatch.setenv("TAMIS_S3_ATTEMPTS", "2")
    proxy.choose = lambda method, path: "flip" if method == "GET" and "a.jsonl" in path else None
    with pytest.raises(TamisError, match="what was read of it must not be used|cannot read"):
        prepare(bucket, tmp_path / "out", options=options)
    assert proxy.made["flip"] and not (tmp_path / "out" / "prepared.json").exists()
    assert content(tmp_path / "out") != content(tmp_path / "whole")
    proxy.choose = lambda method, path: None
    assert prepare(bucket, tmp_path / "out", options=options) == whole
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_names_in_a_store_cannot_lead_elsewhere(bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from tamis.store import s3 as requests

    store.write_bytes(store.join(bucket, "a.jsonl"), lines(0))
    for name in ("../../a.jsonl", "/etc/a.jsonl", "b//a.jsonl", "b\n.jsonl"):
        # SeaweedFS keeps no such key, other stores do
        monkeypatch.setattr(requests, "names", lambda uri, name=name: iter([(name, 1)]))
        with pytest.raises(UserError, match="unsafe name"):
            prepare(bucket, tmp_path / "out")
    assert not (tmp_path / "out").exists()
