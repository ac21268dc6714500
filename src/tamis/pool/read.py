"""The records of a file, streamed: JSON lines, JSON, CSV and Parquet, plain or compressed with gzip or zstd.

Memory holds a line, an item or a batch of 1024 Parquet rows, never a file; what would need more than `LIMIT` at once
is refused or rejected. Only Parquet, which is read from its end, is copied to the local disk when it is in S3 or
compressed, one file at a time.
"""

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tamis.errors import UserError
from tamis.pool.inputs import File
from tamis.pool.rows import Rejected

LIMIT = 64 << 20
"""Bytes (characters in JSON and CSV) of one record at most."""
Numbered = Iterator[tuple[int, dict[str, Any] | Rejected]]

_CHUNK = 1 << 16
_BLANKS = " \t\n\r"
_SPACE = re.compile(f"[{_BLANKS}]*")
_UNDECODED = re.compile("[\udc80-\udcff]")
_decode = json.JSONDecoder().raw_decode


def records(file: File) -> Numbered:
    """The records of a file with their line from 1 (in JSON and Parquet: their number); a bad one says why.

    Raises:
        UserError: The file as a whole cannot be read.
        TamisError: It did not arrive from the store as it was written.
    """
    read = {".jsonl": _lines, ".json": _json, ".csv": _csv, ".parquet": _parquet}[str(file.kind)]
    try:
        yield from read(file)
    except (pa.ArrowException, OSError, EOFError, csv.Error, RecursionError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{file.uri} cannot be read: {reason[:300]}") from error


def _lines(file: File) -> Numbered:
    with file.open() as raw:
        stream, number = io.BufferedReader(raw, 1 << 20), 0
        while line := stream.readline(LIMIT):
            number += 1
            if len(line) == LIMIT and not line.endswith(b"\n"):
                while (rest := stream.readline(LIMIT)) and not rest.endswith(b"\n"):
                    pass
                yield number, Rejected(f"the line is longer than {LIMIT >> 20} MiB")
            elif line := (line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line).strip():
                yield number, _object(line)


def _object(line: bytes) -> dict[str, Any] | Rejected:
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError:
        return Rejected("the line is not UTF-8")
    except (ValueError, RecursionError):
        return Rejected("the line is not JSON")
    return value if isinstance(value, dict) else Rejected("the line is not a JSON object")


def _text(raw: Any) -> io.TextIOWrapper:
    """Text in which a byte that is no UTF-8 is a lone surrogate, so that one bad record does not end the file."""
    return io.TextIOWrapper(io.BufferedReader(raw, 1 << 20), "utf-8-sig", "surrogateescape", newline="")


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _json(file: File) -> Numbered:
    with file.open() as raw:
        text, buffer = _text(raw), ""
        while not buffer and (some := text.read(_CHUNK)):
            buffer = some.lstrip(_BLANKS)
        if buffer.startswith("["):
            yield from _items(file, text, buffer[1:])
            return
        buffer += text.read(LIMIT)
        if text.read(1):
            raise UserError(f"{file.uri} is neither a list nor small; write one object a line to a .jsonl file")
    try:
        value = json.loads(buffer)
    except ValueError as error:
        raise UserError(f"{file.uri} is not JSON: {error}; one object a line is read from a .jsonl file") from error
    if not isinstance(value, dict) or _UNDECODED.search(buffer):
        raise UserError(f"{file.uri} is neither a list of objects nor an object, in UTF-8")
    lists = [inner for inner in value.values() if isinstance(inner, list)]
    for number, item in enumerate(lists[0] if len(lists) == len(value) == 1 else [value], 1):
        yield number, item if isinstance(item, dict) else Rejected("the item is not an object")


def _items(file: File, text: io.TextIOWrapper, buffer: str) -> Numbered:
    """The items of a list whose bracket has been read, each as soon as it is there whole."""
    at = number = 0
    ended = False
    after = "["  # then "," or "item"

    def wrong(why: str) -> UserError:
        return UserError(f"{file.uri} is not JSON: after item {number} {why}")

    while True:
        at = _after_space(buffer, at)
        char, reason = buffer[at : at + 1], "it ends"
        if char == "]" and after != ",":
            break
        if after == "item" and char:
            if char != ",":
                raise wrong("there is no comma")
            at, after = at + 1, ","
            continue
        if char:
            try:
                value, end = _decode(buffer, at)
            except ValueError as error:
                reason = str(error)
            else:
                if end < len(buffer) or ended:  # a number at the end of what has been read may go on
                    number += 1
                    if not isinstance(value, dict):
                        value = Rejected("the item is not an object")
                    elif _UNDECODED.search(buffer, at, end):
                        value = Rejected("the item is not UTF-8")
                    yield number, value
                    at, after = end, "item"
                    continue
        if ended:
            raise wrong(f"the list is not closed ({reason})")
        if len(buffer) - at > LIMIT:
            raise wrong(f"there is no valid item in {LIMIT >> 20} MiB ({reason})")
        more = text.read(max(_CHUNK, len(buffer) - at))
        buffer, at, ended = buffer[at:] + more, 0, not more
    rest = buffer[at + 1 :]
    while rest or (rest := text.read(_CHUNK)):  # to the end, where the store compares the digest
        if rest.strip(_BLANKS):
            raise wrong("the list ends, but not the file")
        rest = ""


def _csv(file: File) -> Numbered:
    csv.field_size_limit(LIMIT)
    with file.open() as raw:
        rows = csv.reader(_text(raw), strict=True)
        header = next(rows, [])
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice or _UNDECODED.search("".join(header)):
            raise UserError(f"{file.uri}: its header is not UTF-8, or names a column twice ({', '.join(twice)})")
        while True:
            line = rows.line_num + 1
            try:
                fields = next(rows, None)
            except csv.Error as error:
                if "expected after" not in str(error):
                    raise UserError(f"{file.uri}: the quote that opens in line {line} is not closed") from None
                yield line, Rejected("the row has text beside its quotes")
                continue
            if fields is None:
                return
            if not fields:
                continue
            if len(fields) != len(header):
                yield line, Rejected("the row has not as many fields as the header")
            elif _UNDECODED.search("".join(fields)):
                yield line, Rejected("the row is not UTF-8")
            else:
                yield line, dict(zip(header, fields, strict=True))


def _parquet(file: File) -> Numbered:
    number = 0
    with file.open_local() as local, pq.ParquetFile(local) as table:
        for batch in table.iter_batches(1024):
            try:
                rows: list[Any] = batch.to_pylist()
            except (ValueError, OverflowError):  # a text that is no UTF-8, a date that Python has not
                rows = [_row(batch.slice(i, 1)) for i in range(batch.num_rows)]
            for row in rows:
                number += 1
                yield number, row


def _row(batch: Any) -> dict[str, Any] | Rejected:
    try:
        row: dict[str, Any] = batch.to_pylist()[0]
        return row
    except UnicodeDecodeError:
        return Rejected("the row is not UTF-8")
    except (ValueError, OverflowError):
        return Rejected("the row has a value that cannot be read")
