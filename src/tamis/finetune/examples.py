"""The rows of a selection as the model will read them, and why some cannot be read."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tamis.errors import UserError
from tamis.lm.encode import Encoded, Encoder
from tamis.lm.templates import Kind
from tamis.pool.rows import SCHEMA, Row, from_table


@dataclass(frozen=True)
class Examples:
    """Encoded rows.

    Attributes:
        rows: Those that the model can learn from.
        cut: How many of them were longer than the window and lost their end.
        skipped: Reasons why others cannot be used, with counts.
    """

    rows: list[Encoded]
    cut: int
    skipped: dict[str, int]


def read_selection(path: Path) -> list[Row]:
    """Reads a selection.

    Args:
        path: A Parquet file of rows, or a folder with `selected.parquet`.

    Raises:
        UserError: It is missing, or no table of rows.
    """
    file = path / "selected.parquet" if path.is_dir() else path
    try:
        return from_table(pq.read_table(file, columns=SCHEMA.names).cast(SCHEMA))
    except FileNotFoundError:
        raise UserError(f"{file} is missing; give what `tamis select` wrote for an arm") from None
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException, json.JSONDecodeError) as error:
        raise UserError(
            f"{file} is no table of rows ({str(error).splitlines()[0]}); give what `tamis select` wrote for an arm"
        ) from error


def encode_selection(rows: list[Row], encoder: Encoder) -> Examples:
    """Encodes a selection; a row that cannot be learned from is counted by its reason and stops nobody."""
    encoded = encoder.encode(rows)
    good = [row for row in encoded if isinstance(row, Encoded)]
    reasons = Counter(row.reason for row in encoded if not isinstance(row, Encoded))
    return Examples(good, sum(row.cut > 0 for row in good), dict(reasons))


def learned(row: Encoded) -> NDArray[np.int64]:
    """Positions of the tokens that are learned: the answers and the markers that end them.

    The first token of a row is never among them, because nothing precedes it.
    """
    return np.flatnonzero(row.kinds[1:] != Kind.PROMPT) + 1


def write_encoded(path: Path, rows: list[Encoded]) -> None:
    """Keeps encoded rows for the training processes."""
    table = {"ids": [row.ids for row in rows], "kinds": [row.kinds for row in rows]}
    pq.write_table(pa.table(table), path)


def read_encoded(path: Path) -> list[Encoded]:
    """What `write_encoded` kept."""
    table = pq.read_table(path)
    columns = zip(table.column("ids"), table.column("kinds"), strict=True)
    return [Encoded(np.array(a.as_py(), np.int32), np.array(b.as_py(), np.int8)) for a, b in columns]
