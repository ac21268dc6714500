"""Whatever a file holds: it is read, or bad records are rejected with a reason, or it is refused in a clear line."""

import csv
import gzip
import io
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tamis.errors import TamisError
from tamis.pool import shards
from tamis.pool.prepare import PrepareSettings, prepare

ROWS: list[dict[str, Any]] = [
    {"instruction": f"Add {i}, {i} and {i}.", "input": "", "output": f'It is "{3 * i}",\nisn’t it?', "source": "sums"}
    for i in range(8)
]


def as_jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8", "surrogatepass")


def as_json(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps(rows).encode()


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def zstd(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(data)
    return out.getvalue().to_pybytes()


KINDS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    ".jsonl": as_jsonl,
    ".json": as_json,
    ".csv": as_csv,
    ".parquet": as_parquet,
}
SQUEEZED: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zst": zstd}
NAMES = [kind + ending for kind in KINDS for ending in SQUEEZED]


@cache
def plain(name: str) -> bytes:
    """A sound file, before it is compressed."""
    return KINDS[name.removesuffix(".gz").removesuffix(".zst")](ROWS)


def squeezed(name: str, data: bytes) -> bytes:
    return SQUEEZED[name.removeprefix(name.removesuffix(".gz").removesuffix(".zst"))](data)


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(("flip", "cut", "put", "double", "end")),
        st.integers(0, 1 << 16),
        st.one_of(st.binary(min_size=1, max_size=6), st.sampled_from([b'"', b"\n", b"[", b"}", b",", b"\xff", b"\0"])),
    ),
    min_size=1,
    max_size=5,
)


def changed(data: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    for what, place, some in changes:
        at = place % (len(data) + 1)
        if what == "flip":
            data = data[:at] + bytes(a ^ b for a, b in zip(data[at:], some, strict=False)) + data[at + len(some) :]
        elif what == "cut":
            data = data[:at] + data[at + len(some) * 7 :]
        elif what == "put":
            data = data[:at] + some + data[at:]
        elif what == "double":
            data = data[:at] + data[at : at + 64] + data[at:]
        else:
            data = data[:at]
    return data


def check(name: str, data: bytes) -> None:
    """Prepares the file; any other error than ours, or a row that is lost, fails."""
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder, f"pool{name}"), Path(folder, "out")
        path.write_bytes(data)
        try:
            result = prepare(path, out, options=PrepareSettings(shard_rows=5, near_duplicates="report"))["pool"]
        except TamisError as error:
            assert str(error) and "\n" not in str(error) and "Traceback" not in str(error)
            assert not (out / "prepared.json").exists()
            return
        rejected = pq.read_table(out / "rejected.parquet")
        rows = [shards.load(shard) for shard in shards.shards(out / "pool")]
        assert result["read"] == rejected.num_rows + sum(table.num_rows for table in rows)
        assert rejected.num_rows == sum(result["rejected"].values()) and "" not in result["rejected"]
        assert all(line for line in rejected["line"].to_pylist())
        if name == ".jsonl":
            assert result["read"] == sum(bool(line.strip()) for line in data.split(b"\n"))


def fuzz(name: str, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.booleans(), CHANGES)
    def run(inside: bool, changes: list[tuple[str, int, bytes]]) -> None:
        data = changed(plain(name), changes) if inside else plain(name)
        data = squeezed(name, data)
        check(name, data if inside else changed(data, changes))

    run()


@pytest.mark.parametrize("name", NAMES)
def test_a_mutated_file(name: str) -> None:
    check(name, squeezed(name, plain(name)))
    fuzz(name, 20)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_two_thousand_mutated_files(name: str) -> None:
    fuzz(name, 2000)


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.sampled_from(["\ud800", "a\0b", "user"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content"]), inner, max_size=2)
    ),
    max_leaves=6,
)
KEYS = st.sampled_from(["messages", "conversations", "instruction", "output", "prompt", "response", "source", "\ud800"])
RECORDS = st.lists(st.dictionaries(KEYS, VALUES, max_size=4), min_size=1, max_size=5)


@settings(max_examples=50, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(RECORDS)
def test_records_with_anything_in_their_fields(records: list[dict[str, Any]]) -> None:
    check(".jsonl", as_jsonl([json.loads(json.dumps(record)) for record in records]))


@pytest.mark.parametrize("name", [".jsonl", ".json"])
@pytest.mark.parametrize("depth", [400, 900, 100_000])
def test_deep_nesting(name: str, depth: int) -> None:
    deep = f'{{"prompt": "q", "response": "a", "deep": {"[" * depth}{"]" * depth}}}'
    sound = '{"prompt": "q", "response": "b"}'
    check(name, (f"{deep}\n{sound}\n" if name == ".jsonl" else f"[{deep}, {sound}]").encode())
