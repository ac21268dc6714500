"""What a selector sees: score shards, read column by column and batch by batch.

A column of numbers over 5.8 million rows takes 46 MB; a list column (one number for each target row) would take
gigabytes, so it is only ever streamed.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tamis.errors import TamisError, UserError
from tamis.pool.shards import Shard, file_digest
from tamis.selectors.conditions import parse_condition
from tamis.settings import nearest

BATCH_ROWS = 1 << 17
BLOCK_NUMBERS = 1 << 21
FEW = 4
"""Ids of single shards are read while less than one shard in so many is asked for."""


class Scores:
    """A table in shards, read as columns. A row's position counts over the shards in their order.

    Args:
        parts: Complete shards; each file's digest is checked here, once.

    Raises:
        TamisError: A file is not what was written.
    """

    def __init__(self, parts: Sequence[Shard]) -> None:  # noqa: D107
        for part in parts:
            if file_digest(part.path) != part.sha256:
                raise TamisError(f"{part.path} has changed since it was written; run the step that makes it again")
        self.parts = list(parts)
        self.rows = sum(part.rows for part in parts)

    @cached_property
    def _schemas(self) -> list[pa.Schema]:
        return [pq.read_schema(part.path) for part in self.parts]

    def batches(self, names: Sequence[str], rows: int = BATCH_ROWS) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Batches of some columns, each with the position of its first row."""
        start = 0
        for part in self.parts:
            with pq.ParquetFile(part.path, memory_map=True) as file:
                for batch in file.iter_batches(rows, columns=list(names)):
                    yield start, batch
                    start += batch.num_rows

    @property
    def names(self) -> list[str]:
        """The columns that all shards have."""
        first, *others = [schema.names for schema in self._schemas]
        return [name for name in first if all(name in other for other in others)]

    @cached_property
    def keys(self) -> NDArray[np.uint64]:
        """A number for each row that depends on its id alone: the first 16 hex digits, or a hash of another id."""
        keys = np.empty(self.rows, np.uint64)
        for start, batch in self.batches(["id"]):
            keys[start : start + batch.num_rows] = _keys(batch.column(0))
        return keys

    def keys_of(self, positions: NDArray[np.int64]) -> NDArray[np.uint64]:
        """The keys of some rows; reads the ids of their shards only, while these are few."""
        starts = np.cumsum([0, *(part.rows for part in self.parts)])
        shard = np.searchsorted(starts, positions, side="right") - 1
        holding = np.unique(shard)
        if "keys" in self.__dict__ or FEW * len(holding) > len(self.parts):
            return self.keys[positions]
        keys = np.empty(len(positions), np.uint64)
        for i in holding.tolist():
            ids = pq.read_table(self.parts[i].path, columns=["id"]).column(0).combine_chunks()
            keys[shard == i] = _keys(ids)[positions[shard == i] - starts[i]]
        return keys

    @cached_property
    def by_key(self) -> NDArray[np.int64]:
        """Positions in order of key."""
        return np.argsort(self.keys)

    def id_at(self, position: int) -> str:
        """The id of one row, for messages."""
        for start, batch in self.batches(["id"]):
            if position < start + batch.num_rows:
                return str(batch.column(0)[int(position - start)])
        raise IndexError(position)

    @cached_property
    def sources(self) -> tuple[NDArray[np.int32], list[str]]:
        """For each row the number of its source, and the names of the sources."""
        return self.texts("source")

    def texts(self, name: str) -> tuple[NDArray[np.int32], list[str]]:
        """A column of texts that recur: for each row the number of its text, and the texts; null is the empty one."""
        codes = np.empty(self.rows, np.int32)
        known: dict[str, int] = {}
        for start, batch in self.batches([name]):
            coded = pc.fill_null(batch.column(0), "").dictionary_encode()
            here = [known.setdefault(text, len(known)) for text in coded.dictionary.to_pylist()]
            codes[start : start + batch.num_rows] = np.array(here, np.int32)[coded.indices.to_numpy()]
        return codes, list(known)

    def field(self, name: str) -> pa.Field:
        """The field of a column; that of a shard where it is a list, if it is a list in any.

        Raises:
            UserError: No such column, or none that holds numbers.
        """
        fields = []
        for part, schema in zip(self.parts, self._schemas, strict=True):
            if name not in schema.names:
                known = [field.name for field in schema if _numbers(field.type)]
                raise UserError(f"{part.path.parent}: there is no column '{name}'; {nearest(name, known)}")
            fields.append(schema.field(name))
        # A shard in which no row could be scored has empty numbers where the others have lists.
        field = next((field for field in fields if pa.types.is_fixed_size_list(field.type)), fields[0])
        if not _numbers(field.type):
            raise UserError(f"column '{name}' holds {field.type}, not numbers")
        return field

    def column(self, name: str) -> NDArray[np.float64]:
        """A column as numbers, NaN where there is none; of a list its largest, NaN if any of it is not finite."""
        values = np.full(self.rows, np.nan)
        if pa.types.is_fixed_size_list(self.field(name).type):
            for start, block in self.blocks(name):
                lists = np.ascontiguousarray(block.T)  # short rows are slow to reduce
                values[start : start + len(block)] = np.where(np.isfinite(lists).all(axis=0), lists.max(axis=0), np.nan)
        else:
            for start, batch in self.batches([name]):
                values[start : start + batch.num_rows] = _floats(batch.column(0))
        return values

    def blocks(self, name: str) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """A list column in blocks of rows x numbers, each with the position of its first row; NaN where a row has none.

        Raises:
            UserError: It is no list column.
        """
        kind = self.field(name).type
        if not pa.types.is_fixed_size_list(kind):
            raise UserError(f"column '{name}' holds one number a row; a list of numbers is needed")
        width = kind.list_size
        for start, batch in self.batches([name], max(1024, BLOCK_NUMBERS // max(width, 1))):
            yield start, _block(batch.column(0), width)

    def tasks(self, name: str) -> list[str]:
        """The task that each entry of a list column belongs to; all the same one if the column does not say."""
        field = self.field(name)
        width: int = field.type.list_size
        tasks = json.loads((field.metadata or {}).get(b"tasks", b"null"))
        return [str(task) for task in tasks] if tasks is not None and len(tasks) == width else [""] * width


class Candidates:
    """The rows of a table that one selector may choose from.

    Args:
        scores: The table.
        column: What the selector reads; None for one that reads nothing.
        keep: A condition that a row must meet, such as `ifd < 1`.

    Raises:
        UserError: A column does not exist, or the condition cannot be read.
    """

    def __init__(self, scores: Scores, column: str | None = None, keep: str | None = None) -> None:  # noqa: D107
        self.scores = scores
        self.name = column
        self.conditions = parse_condition(keep or "")
        for name in self.reads:
            scores.field(name)
        self._columns: dict[str, NDArray[np.float64]] = {}

    @property
    def reads(self) -> list[str]:
        """The columns that decide, each once: the selector's first, then those of the conditions."""
        named = [self.name] if self.name is not None else []
        return list(dict.fromkeys(named + [condition.column for condition in self.conditions]))

    @property
    def rows(self) -> int:
        """How many rows there are, eligible or not."""
        return self.scores.rows

    @property
    def keys(self) -> NDArray[np.uint64]:
        """A number for each row that depends on its id alone; orders rows of equal score."""
        return self.scores.keys

    def keys_of(self, positions: NDArray[np.int64]) -> NDArray[np.uint64]:
        """The keys of some rows, see `Scores.keys_of`."""
        return self.scores.keys_of(positions)

    @property
    def by_key(self) -> NDArray[np.int64]:
        """Positions in order of key."""
        return self.scores.by_key

    @property
    def sources(self) -> tuple[NDArray[np.int32], list[str]]:
        """For each row the number of its source, and the names of the sources."""
        return self.scores.sources

    def column(self, name: str) -> NDArray[np.float64]:
        """Any column, see `Scores.column`; read once."""
        if name not in self._columns:
            self._columns[name] = self.scores.column(name)
        return self._columns[name]

    @property
    def values(self) -> NDArray[np.float64]:
        """The selector's column, see `Scores.column`; NaN everywhere without one."""
        return np.full(self.rows, np.nan) if self.name is None else self.column(self.name)

    @cached_property
    def eligible(self) -> NDArray[np.bool_]:
        """Which rows may be chosen: all columns that decide are finite and every condition holds."""
        return self.left[-1]

    @cached_property
    def left(self) -> list[NDArray[np.bool_]]:
        """Which rows are left: those whose columns are finite, then after each condition in turn."""
        mask = np.ones(self.rows, bool)
        for name in self.reads:
            mask &= np.isfinite(self.column(name))
        left = [mask]
        for condition in self.conditions:
            left.append(condition.holds(self.column(condition.column), left[-1], self.keys_of))
        return left

    def blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The selector's list column in blocks, see `Scores.blocks`."""
        return self.scores.blocks(self.name or "")

    def tasks(self) -> list[str]:
        """The task of each entry of the selector's list column."""
        return self.scores.tasks(self.name or "")


def _numbers(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_fixed_size_list(kind) else kind
    return bool(pa.types.is_floating(inner) or pa.types.is_integer(inner))


def _floats(array: pa.Array) -> NDArray[np.float64]:
    if pa.types.is_null(array.type):
        return np.full(len(array), np.nan)
    values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values.astype(np.float64, copy=False)


def _block(array: pa.Array, width: int) -> NDArray[np.float32]:
    if not pa.types.is_fixed_size_list(array.type):
        return np.full((len(array), width), np.nan, np.float32)
    if array.type.list_size != width:
        raise UserError(f"lists of {array.type.list_size} and of {width} numbers in one column; score the pool again")
    flat = array.values.slice(array.offset * width, len(array) * width)
    block: NDArray[np.float32] = flat.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    block = block.reshape(len(array), width)
    if array.null_count:
        block = block.copy()
        block[array.is_null().to_numpy(zero_copy_only=False)] = np.nan
    return block


def _keys(ids: pa.Array) -> NDArray[np.uint64]:
    long = pc.fill_null(pc.equal(pc.binary_length(ids), 32), False).to_numpy(zero_copy_only=False)
    keys = np.empty(len(ids), np.uint64)
    plain = ids if long.all() else ids.filter(pa.array(long))
    if len(plain):
        ends = np.frombuffer(plain.buffers()[1], np.int32)[plain.offset : plain.offset + len(plain) + 1]
        text = np.frombuffer(plain.buffers()[2], np.uint8)[ends[0] : ends[-1]].reshape(-1, 32)
        keys[long] = _from_hex(text[:, :16])
        # In 8 bits what is below the first digit or letter wraps round and is large.
        hexadecimal = ((text - np.uint8(ord("0"))) < 10) | ((text - np.uint8(ord("a"))) < 6)
        long[long] = hexadecimal.all() or hexadecimal.all(axis=1)
    for i in np.flatnonzero(~long):
        text = ids[int(i)].as_py()
        if text is None:
            raise UserError("a row has no id; only tables written by `tamis prepare` and `tamis score` have scores")
        keys[i] = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    return keys


def _from_hex(text: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Numbers from 16 hex digits each: digits to nibbles, then neighbours joined, all rows at once."""
    text = np.ascontiguousarray(text)
    nibbles = (text & np.uint8(15)) + (text >> np.uint8(6)) * np.uint8(9)  # letters have bit 6 and begin at 1
    halves = nibbles.view(">u8").astype(np.uint64)
    for shift, mask in ((4, 0x00FF00FF00FF00FF), (8, 0x0000FFFF0000FFFF), (16, 0x00000000FFFFFFFF)):
        halves = (halves | halves >> np.uint64(shift)) & np.uint64(mask)
    joined: NDArray[np.uint64] = halves[:, 0] << np.uint64(32) | halves[:, 1]
    return joined
