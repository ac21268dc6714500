"""Selectors that compare rows with each other, on pools too large to compare every row with every other.

A pool of at most `part_rows` rows is one part, and the choice is exact. A larger one is divided into neighbourhoods, by
halving it along the direction in which it spreads most until the parts are small enough; each part chooses on its own,
twice its share, and the rows with the largest gains are taken. While the budget is below an eighth of the rows, the
parts first reduce them to an eighth, where a kept row has the weight of those that it stands for, so that a small
choice from a large pool ends with rows that were all compared. (Parts at random, as in Mirzasoleiman et al. 2016, arXiv
1411.0541, choose alike: tried on the same vectors they lost 1.3 to 9 times as much.) `tests/benchmarks/bench_select.py`
prints the loss against the exact choice.
"""

from collections.abc import Callable, Iterator
from itertools import count

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tamis import settings
from tamis.scorers.base import unit
from tamis.selectors.candidates import Candidates
from tamis.selectors.order import shuffled

KEPT = 8
"""Parts reduce their rows by this factor at most."""
NUMBERS = 1 << 27
"""Numbers of the vectors that are in memory at once, about: 512 MiB, and as much again for a copy of them."""
SAMPLE = 4096
"""Rows that a direction is computed from."""

Vectors = NDArray[np.float32]
Greedy = Callable[[Vectors, NDArray[np.float64], int], tuple[NDArray[np.int64], NDArray[np.float64]]]
"""Chooses so many rows from unit vectors (rows x width) with weights; their indices in order, and what each gained."""


class PartSettings(settings.Settings):
    """Settings of selectors that compare rows with each other."""

    part_rows: int = Field(default=8192, ge=2)
    """Rows that are compared with each other; up to so many the choice is exact."""


def choose_by_parts(candidates: Candidates, k: int, seed: int, part_rows: int, greedy: Greedy) -> NDArray[np.int64]:
    """Chooses from a list column of vectors, part by part; in order of gain.

    Args:
        candidates: The rows and their vectors, which are scaled to length 1; a vector of zeros is similar to nothing.
        k: How many rows at most.
        seed: For the samples that directions are computed from.
        part_rows: Rows of a part at most.
        greedy: The choice within a part.
    """
    rows = np.flatnonzero(candidates.eligible)
    k = min(k, len(rows))
    if k == 0:
        return rows[:0]
    rows = rows[np.argsort(shuffled(candidates.keys[rows], seed, stream=2))]  # any first few are a random sample
    weights = np.ones(candidates.rows)
    for _ in count():
        whole = len(rows) <= part_rows
        last = whole or k * KEPT >= len(rows)
        chosen, gained = [], []
        for group, vectors in _groups(candidates, rows, part_rows):
            for part in _split(vectors, np.arange(len(group)), part_rows):
                size = k if whole else -(-2 * k * len(part) // len(rows)) if last else -(-len(part) // KEPT)
                here, mine = group[part], vectors[part]
                kept, gains = greedy(mine, weights[here], min(size, len(part)))
                if not last:
                    stands_for = np.argmax(mine @ mine[kept].T, axis=1)
                    weights[here[kept]] = np.bincount(stands_for, weights[here], len(kept))
                chosen.append(here[kept])
                gained.append(gains)
        rows = np.concatenate(chosen)
        if last:
            break
        rows = rows[np.argsort(shuffled(candidates.keys[rows], seed, stream=2))]
    return rows if whole else rows[np.argsort(-np.concatenate(gained), kind="stable")[:k]]


def _groups(
    candidates: Candidates, rows: NDArray[np.int64], part_rows: int
) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
    """Neighbourhoods that fit in memory, with their unit vectors; each costs a pass over the column."""
    width = len(candidates.tasks())
    depth = max(0, int(np.ceil(np.log2(len(rows) * width / max(NUMBERS, part_rows * width)))))
    if depth == 0:
        yield rows, _vectors(candidates, rows)
        return
    planes: dict[int, tuple[Vectors, float]] = {}  # the children of node n are 2n and 2n + 1
    sample = _vectors(candidates, rows[: SAMPLE << depth])
    nodes = {1: sample}
    for _ in range(depth):
        for node, vectors in list(nodes.items()):
            along = _direction(vectors)
            height = vectors @ along
            middle = float(np.median(height)) if len(height) else np.inf
            planes[node] = along, middle
            high = height > middle
            nodes |= {2 * node: vectors[~high], 2 * node + 1: vectors[high]}
            del nodes[node]
    leaf = np.ones(candidates.rows, np.int32)
    for start, block in candidates.blocks():
        vectors, at = _unit(block), leaf[start : start + len(block)]
        for _ in range(depth):
            for node in np.unique(at).tolist():
                along, middle = planes[node]
                mine = at == node
                at[mine] = 2 * node + (vectors[mine] @ along > middle)
    for node in nodes:
        group = rows[leaf[rows] == node]
        if len(group):
            yield group, _vectors(candidates, group)


def _split(vectors: Vectors, index: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Halves and halves again, until no part has more than `size` rows."""
    if len(index) <= size:
        return [index]
    along = _direction(vectors[index[:SAMPLE]])
    low = np.zeros(len(index), bool)
    low[np.argsort(vectors[index] @ along, kind="stable")[: len(index) // 2]] = True
    return _split(vectors, index[low], size) + _split(vectors, index[~low], size)


def _direction(vectors: Vectors) -> Vectors:
    """The direction in which vectors spread most, by ten steps of power iteration."""
    along: Vectors = np.random.default_rng(0).standard_normal((vectors.shape[1],), np.float32)
    if len(vectors) < 2:
        return along
    centred = vectors[:SAMPLE] - vectors[:SAMPLE].mean(axis=0)
    for _ in range(10):
        turned = centred.T @ (centred @ along)
        length = float(np.linalg.norm(turned))
        if length == 0:  # all vectors are the same
            break
        along = turned / np.float32(length)
    return along


def _vectors(candidates: Candidates, rows: NDArray[np.int64]) -> Vectors:
    """The unit vectors of some rows, in their order."""
    place = np.full(candidates.rows, -1, np.int64)
    place[rows] = np.arange(len(rows))
    vectors = np.empty((len(rows), len(candidates.tasks())), np.float32)
    for start, block in candidates.blocks():
        to = place[start : start + len(block)]
        vectors[to[to >= 0]] = _unit(block[to >= 0])
    return vectors


def _unit(block: Vectors) -> Vectors:
    vectors: Vectors = np.nan_to_num(unit(block))
    return vectors
