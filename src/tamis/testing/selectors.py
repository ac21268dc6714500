"""Tests that every selector must pass, see `tamis.testing`."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tamis.pool.shards import write_shard
from tamis.selectors.base import Selector
from tamis.selectors.candidates import Candidates, Scores

ROWS = 60
TASKS = ["reading", "counting", "reading", "counting"]


def make_scores(
    folder: Path,
    columns: Mapping[str, Any],
    *,
    ids: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    sizes: Sequence[int] | None = None,
) -> Scores:
    """Writes score shards of given values.

    Args:
        folder: Gets the shards.
        columns: Numbers or texts (None for null) on one axis, or lists on two; NaN becomes null.
        ids: Ids of the rows; made up if None.
        sources: Sources of the rows.
        tasks: The tasks of the entries of the list columns.
        sizes: Rows of each shard; one shard if None.
    """
    rows = len(next(iter(columns.values())))
    ids = ids or [hashlib.sha256(str(i).encode()).hexdigest()[:32] for i in range(rows)]
    fields = [pa.field("id", pa.string()), pa.field("source", pa.string())]
    arrays = [pa.array(ids, pa.string()), pa.array(sources or ["one"] * rows, pa.string())]
    for name, given in columns.items():
        values = np.asarray(given)
        if values.ndim == 2:
            block = values.astype(np.float32)
            missing = pa.array(np.isnan(block).all(axis=1))
            arrays.append(pa.FixedSizeListArray.from_arrays(block.ravel(), block.shape[1], mask=missing))
            meta = {"tasks": json.dumps(list(tasks))} if tasks else None
            fields.append(pa.field(name, arrays[-1].type, metadata=meta))
        else:
            numbers = values.dtype.kind in "fiu"
            arrays.append(pa.array(values, mask=np.isnan(values)) if numbers else pa.array(list(given), pa.string()))
            fields.append(pa.field(name, arrays[-1].type))
    table = pa.Table.from_arrays(arrays, schema=pa.schema(fields))
    parts, start = [], 0
    for index, size in enumerate(sizes or [rows]):
        parts.append(write_shard(folder, index, table.slice(start, size), {}))
        start += size
    return Scores(parts)


class SelectorContract:
    """The tests; a subclass brings the fixture `selector`. It must choose every eligible row if k allows."""

    def test_chooses_what_is_eligible_once(self, selector: Selector, tmp_path: Path) -> None:
        """At most k rows, each once, never NaN, infinite or filtered out; all that are eligible if k allows."""
        candidates = _candidates(selector, _pool(tmp_path))
        eligible = set(np.flatnonzero(candidates.eligible))
        assert 0 < len(eligible) < ROWS
        for k in (0, 1, 7, len(eligible), ROWS, 3 * ROWS):
            chosen = selector.select(candidates, k, 0)
            assert chosen.dtype == np.int64
            assert len(chosen) == len(set(chosen.tolist())) == min(k, len(eligible))
            assert set(chosen.tolist()) <= eligible

    def test_same_seed_same_choice(self, selector: Selector, tmp_path: Path) -> None:
        """Twice the same."""
        scores = _pool(tmp_path)
        once, again = (selector.select(_candidates(selector, scores), 20, 5) for _ in range(2))
        assert once.tolist() == again.tolist()

    def test_order_of_rows_and_shards_does_not_matter(self, selector: Selector, tmp_path: Path) -> None:
        """The same ids in the same order from shuffled rows in other shards, equal scores included."""
        wanted = _chosen_ids(selector, _pool(tmp_path / "a"), 20)
        for seed in range(3):
            order = np.random.default_rng(seed).permutation(ROWS)
            scores = _pool(tmp_path / str(seed), order, [1, 30, 20 - seed, 9 + seed])
            assert _chosen_ids(selector, scores, 20) == wanted

    def test_conditions_are_respected(self, selector: Selector, tmp_path: Path) -> None:
        """Rows that fail the condition are not chosen, the others are."""
        scores = _pool(tmp_path)
        candidates = _candidates(selector, scores, "other >= 0.5")
        chosen = selector.select(candidates, ROWS, 0)
        assert 0 < len(chosen) == candidates.eligible.sum() < _candidates(selector, scores).eligible.sum()
        assert (scores.column("other")[chosen] >= 0.5).all()

    def test_nothing_to_choose_from(self, selector: Selector, tmp_path: Path) -> None:
        """No eligible row, no choice, no error."""
        assert selector.select(_candidates(selector, _pool(tmp_path), "other > 2"), 5, 0).tolist() == []

    def test_one_row(self, selector: Selector, tmp_path: Path) -> None:
        """A single row is chosen."""
        scores = make_scores(tmp_path, {"number": [0.5], "list": [[0.5, 0.25]], "other": [1.0]})
        assert selector.select(_candidates(selector, scores), 5, 0).tolist() == [0]


def _pool(folder: Path, order: NDArray[np.int64] | None = None, sizes: Sequence[int] | None = None) -> Scores:
    """Rows with equal scores, missing ones and infinite ones, from unequal sources."""
    random = np.random.default_rng(0)
    number = random.random(ROWS).round(1)
    number[[3, 50]] = np.nan
    number[[4, 51]] = np.inf, -np.inf
    block = random.standard_normal((ROWS, len(TASKS))).round(1)
    block[[3, 50]] = np.nan
    block[4, 2] = np.inf
    block[51, 0] = np.nan
    other = random.random(ROWS)
    other[10] = np.nan
    order = np.arange(ROWS) if order is None else order
    return make_scores(
        folder,
        {"number": number[order], "list": block[order], "other": other[order]},
        ids=[hashlib.sha256(str(i).encode()).hexdigest()[:32] for i in order],
        sources=[("big", "big", "big", "small", "tiny")[i % 5] if i > 5 else "big" for i in order],
        tasks=TASKS,
        sizes=sizes,
    )


def _candidates(selector: Selector, scores: Scores, keep: str = "other >= 0") -> Candidates:
    return Candidates(scores, {"number": "number", "list": "list", "nothing": None}[selector.reads], keep)


def _chosen_ids(selector: Selector, scores: Scores, k: int) -> list[str]:
    return [scores.id_at(int(i)) for i in selector.select(_candidates(selector, scores), k, 1)]
