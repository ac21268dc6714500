"""The first step: files of any known format to one pool of checked rows, and a reason for every row left out.

A run that was killed is done again by the same call: the input is read again, because what is a duplicate depends on
all that came before, but a shard that is there and says the same is kept as it is. So the result of a resumed run is
that of an uninterrupted one, byte for byte.
"""

import json
import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from tamis import __version__, settings, store
from tamis.errors import TamisError, UserError
from tamis.pool import shards
from tamis.pool.contamination import Overlap, words
from tamis.pool.duplicates import Exact, Near
from tamis.pool.evaluated import Texts, task_texts
from tamis.pool.formats import check_format, detect, to_messages
from tamis.pool.inputs import File, digest, files
from tamis.pool.listing import Counts, Listing, plain
from tamis.pool.read import records
from tamis.pool.rows import Message, Rejected, columns_to_table, original_text, row_id

log = logging.getLogger("tamis")
Mode = Literal["remove", "report", "off"]

_IN_TURNS = {"messages", "conversations"}
_BLOCK = 1024
_BLOCK_CHARACTERS = 1 << 23
_SHARD_CHARACTERS = 1 << 27
_EXACT = "exact duplicate of an earlier row"
_NEAR = "near duplicate of an earlier row"


class PrepareSettings(settings.Settings):
    """How a pool is read."""

    format: str = "auto"
    """`auto` recognises each record by its fields; or the name of a format, see `tamis.pool.formats.FORMATS`."""
    max_characters: int = Field(default=0, ge=0)
    """Longer rows are left out; 0 for no limit. A token is about 4 characters of English, so 5 times the model's window
    keeps out what cannot fit; what does not fit exactly is known where the model reads it (column `cut` of scores)."""
    duplicates: Literal["remove", "keep"] = "remove"
    """What becomes of a row whose turns are those of an earlier row (blanks around them aside)."""
    near_duplicates: Mode = "off"
    """What becomes of a row that has nearly the same text as an earlier one: `report` keeps it and lists it in
    `flagged.parquet`. Costs about 50 µs and half a KB of memory a row."""
    near_threshold: float = Field(default=0.8, ge=0.5, le=1)
    """Share of common runs of three words (Jaccard) from which on rows are near duplicates."""
    contamination: Mode = "remove"
    """What becomes of a row that shares 13 words in a row with a held-out row or a task's text; `report` as above."""
    tasks: tuple[str, ...] = ()
    """Evaluation tasks whose text counts for that: lm-eval names, or folders and YAML files of one's own. A run's
    configuration fills in those that it evaluates on."""
    shard_rows: int = Field(default=10_000, ge=1)
    """Rows of a shard: what is scored by one task and done again at most after a crash. A shard of very long rows has
    fewer."""


@dataclass(slots=True)
class _Row:
    """A record on its way into the pool."""

    id: str
    key: bytes  # digest of the turns without the blanks around them
    turns: tuple[Message, ...]
    source: str
    original: str
    file: str
    line: int
    characters: int
    words: list[str] = field(default_factory=list)

    def text(self) -> str:
        return "\n".join(turn.content for turn in self.turns)


@dataclass
class _Fate:
    """What becomes of the records of one input: counted, and listed if they are left out or flagged."""

    rejected: Listing
    flagged: Listing
    counts: Counts = field(default_factory=Counts)

    def reject(self, file: str, line: int, reason: str, record: Any, row: str | None = None) -> None:
        self.counts.add(self.counts.rejected, plain(reason))
        self.rejected.add(file, line, reason, record, row)

    def keep(self, row: _Row, mode: Mode | Literal["remove"], reason: str) -> bool:
        """Rejects a row, or only flags it, as the mode says; whether it is kept."""
        if mode == "remove":
            self.reject(row.file, row.line, reason, row.text(), row.id)
            return False
        self.counts.add(self.counts.flagged, reason)
        self.flagged.add(row.file, row.line, reason, row.text(), row.id)
        return True


def prepare(
    pool: str | os.PathLike[str],
    out: Path,
    *,
    target: str | os.PathLike[str] | None = None,
    heldout: str | os.PathLike[str] | None = None,
    options: PrepareSettings | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Reads, checks and shards a pool, a target and held-out rows.

    Memory holds one shard, 16 bytes for each distinct row, and what `near_duplicates` and the evaluation's text need
    (`tamis.pool.duplicates`, `tamis.pool.contamination`), not the pool.

    Args:
        pool: A file, folder or pattern on this machine, in S3 (`s3://…`) or a hub data set (`hf://datasets/org/name`);
            a row's source is its `source` field or else its file's name.
        out: Gets `pool/`, `target/`, `heldout/` (shards of `tamis.pool.rows.SCHEMA`), `rejected.parquet` (every
            row left out, with file, line and reason), `flagged.parquet` (those kept although something is to be said
            of them) and, last, `prepared.json`.
        target: Rows of the wanted capability, for methods that need them.
        heldout: Rows to evaluate on; what overlaps with them is kept out of the pool.
        options: Settings.
        overwrite: Make it again although `out` holds something else.

    Returns:
        The content of `prepared.json`: counts by source, format and reason, digests, shards.

    Raises:
        UserError: A file that is missing or unreadable, no row that can be used, an `out` made from something else or
            held by another run.
        TamisError: The store or the disk fails; the same call goes on from there.
    """
    options = options or PrepareSettings()
    check_format(options.format)
    inputs = {"pool": pool, "target": target, "heldout": heldout}
    found = {name: files(where) for name, where in inputs.items() if where}
    tasks = task_texts(options.tasks if options.contamination != "off" else ())
    identity: dict[str, Any] = {name: digest(named) for name, named in found.items()}
    identity["settings"] = options.model_dump(mode="json")
    identity["tasks"] = {name: shards.combined_digest(map(json.dumps, told)) for name, told in tasks.documents.items()}
    identity["tamis"] = __version__
    with store.claim(out, run="prepare"):
        result = _begin(out, identity, overwrite)
        if result is None:
            result = _make(out, found, options, tasks, identity)
            for name in found:
                if not result[name]["rows"]:
                    reasons = "; ".join(f"{n} x {why}" for why, n in Counter(result[name]["rejected"]).most_common(3))
                    raise UserError(f"{inputs[name]}: no row can be used ({reasons or 'it is empty'})")
            shards.write_json(out / "prepared.json", result)
        return result


def _make(
    out: Path, found: Mapping[str, list[File]], options: PrepareSettings, tasks: Texts, identity: dict[str, Any]
) -> dict[str, Any]:
    """Writes all but `prepared.json`, whose content it returns."""
    result: dict[str, Any] = {"identity": identity, "unchecked": tasks.unchecked}
    overlap = Overlap()
    with Listing(out / "rejected.parquet") as rejected, Listing(out / "flagged.parquet") as flagged:
        for name in ("target", "heldout"):
            if name in found:
                fate, exact = _Fate(rejected, flagged), Exact()
                blocks = _blocks(_rows(found[name], options, fate))
                rows = [row for block in blocks for row in _distinct(block, exact, fate)]
                if name == "heldout" and options.contamination != "off":
                    overlap.add("a held-out row", (row.text() for row in rows))
                result[name] = _write(out / name, rows, len(rows) or 1, fate.counts, identity)
        for name, documents in tasks.documents.items():
            overlap.add(f"task {name}", (" ".join(document) for document in documents))
            overlap.add(f"task {name}", (text for document in documents for text in document), least=8)
        fate = _Fate(rejected, flagged)
        chosen = _chosen(_rows(found["pool"], options, fate), options, overlap, fate)
        result["pool"] = _write(out / "pool", chosen, options.shard_rows, fate.counts, identity)
    return result


def _begin(out: Path, identity: dict[str, Any], overwrite: bool) -> dict[str, Any] | None:
    """What an earlier run left, if it is the same and whole; otherwise the folder is made ready to go on."""
    manifest = out / "prepared.json"
    if manifest.exists() and not overwrite:
        try:
            content: dict[str, Any] = json.loads(manifest.read_text())
            changed = shards.difference(content["identity"], identity)
            parts = [(out / name, content[name]["shards"]) for name in ("pool", "target", "heldout") if name in content]
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{manifest} is not what prepare writes; choose another --out, or --overwrite it") from None
        if changed:
            raise UserError(f"{out} was prepared with {changed}; choose another --out, or --overwrite it")
        if all(shards.are_whole(folder, number) for folder, number in parts):
            return content
    manifest.unlink(missing_ok=True)
    for name in ("pool", "target", "heldout"):
        if overwrite:
            shutil.rmtree(out / name, ignore_errors=True)
    if out.is_dir():
        for left in out.rglob(".*.part"):  # half-written files of a run that was killed
            left.unlink()
    return None


def _rows(named: Sequence[File], options: PrepareSettings, fate: _Fate) -> Iterator[_Row]:
    """Every record that is a row; the others are rejected."""
    counts, name = fate.counts, options.format
    for file in named:
        stem = plain(file.name.rpartition("/")[2].split(".")[0])
        for line, record in records(file):
            counts.read += 1
            try:
                if isinstance(record, Rejected):
                    raise record
                shape = detect(record) if name == "auto" else name
                turns = tuple(to_messages(record, shape))
                characters = sum(len(turn.content) for turn in turns)
                if 0 < options.max_characters < characters:
                    raise Rejected(f"longer than {options.max_characters} characters")
                source = record.get("source")
                if not isinstance(source, str) or not source:
                    source = stem
                source.encode()
                original = original_text({key: value for key, value in record.items() if key not in _IN_TURNS})
            except (Rejected, UnicodeEncodeError) as why:
                reason = str(why) if isinstance(why, Rejected) else "its source is not valid Unicode"
                fate.reject(file.name, line, reason, record)
                continue
            counts.formats[shape] += 1
            key = row = row_id(turns)
            if any(turn.content != turn.content.strip() for turn in turns):
                key = row_id(Message(turn.role, turn.content.strip()) for turn in turns)
            yield _Row(row, bytes.fromhex(key), turns, source, original, file.name, line, characters + len(original))


def _blocks(rows: Iterable[_Row]) -> Iterator[list[_Row]]:
    """Rows in lists, ended by number or by size."""
    block: list[_Row] = []
    characters = 0
    for row in rows:
        block.append(row)
        characters += row.characters
        if len(block) == _BLOCK or characters > _BLOCK_CHARACTERS:
            yield block
            block, characters = [], 0
    if block:
        yield block


def _distinct(block: Sequence[_Row], exact: Exact, fate: _Fate) -> list[_Row]:
    new = exact.first([row.key for row in block])
    return [row for row, first in zip(block, new, strict=True) if first or fate.keep(row, "remove", _EXACT)]


def _numbered(block: Sequence[_Row], seen: Counter[bytes]) -> list[_Row]:
    """All rows; a repeated one gets its number into its id."""
    for row in block:
        seen[row.key] += 1
        if seen[row.key] > 1:
            row.id = f"{row.id}-{seen[row.key]}"
    return list(block)


def _chosen(rows: Iterable[_Row], options: PrepareSettings, overlap: Overlap, fate: _Fate) -> Iterator[_Row]:
    """The rows of a pool that its settings keep: new, and apart from the evaluation.

    Near duplicates come last, so that no row is left out for the sake of one that is left out itself.
    """
    exact, seen = Exact(), Counter[bytes]()
    near = Near(options.near_threshold) if options.near_duplicates != "off" else None
    for block in _blocks(rows):
        kept = _distinct(block, exact, fate) if options.duplicates == "remove" else _numbered(block, seen)
        if near or overlap:
            for row in kept:
                row.words = words(row.text())
        if overlap:
            kept = [row for row in kept if _clean(row, options.contamination, overlap, fate)]
        if near:
            new = near.first([row.words for row in kept])
            pairs = zip(kept, new, strict=True)
            kept = [row for row, first in pairs if first or fate.keep(row, options.near_duplicates, _NEAR)]
        yield from kept


def _clean(row: _Row, mode: Mode, overlap: Overlap, fate: _Fate) -> bool:
    labels = sorted(overlap.labels(row.words))
    for label in labels:
        fate.counts.contaminated[label] += 1
    return not labels or fate.keep(row, mode, f"shares {overlap.n} words in a row with {labels[0]}")


def _write(
    folder: Path, rows: Iterable[_Row], shard_rows: int, counts: Counts, identity: dict[str, Any]
) -> dict[str, Any]:
    """Writes rows as shards and says what they are."""
    parts: list[str] = []
    written: set[Path] = set()
    waiting: list[_Row] = []
    characters = 0
    logged = time.monotonic()

    def flush() -> None:
        ids = [row.id for row in waiting]
        table = columns_to_table(
            ids, [r.turns for r in waiting], [r.source for r in waiting], [r.original for r in waiting]
        )
        done = shards.find_shard(folder, len(parts), identity)
        if done is None or not _same(done, table):
            shards.write_shard(folder, len(parts), table, identity)
        written.add(shards.shard_path(folder, len(parts)))
        parts.append(shards.combined_digest(ids))
        waiting.clear()

    for row in rows:
        row.words = []
        waiting.append(row)
        characters += row.characters
        counts.kept += 1
        counts.add(counts.sources, row.source)
        if len(waiting) == shard_rows or characters > _SHARD_CHARACTERS:
            flush()
            characters = 0
        if time.monotonic() - logged > 10:
            logged = time.monotonic()
            log.info("%s: %d records read, %d rows kept", folder.name, counts.read, counts.kept)
    if waiting:
        flush()
    for path in folder.glob("shard-*"):
        if path.with_suffix(".parquet") not in written:  # of an older run
            path.unlink()
    return {**counts.summary(), "shards": len(parts), "digest": shards.combined_digest(parts)}


def _same(shard: shards.Shard, table: pa.Table) -> bool:
    """Whether a shard of an earlier run is what would be written now: its input may have been found damaged later."""
    try:
        return bool(shards.load(shard).equals(table))
    except (TamisError, pa.ArrowException):
        return False
