"""Files of records, streamed: JSON lines, JSON, CSV and Parquet, plain or compressed with gzip or zstd."""

import csv
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tamis.errors import UserError
from tamis.pool.formats import Rejected

COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
KINDS = (".jsonl", ".json", ".csv", ".parquet")


def files(path: Path) -> list[Path]:
    """The files of a path: itself, or those in a folder, in order of name.

    Raises:
        UserError: Nothing there, or a file of a kind that is not read.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    found = sorted(p for p in path.rglob("*") if p.is_file() and kind(p)) if path.is_dir() else [path]
    for file in found:
        if kind(file) is None:
            raise UserError(f"{file}: not a kind that is read; give {', '.join(KINDS)} (or .gz, .zst of them)")
    if not found:
        raise UserError(f"{path}: no file there that ends in {', '.join(KINDS)} (or .gz, .zst of them)")
    return found


def kind(path: Path) -> str | None:
    """How a file is read: its ending, without that of its compression; None if it is not read."""
    plain = path.with_suffix("") if path.suffix in COMPRESSED else path
    return plain.suffix if plain.suffix in KINDS else None


def records(path: Path) -> Iterator[tuple[int, dict[str, Any] | Rejected]]:
    """The records of a file with their line (or row) number from 1; one that cannot be read says why.

    Raises:
        UserError: The file as a whole cannot be read.
    """
    read = {".jsonl": _lines, ".json": _json, ".csv": _csv, ".parquet": _parquet}[str(kind(path))]
    try:
        yield from read(path)
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} cannot be read: {reason}") from error


def _stream(path: Path) -> Any:
    return pa.input_stream(str(path), compression=COMPRESSED.get(path.suffix))


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | Rejected]]:
    with _stream(path) as raw:
        for number, line in enumerate(io.BufferedReader(raw, 1 << 20), 1):
            if line.strip():
                yield number, _object(line)


def _object(line: bytes) -> dict[str, Any] | Rejected:
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return Rejected("the line is not UTF-8")
    except (ValueError, RecursionError):
        return Rejected("the line is not JSON")
    return value if isinstance(value, dict) else Rejected("the line is not a JSON object")


def _json(path: Path) -> Iterator[tuple[int, dict[str, Any] | Rejected]]:
    with _stream(path) as raw:
        try:
            value = json.loads(raw.read().decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} is not JSON: {error}; one object a line is read from a .jsonl file") from error
    if isinstance(value, dict):
        lists = [v for v in value.values() if isinstance(v, list)]
        value = lists[0] if len(lists) == 1 and len(value) == 1 else [value]
    if not isinstance(value, list):
        raise UserError(f"{path} is neither a list of objects nor an object")
    for number, item in enumerate(value, 1):
        yield number, item if isinstance(item, dict) else Rejected("the item is not an object")


def _csv(path: Path) -> Iterator[tuple[int, dict[str, Any] | Rejected]]:
    csv.field_size_limit(sys.maxsize)
    with _stream(path) as raw, io.TextIOWrapper(io.BufferedReader(raw), "utf-8-sig", newline="") as text:
        for number, record in enumerate(csv.DictReader(text), 1):
            if None in record or None in record.values():
                yield number, Rejected("the row has not as many fields as the header")
            else:
                yield number, dict(record)


def _parquet(path: Path) -> Iterator[tuple[int, dict[str, Any] | Rejected]]:
    with pq.ParquetFile(_stream(path).read() if path.suffix in COMPRESSED else path) as file:
        number = 0
        for batch in file.iter_batches(1024):
            for record in batch.to_pylist():
                number += 1
                yield number, record
