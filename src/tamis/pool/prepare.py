"""The first step: files of any known format to one pool of checked rows, and a reason for every row left out."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from tamis import settings
from tamis.errors import TamisError, UserError
from tamis.pool import shards
from tamis.pool.contamination import Overlap
from tamis.pool.formats import Rejected, check_format, detect, to_messages
from tamis.pool.read import files, records
from tamis.pool.rows import Message, Row, row_id, to_table

Place = tuple[str, int | None]
"""A file's name and the line (from 1) in it."""

REJECTED = pa.schema([("file", pa.string()), ("line", pa.int64()), ("reason", pa.string()), ("text", pa.string())])
_IN_TURNS = {"messages", "conversations"}


class PrepareSettings(settings.Settings):
    """How a pool is read."""

    format: str = "auto"
    """`auto` recognises each record by its fields; or the name of a format, see `tamis.pool.formats.FORMATS`."""
    duplicates: Literal["remove", "keep"] = "remove"
    """What becomes of a row whose turns are those of an earlier row (blanks around them aside)."""
    contamination: Literal["remove", "report", "off"] = "remove"
    """What becomes of a row that shares 13 words in a row with a held-out row."""
    shard_rows: int = Field(default=10_000, ge=1)
    """Rows of a shard: what is scored by one task and done again at most after a crash."""


@dataclass
class _Counts:
    """What became of every record that was read."""

    read: int = 0
    kept: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)

    def summary(self) -> dict[str, Any]:
        if self.read != self.kept + self.rejected.total():
            raise TamisError(f"{self.read} records read, but {self.kept} kept and {self.rejected.total()} rejected")
        return {
            "read": self.read,
            "rows": self.kept,
            "formats": dict(self.formats),
            "sources": dict(self.sources),
            "rejected": dict(self.rejected),
        }


def prepare(
    pool: Path,
    out: Path,
    *,
    target: Path | None = None,
    heldout: Path | None = None,
    options: PrepareSettings | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Reads, checks and shards a pool, a target and held-out rows.

    Memory holds one shard and 16 bytes for each distinct row, not the pool.

    Args:
        pool: A file, or a folder of files; a row's source is its `source` field or else its file's name.
        out: Gets `pool/`, `target/`, `heldout/` (shards of `tamis.pool.rows.SCHEMA`), `rejected.parquet` (every
            row left out, with file, line and reason) and, last, `prepared.json`.
        target: Rows of the wanted capability, for methods that need them.
        heldout: Rows to evaluate on; what overlaps with them is kept out of the pool.
        options: Settings.
        overwrite: Make it again although `out` holds something else.

    Returns:
        The content of `prepared.json`: counts by source, format and reason, digests, shards.

    Raises:
        UserError: A file that is missing or unreadable, no row that can be used, or an `out` made from something else.
    """
    options = options or PrepareSettings()
    check_format(options.format)
    inputs = {"pool": pool, "target": target, "heldout": heldout}
    found = {name: files(path) for name, path in inputs.items() if path is not None}
    identity: dict[str, Any] = {
        name: shards.combined_digest(f"{file.name}:{shards.file_digest(file)}" for file in paths)
        for name, paths in found.items()
    }
    identity["settings"] = options.model_dump()
    done = _done(out, identity, overwrite)
    if done:
        return done

    with _Rejections(out / "rejected.parquet") as rejections:
        result: dict[str, Any] = {"identity": identity}
        evaluated: list[str] = []
        for name in ("target", "heldout"):
            if name in found:
                counts = _Counts()
                rows = list(
                    _distinct(_rows(found[name], options.format, counts, rejections), "remove", counts, rejections)
                )
                result[name] = _write(out / name, rows, len(rows) or 1, counts, identity)
                evaluated += [row.text() for row in rows if name == "heldout"]
        counts = _Counts()
        stream = _rows(found["pool"], options.format, counts, rejections)
        fresh = _distinct(stream, options.duplicates, counts, rejections)
        if evaluated and options.contamination != "off":
            fresh = _clean(fresh, Overlap(evaluated), options.contamination == "remove", counts, rejections, result)
        result["pool"] = _write(out / "pool", fresh, options.shard_rows, counts, identity)
    for name in found:
        if not result[name]["rows"]:
            reasons = "; ".join(f"{n} x {why}" for why, n in Counter(result[name]["rejected"]).most_common(3))
            raise UserError(f"{inputs[name]}: no row can be used ({reasons or 'it is empty'})")
    shards.write_json(out / "prepared.json", result)
    return result


def _done(out: Path, identity: dict[str, Any], overwrite: bool) -> dict[str, Any] | None:
    """What an earlier run left: its result if it is the same and whole; otherwise the folder is made empty."""
    manifest = out / "prepared.json"
    if manifest.exists() and not overwrite:
        content: dict[str, Any] = json.loads(manifest.read_text())
        if content["identity"] == identity:
            return content
        changed = shards.difference(content["identity"], identity)
        raise UserError(f"{out} was prepared with {changed}; choose another --out, or --overwrite it")
    manifest.unlink(missing_ok=True)
    for name in ("pool", "target", "heldout"):
        shutil.rmtree(out / name, ignore_errors=True)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TamisError(f"{out} cannot be made: {error.strerror}; choose another --out") from error
    return None


def _rows(paths: list[Path], name: str, counts: _Counts, rejections: "_Rejections") -> Iterator[tuple[Row, Place]]:
    """Every record that is a row, and where it stands; the others go to the rejections."""
    for path in paths:
        stem = path.name.split(".")[0]
        for line, record in records(path):
            counts.read += 1
            place = (path.name, line)
            try:
                if isinstance(record, Rejected):
                    raise record
                shape = detect(record) if name == "auto" else name
                turns = tuple(to_messages(record, shape))
            except Rejected as why:
                rejections.add(place, str(why), record, counts)
                continue
            counts.formats[shape] += 1
            source = record.get("source")
            original = {key: value for key, value in record.items() if key not in _IN_TURNS}
            yield Row(row_id(turns), turns, source if isinstance(source, str) and source else stem, original), place


def _distinct(
    rows: Iterable[tuple[Row, Place]], duplicates: str, counts: _Counts, rejections: "_Rejections"
) -> Iterator[Row]:
    """Rows that were not seen before; a kept duplicate gets its number into its id."""
    seen: Counter[bytes] = Counter()
    for row, place in rows:
        key = bytes.fromhex(row_id(Message(m.role, m.content.strip()) for m in row.messages))
        seen[key] += 1
        if seen[key] == 1:
            yield row
        elif duplicates == "keep":
            yield replace(row, id=f"{row.id}-{seen[key]}")
        else:
            rejections.add(place, "exact duplicate of an earlier row", row.text(), counts)


def _clean(
    rows: Iterable[Row],
    overlap: Overlap,
    remove: bool,
    counts: _Counts,
    rejections: "_Rejections",
    result: dict[str, Any],
) -> Iterator[Row]:
    """Rows that share no text with the held-out ones; `result` counts those that do."""
    result["contaminated"] = 0
    for row in rows:
        if overlap.touches(row.text()):
            result["contaminated"] += 1
            if remove:
                rejections.add((row.source, None), "shares 13 words in a row with a held-out row", row.text(), counts)
                continue
        yield row


def _write(
    folder: Path, rows: Iterable[Row], shard_rows: int, counts: _Counts, identity: dict[str, Any]
) -> dict[str, Any]:
    """Writes rows as shards and says what they are."""
    parts: list[list[str]] = []
    waiting: list[Row] = []

    def flush() -> None:
        shards.write_shard(folder, len(parts), to_table(waiting), identity)
        parts.append([shards.combined_digest(row.id for row in waiting), str(len(waiting))])
        waiting.clear()

    for row in rows:
        waiting.append(row)
        counts.kept += 1
        counts.sources[row.source] += 1
        if len(waiting) == shard_rows:
            flush()
    if waiting:
        flush()
    digest = shards.combined_digest(part for part, _ in parts)
    return counts.summary() | {"shards": len(parts), "digest": digest}


class _Rejections:
    """Writes every rejected record with its reason to one Parquet file that is there whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_suffix(".part")
        self._waiting: list[tuple[str, int | None, str, str]] = []

    def __enter__(self) -> "_Rejections":
        self._writer = pq.ParquetWriter(self._part, REJECTED, compression="zstd")
        return self

    def add(self, place: tuple[str, int | None], reason: str, record: Any, counts: _Counts) -> None:
        """Notes one; of its text the first 500 characters are kept, as ASCII."""
        counts.rejected[reason] += 1
        text = "" if isinstance(record, Rejected) else record if isinstance(record, str) else str(record)
        self._waiting.append((*place, reason, text[:500].encode("ascii", "backslashreplace").decode()))
        if len(self._waiting) == 1024:
            self._flush()

    def _flush(self) -> None:
        records = [dict(zip(REJECTED.names, entry, strict=True)) for entry in self._waiting]
        self._writer.write_table(pa.Table.from_pylist(records, schema=REJECTED))
        self._waiting.clear()

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        self._flush()
        self._writer.close()
        if kind is None:
            os.replace(self._part, self._path)
        else:
            self._part.unlink(missing_ok=True)
