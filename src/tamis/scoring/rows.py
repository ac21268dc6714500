"""Some rows, some scorers, one table: the pass is shared, and every row ends as scored or with a reason."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tamis.errors import TamisError
from tamis.lm.encode import Encoded, Unscorable
from tamis.lm.observations import Embedded, Observation, Text
from tamis.pool.rows import Row
from tamis.scorers import Scorer, State

log = logging.getLogger("tamis")
Learned = Mapping[str, tuple[State, list[str]]]
"""By method: what it learned, and the task of each target row that it learned from."""


def prefix(name: str) -> str:
    """What a method's columns begin with."""
    return name.replace("-", "_")


def observing(scorers: Mapping[str, Scorer], learned: Learned) -> dict[str, Mapping[str, Observation]]:
    """By method, what it observes."""
    return {name: scorer.observing(learned[name][0]) for name, scorer in scorers.items()}


def union(asked: Mapping[str, Mapping[str, Observation]]) -> dict[Observation, str]:
    """Each distinct observation once, whoever asks, with a name."""
    names: dict[Observation, str] = {}
    for method, view in asked.items():
        for key, want in view.items():
            names.setdefault(want, f"{method}/{key}")
    return names


def score_rows(rows: Sequence[Row], scorers: Mapping[str, Scorer], learned: Learned, engine: Any) -> pa.Table:
    """Scores some rows; a table with a line for each, in their order.

    Columns: `id`, `source`, `status` (`scored`; `partly` if a method could not score it; `unscorable` if none could),
    `cut` (tokens beyond the window), and each method's columns and `<method>_reason` (null where it scored the row).
    """
    asked = observing(scorers, learned)
    first = union(asked)
    wants = {name: want for want, name in first.items()}
    encoded = engine.encode_all(rows, wants.values())
    columns: dict[str, NDArray[Any]] = {}
    why: dict[str, list[str | None]] = {name: [None] * len(rows) for name in scorers}
    covered = np.zeros(len(rows), bool)
    logged = time.monotonic()
    for seen in engine.stream(rows, wants, encoded):
        covered[seen.index] = True
        for name, scorer in scorers.items():
            view = {key: seen.values[first[want]] for key, want in asked[name].items()}
            made = scorer.score(view, learned[name][0])
            if set(made) != set(scorer.columns):
                raise TamisError(f"method '{name}' gave the columns {sorted(made)}, not those that it declares")
            for column, values in made.items():
                if column not in columns:
                    columns[column] = np.full((len(rows), *values.shape[1:]), np.nan, values.dtype)
                columns[column][seen.index] = values
            bad = ~np.isfinite(made[next(iter(scorer.columns))])
            for i in map(int, np.flatnonzero(bad)):
                empty = [key for key, v in view.items() if v.dtype != object and not np.isfinite(v[i]).all()]
                why[name][int(seen.index[i])] = f"no finite value of: {', '.join(empty) or 'its score'}"
        if time.monotonic() - logged > 10:
            logged = time.monotonic()
            log.info("scored %d of %d rows of this shard", covered.sum(), len(rows))

    for name, asks in asked.items():
        templates = {
            want.template or engine.template for want in asks.values() if not isinstance(want, Text | Embedded)
        }
        for template in templates:
            for i, item in enumerate(encoded[template]):
                if isinstance(item, Unscorable):
                    why[name][i] = item.reason
    return _table(rows, scorers, learned, columns, why, _cut(encoded.get(engine.template), len(rows)))


def _cut(encoded: Sequence[Encoded | Unscorable] | None, rows: int) -> list[int | None]:
    if encoded is None:
        return [None] * rows
    return [item.cut if isinstance(item, Encoded) else None for item in encoded]


def _table(
    rows: Sequence[Row],
    scorers: Mapping[str, Scorer],
    learned: Learned,
    columns: Mapping[str, NDArray[Any]],
    why: Mapping[str, list[str | None]],
    cut: list[int | None],
) -> pa.Table:
    failed = np.array([[reason is not None for reason in why[name]] for name in scorers]).sum(axis=0)
    status = np.where(failed == 0, "scored", np.where(failed == len(scorers), "unscorable", "partly"))
    names = ["id", "source", "status", "cut"]
    arrays = [
        pa.array([row.id for row in rows], pa.string()),
        pa.array([row.source for row in rows], pa.string()),
        pa.array(status.tolist(), pa.string()),
        pa.array(cut, pa.int32()),
    ]
    fields = [pa.field(name, array.type) for name, array in zip(names, arrays, strict=True)]
    for name, scorer in scorers.items():
        for column in scorer.columns:
            values: NDArray[Any] = columns.get(column, np.full(len(rows), np.nan))
            missing = np.array([reason is not None for reason in why[name]])
            array = _array(values, missing)
            meta = None
            if column in scorer.lists:
                tasks = learned[name][1]
                named = tasks if scorer.lists[column] == "rows" else list(dict.fromkeys(tasks))
                meta = {"tasks": json.dumps(named)}
            fields.append(pa.field(column, array.type, metadata=meta))
            arrays.append(array)
        fields.append(pa.field(f"{prefix(name)}_reason", pa.string()))
        arrays.append(pa.array(why[name], pa.string()))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _array(values: NDArray[Any], missing: NDArray[np.bool_]) -> pa.Array:
    """A column; a list column of fixed size for two axes. Null where the row has no score."""
    if values.ndim == 1:
        return pa.array(values.astype(np.float64), mask=missing)
    flat = pa.array(values.astype(np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=pa.array(missing))
