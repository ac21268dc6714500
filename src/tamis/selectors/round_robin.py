"""Round robin: target rows, or tasks, take turns at their best row.

The published code holds every target row's sorted list of the whole pool (target rows x rows). Here the shards are
streamed and each keeps only its best m rows. That is exact: turns are decided by the ranks that are known, and where
these do not suffice, more are fetched.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tamis import settings
from tamis.selectors.base import Reads, Selector
from tamis.selectors.candidates import Candidates

MEMORY = 1 << 25
"""Entries that all lists together may hold, 8 bytes each and twice that while they are made."""


class RoundRobin(Selector):
    """Each target row (or task) in its turn takes the row that it is most similar to.

    Ivison et al. 2025, arXiv 2503.01807. With one task its target rows take turns, with several the tasks do, where a
    row's similarity to a task is that to the task's most similar target row. A turn at a row that is taken already is
    spent, as in the authors' code (`get_top_influences.py`, `get_top_aggregated_influences.py`), or goes to the next
    best. Equal similarities are ordered by id. Reads the column twice, more often only if the lists of all target rows
    (the budget each, if they agree much) exceed 270 MB.
    """

    class Settings(settings.Settings):
        """Settings of `round-robin`."""

        on_duplicate: Literal["spend_turn", "next_best"] = "spend_turn"
        """What a turn does whose row is taken: nothing (the authors), or take the next best that is left."""
        over: Literal["auto", "rows", "tasks"] = "auto"
        """Who takes turns: target rows, tasks, or tasks if there are several."""

    paper: ClassVar[str] = "Ivison et al. 2025, arXiv 2503.01807"
    reads: ClassVar[Reads] = "list"
    unchosen: ClassVar[str] = "not reached by round robin over {column} in {k} rows"

    def select(self, candidates: Candidates, k: int, seed: int) -> NDArray[np.int64]:
        """The rows in the order in which they are taken."""
        k = min(k, int(candidates.eligible.sum()))
        if k == 0:
            return np.empty(0, np.int64)
        players = self._players(candidates.tasks())
        if self.settings.on_duplicate == "spend_turn":
            return _spend_turn(candidates, players, k)
        return _next_best(candidates, players, k)

    def _players(self, tasks: Sequence[str]) -> list[list[int]]:
        """The entries of the list column that each player looks at."""
        distinct = list(dict.fromkeys(tasks))
        if self.settings.over == "rows" or (self.settings.over == "auto" and len(distinct) == 1):
            return [[i] for i in range(len(tasks))]
        return [[i for i, task in enumerate(tasks) if task == one] for one in distinct]


def _spend_turn(candidates: Candidates, players: list[list[int]], k: int) -> NDArray[np.int64]:
    """A row is taken in the first turn at which any player points at it, so turns follow from ranks alone.

    Player q points at its row of rank r in turn r x players + q. With the first m ranks of every player known, all
    turns below m x players are; if fewer than k rows are taken in them, m is doubled.
    """
    m = min(k, max(1, MEMORY // len(players)))
    while True:
        turn = np.full(candidates.rows, np.iinfo(np.int64).max)
        together = max(1, MEMORY // m)
        for low in range(0, len(players), together):
            group = players[low : low + together]
            for q, best in enumerate(best_rows(candidates, group, m, candidates.eligible), low):
                turn[best] = np.minimum(turn[best], np.arange(len(best)) * len(players) + q)
        taken = np.flatnonzero(turn < np.iinfo(np.int64).max)
        if len(taken) >= k:
            return taken[np.argsort(turn[taken])[:k]]
        m = min(k, 2 * m)


def _next_best(candidates: Candidates, players: list[list[int]], k: int) -> NDArray[np.int64]:
    """Plays the turns. A player whose list is used up makes all get new lists of the rows that are left."""
    free = candidates.eligible.copy()
    chosen: list[int] = []
    while len(chosen) < k:
        m = min(k - len(chosen), max(1, MEMORY // len(players)))
        lists = [best.data for best in best_rows(candidates, players, m, free)]
        left = bytearray(free)
        at = [0] * len(lists)
        while len(chosen) < k:
            q = len(chosen) % len(lists)
            mine, i = lists[q], at[q]
            while i < len(mine) and not left[mine[i]]:
                i += 1
            if i == len(mine):
                break
            chosen.append(mine[i])
            left[mine[i]] = 0
            at[q] = i + 1
        free = np.frombuffer(left, bool)
    return np.array(chosen, np.int64)


def best_rows(
    candidates: Candidates, players: Sequence[Sequence[int]], m: int, allowed: NDArray[np.bool_]
) -> list[NDArray[np.int64]]:
    """Each player's m best rows, best first, in one pass over the list column.

    Args:
        candidates: The rows.
        players: For each player the entries whose largest counts.
        m: How many rows each; fewer if fewer are allowed.
        allowed: Which rows may be among them; they must be finite.
    """
    rank = np.empty(candidates.rows, np.uint64)
    rank[candidates.by_key] = np.arange(candidates.rows, dtype=np.uint64)
    best = [_Best(m) for _ in players]
    for start, block in candidates.blocks():
        mask = allowed[start : start + len(block)]
        columns = np.ascontiguousarray(block[mask].T)
        ranks = rank[start : start + len(block)][mask]
        for player, mine in zip(players, best, strict=True):
            mine.add(columns[player[0]] if len(player) == 1 else columns[player].max(axis=0), ranks)
    return [candidates.by_key[mine.sorted()] for mine in best]


class _Best:
    """The m best of a stream of (score, rank of key) pairs.

    A pair is packed into 64 bits, the score above in descending order and the rank below, so that plain integer order
    is the order wanted, ties included.
    """

    def __init__(self, m: int) -> None:
        self._m = m
        self._waiting: list[NDArray[np.uint64]] = []
        self._count = 0
        self._limit = np.uint64(2**64 - 1)

    def add(self, scores: NDArray[np.float32], ranks: NDArray[np.uint64]) -> None:
        bits = (scores + np.float32(0)).view(np.uint32)  # -0 becomes 0
        # Floats order like their bits, negative ones the other way round; turned over, the highest comes first.
        descending = np.where(bits >> 31, bits, ~bits & np.uint32(0x7FFFFFFF))
        packed = descending.astype(np.uint64) << np.uint64(32) | ranks
        packed = packed[packed < self._limit]
        self._waiting.append(packed)
        self._count += len(packed)
        if self._count >= 2 * self._m + len(scores):
            self._shrink()

    def _shrink(self) -> None:
        packed = np.concatenate(self._waiting)
        if len(packed) > self._m:
            packed = np.partition(packed, self._m - 1)[: self._m]
            self._limit = packed.max() + np.uint64(1)
        self._waiting, self._count = [packed], len(packed)

    def sorted(self) -> NDArray[np.int64]:
        """Ranks of the keys of the best, best first."""
        if not self._waiting:
            return np.empty(0, np.int64)
        self._shrink()
        return (np.sort(self._waiting[0]) & np.uint64(0xFFFFFFFF)).astype(np.int64)
