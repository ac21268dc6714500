"""Tables in shards, each complete or not there.

A shard is a Parquet file and, written after it, a small manifest with its digest and the identity of what made it. A
file without manifest is half done and nobody reads it; a rerun makes it again and keeps the others. A shard that was
made from other rows, by another model or with other settings is an error that says what differs, never a silent mix.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tamis.errors import TamisError, UserError
from tamis.pool.rows import Row, from_table
from tamis.store import atomic_write


@dataclass(frozen=True)
class Shard:
    """One complete shard.

    Attributes:
        path: The Parquet file.
        rows: How many it has.
        sha256: Digest of the file.
        identity: What it was made from, plain values.
    """

    path: Path
    rows: int
    sha256: str
    identity: dict[str, Any]


def shard_path(folder: Path, index: int) -> Path:
    """The Parquet file of a shard; its manifest has the suffix `.json`."""
    return folder / f"shard-{index:05d}.parquet"


def write_shard(folder: Path, index: int, table: pa.Table, identity: dict[str, Any]) -> Shard:
    """Writes a shard: the table under another name, then its own name, then the manifest.

    Raises:
        TamisError: The disk is full or cannot be written.
    """
    path = shard_path(folder, index)
    try:
        manifest = path.with_suffix(".json")
        manifest.unlink(missing_ok=True)
        with atomic_write(path) as file:
            pq.write_table(table, file, compression="zstd")
        digest = file_digest(path)
        content = {"rows": table.num_rows, "sha256": digest, "identity": identity}
        write_json(manifest, content)
    except OSError as error:
        raise TamisError(
            f"{path} cannot be written: {error.strerror or error}; free some space or choose --out"
        ) from error
    return Shard(path, table.num_rows, digest, identity)


def are_whole(folder: Path, number: int) -> bool:
    """Whether a folder has this many shards, each complete and with the bytes that were written; about 1 GB/s."""
    try:
        found = shards(folder)
        return len(found) == number and all(file_digest(shard.path) == shard.sha256 for shard in found)
    except TamisError:
        return False


def find_shard(folder: Path, index: int, identity: dict[str, Any]) -> Shard | None:
    """The shard of that index if it is complete, None if it is to be made.

    Raises:
        UserError: It was made from something else; says from what.
    """
    path = shard_path(folder, index)
    if not (path.exists() and path.with_suffix(".json").exists()):
        return None
    shard = _read(path)
    if shard.identity != identity:
        raise UserError(
            f"{path} was made with {difference(shard.identity, identity)}; choose another --out, or --overwrite it"
        )
    return shard


def difference(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> str:
    """Where two identities differ, in words: `model.digest 'a' (now 'b')`."""
    parts = []
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            inner = difference(a, b, f"{prefix}{key}.")
            parts += [inner] if inner else []
        elif a != b:
            parts.append(f"{prefix}{key} {a!r} (now {b!r})")
    return ", ".join(parts)


def shards(folders: Path | Sequence[Path]) -> list[Shard]:
    """The complete shards of one or several folders, in order of folder and index.

    Raises:
        UserError: A folder without shards, or with one that is half written.
    """
    result = []
    for folder in [folders] if isinstance(folders, Path) else folders:
        paths = sorted(folder.glob("shard-*.parquet"))
        if not paths:
            raise UserError(
                f"{folder}: no shards there; a folder written by `tamis prepare` or `tamis score` is needed"
            )
        for path in paths:
            if not path.with_suffix(".json").exists():
                raise UserError(f"{path} is half written; run the step that makes it again")
            result.append(_read(path))
    return result


def load(shard: Shard, columns: Sequence[str] | None = None) -> pa.Table:
    """The table of a shard, its digest checked.

    Raises:
        TamisError: The file is not what was written.
    """
    if file_digest(shard.path) != shard.sha256:
        raise TamisError(f"{shard.path} has changed since it was written; run the step that makes it again")
    return pq.read_table(shard.path, columns=None if columns is None else list(columns))


def rows(parts: Iterable[Shard]) -> list[Row]:
    """All rows of some shards, in order."""
    return [row for part in parts for row in from_table(load(part))]


def sample(parts: Iterable[Shard], size: int) -> list[Row]:
    """The rows with the smallest ids: as random as a digest, and the same whatever the order of the pool."""
    chosen: list[Row] = []
    for part in parts:
        chosen = sorted(chosen + rows([part]), key=lambda row: row.id)[:size]
    return chosen


def combined_digest(parts: Iterable[str]) -> str:
    """One digest for several, 128 bits in hex."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Writes JSON so that the file is there whole or not at all."""
    with atomic_write(path) as file:
        file.write((json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode())


def _read(path: Path) -> Shard:
    try:
        content = json.loads(path.with_suffix(".json").read_text())
        return Shard(path, content["rows"], content["sha256"], content["identity"])
    except (ValueError, KeyError) as error:
        raise TamisError(
            f"{path.with_suffix('.json')} is not a shard's manifest; delete it and run the step again"
        ) from error
