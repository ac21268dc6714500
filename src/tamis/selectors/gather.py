"""Writes a selection out of core: the chosen rows in order of choice, and a line for every row of the pool."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tamis.errors import TamisError
from tamis.pool.rows import SCHEMA
from tamis.pool.shards import Shard, load
from tamis.selectors.candidates import Scores

GROUP_ROWS = 50_000
"""Rows that are held at once while they are put in order."""

DECISIONS = pa.schema(
    [
        ("id", pa.string()),
        ("selected", pa.bool_()),
        ("rank", pa.int64()),  # from 0 in order of choice; null if not selected
        ("value", pa.float64()),  # of the selector's column, the largest of a list; null if there is none
        ("reason", pa.string()),
    ]
)


def write_selected(parts: Sequence[Shard], chosen: NDArray[np.int64], path: Path) -> str:
    """Writes rows of the pool in order of choice.

    Reads each shard once and writes its chosen rows aside, grouped by where they belong; then puts group after group in
    order. No more than a shard and a group are in memory.

    Args:
        parts: The pool's shards.
        chosen: Positions over the shards, in order of choice.
        path: The file to be.

    Returns:
        Digest of the chosen ids in order.
    """
    by_position = np.argsort(chosen)
    positions = chosen[by_position]
    with _whole(path, SCHEMA) as write, tempfile.TemporaryDirectory(dir=path.parent) as aside:
        spills: dict[int, pa.ipc.RecordBatchStreamWriter] = {}
        start = 0
        for part in parts:
            low, high = np.searchsorted(positions, [start, start + part.rows])
            if low < high:
                table = load(part, SCHEMA.names).take(pa.array(positions[low:high] - start))
                ranks = by_position[low:high]
                table = table.append_column("rank", pa.array(ranks))
                for group in np.flatnonzero(np.bincount(ranks // GROUP_ROWS)).tolist():
                    if group not in spills:
                        spills[group] = pa.ipc.new_stream(f"{aside}/{group}", table.schema)
                    spills[group].write_table(table.filter(pa.array(ranks // GROUP_ROWS == group)))
            start += part.rows
        digest = hashlib.sha256()  # as `combined_digest` of all ids, which may be too many to hold
        for group, spill in sorted(spills.items()):
            spill.close()
            with pa.OSFile(f"{aside}/{group}") as file:
                table = pa.ipc.open_stream(file).read_all()
            table = table.take(pa.array(np.argsort(table.column("rank").to_numpy()))).drop_columns("rank")
            write(table.cast(SCHEMA))
            digest.update("\n".join([""] * (group > 0) + table.column("id").to_pylist()).encode())
    return digest.hexdigest()[:32]


def write_decisions(
    rows: Scores,
    chosen: NDArray[np.int64],
    values: NDArray[np.float64],
    codes: NDArray[np.int32],
    reasons: Sequence[str],
    path: Path,
) -> None:
    """Writes a line for every row of the pool, in the pool's order.

    Args:
        rows: The pool.
        chosen: Positions in the pool, in order of choice.
        values: For each row the value of the column that decided.
        codes: For each row the number of its reason.
        reasons: The reasons.
        path: The file to be.
    """
    rank = np.full(rows.rows, -1, np.int64)
    rank[chosen] = np.arange(len(chosen))
    texts = pa.array(reasons, pa.string())
    with _whole(path, DECISIONS) as write:
        for start, batch in rows.batches(["id"]):
            here = slice(start, start + batch.num_rows)
            out = rank[here] < 0
            columns = [
                batch.column(0),
                pa.array(~out),
                pa.array(rank[here], mask=out),
                pa.array(values[here], mask=~np.isfinite(values[here])),
                texts.take(pa.array(codes[here])),
            ]
            write(pa.Table.from_arrays(columns, schema=DECISIONS))


@contextmanager
def _whole(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """A Parquet file that is there whole or not at all."""
    part = path.with_suffix(".part")
    try:
        with pq.ParquetWriter(part, schema, compression="zstd") as writer:
            yield writer.write_table
        os.replace(part, path)
    except OSError as error:
        raise TamisError(f"{path} cannot be written: {error.strerror or error}; free some space") from error
    finally:
        part.unlink(missing_ok=True)
