"""Which rows of a pool repeat an earlier one: exactly, or nearly by MinHash.

Both are asked in the order of the pool, a block of rows at a time, so of several alike the first is kept. What they
remember are plain numbers in sorted arrays that double in size as they are merged, so that a look-up is a search in
about log2(rows) - 16 arrays and memory is what the numbers take: tables of Python or of an LSH library take five to
ten times as much.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NEW = 1 << 16
_VALUES = 128
_CANDIDATES = 50
_ROW_BITS = np.uint64(30)
_ROWS = np.uint64((1 << 30) - 1)


class Exact:
    """Digests of 16 bytes, each told whether it is new. Memory 16 bytes a digest, time 3 µs."""

    def __init__(self) -> None:
        """Nothing has been seen."""
        self._sorted: list[NDArray[Any]] = []
        self._new: set[bytes] = set()

    def first(self, digests: Sequence[bytes]) -> list[bool]:
        """For each digest whether it was in no earlier block and nowhere before in this one; then it is known."""
        asked = np.array(digests, "S16")
        known = np.zeros(len(asked), bool)
        for old in self._sorted:
            known |= old[np.searchsorted(old, asked).clip(max=len(old) - 1)] == asked
        result = []
        for digest, was in zip(digests, known.tolist(), strict=True):
            result.append(not was and digest not in self._new)
            if result[-1]:
                self._new.add(digest)
        if len(self._new) >= _NEW:
            _merge(self._sorted, np.array(list(self._new), "S16"))
            self._new.clear()
        return result


class Near:
    """Rows with much text in common, by MinHash of runs of three words and banded look-up (Broder 1997).

    Two rows are near duplicates when the Jaccard similarity of their runs, estimated from 128 hash values to about
    ±0.04, is at least the threshold. Pairs are found when all values of a band agree, and the bands are chosen so that
    at least 9 of 10 pairs at the threshold are found, more above it. Of rows that share a band a row is compared with
    the first 50, so the time stays linear where a template makes all rows somewhat alike. `rensa` makes the hash
    values; of each the lowest 8 bits are kept to compare (b-bit MinHash, Li and König 2010).

    Memory is 128 bytes and 8 a band for each new row: 256 at the usual threshold. Time is about 40 µs a row.

    Args:
        threshold: Similarity from which on rows are near duplicates.
    """

    def __init__(self, threshold: float) -> None:  # noqa: D107
        choices = (8, 16, 32, 64, 128)
        found = [1 - (1 - threshold ** (_VALUES // bands)) ** bands for bands in choices]
        self._bands = next((b for b, share in zip(choices, found, strict=True) if share >= 0.9), choices[-1])
        self._least = (threshold + (1 - threshold) / 256) * _VALUES  # two different values agree in 1 of 256 cases
        self._keys: list[NDArray[Any]] = []  # sorted; the hash of a band in the upper bits, the row in the lower
        self._values = np.empty((0, _VALUES), np.uint8)
        self._count = 0

    def first(self, rows: Sequence[Sequence[str]]) -> list[bool]:
        """For each row's words whether no earlier row is nearly the same; one that is repeats nothing later."""
        from rensa import RMinHash

        if not rows:
            return []
        runs = [list(map(" ".join, zip(w, w[1:], w[2:], strict=False))) or [" ".join(w)] for w in rows]
        made = RMinHash.digest_matrix_from_token_sets(runs, num_perm=_VALUES, seed=1).to_rows()
        values = np.array(made, np.uint32)
        low, bands = values.astype(np.uint8), self._hashes(values)
        known = np.zeros(len(rows), bool)
        order = np.argsort(bands, axis=None, kind="stable")  # what is searched for in order is found in less time
        asked, askers = bands.ravel()[order], order // self._bands
        for old in self._keys:
            asking, there = _pairs(asked, askers, old)
            known[asking[self._alike(low[asking], self._values[there])]] = True
        asking, there = _pairs(asked, askers, asked | askers.astype(np.uint64))
        asking, there = asking[there < asking], there[there < asking]
        alike = self._alike(low[asking], low[there])
        for row, earlier in sorted(zip(asking[alike].tolist(), there[alike].tolist(), strict=True)):
            known[row] |= not known[earlier]  # earlier ones are settled by now
        self._remember(bands[~known], low[~known])
        return (~known).tolist()

    def _hashes(self, values: NDArray[np.uint32]) -> NDArray[np.uint64]:
        """For each row and band a hash in the upper 34 bits, which also says which band it is."""
        parts = values.reshape(len(values), self._bands, -1).astype(np.uint64)
        mixed = np.full(parts.shape[:2], 0x9E3779B97F4A7C15, np.uint64) * np.arange(1, self._bands + 1, dtype=np.uint64)
        for i in range(parts.shape[2]):
            mixed = (mixed ^ parts[:, :, i]) * np.uint64(0xD6E8FEB86659FD93)
            mixed ^= mixed >> np.uint64(32)
        return mixed & ~_ROWS

    def _alike(self, one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.bool_]:
        alike: NDArray[np.bool_] = (one == other).sum(axis=1) >= self._least
        return alike

    def _remember(self, bands: NDArray[np.uint64], low: NDArray[np.uint8]) -> None:
        number = np.arange(self._count, self._count + len(low), dtype=np.uint64)
        if len(low):
            _merge(self._keys, (bands | number[:, None]).ravel())
        if self._count + len(low) > len(self._values):
            self._values.resize((max(_NEW, (self._count + len(low)) * 5 // 4), _VALUES), refcheck=False)
        self._values[self._count : self._count + len(low)] = low
        self._count += len(low)


def _pairs(
    asked: NDArray[np.uint64], askers: NDArray[np.int64], keys: NDArray[np.uint64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows that ask, and rows among the keys that share a band with them; at most 50 a band."""
    start = np.searchsorted(keys, asked)
    hit = np.flatnonzero(keys[start.clip(max=len(keys) - 1)] >> _ROW_BITS == asked >> _ROW_BITS)
    start, askers = start[hit], askers[hit]
    number = (np.searchsorted(keys, asked[hit] | _ROWS, side="right") - start).clip(max=_CANDIDATES)
    place = np.repeat(start - np.cumsum(number) + number, number) + np.arange(number.sum())
    pairs = np.unique(np.stack([np.repeat(askers, number), (keys[place] & _ROWS).astype(np.int64)]), axis=1)
    return pairs[0], pairs[1]


def _merge(levels: list[NDArray[Any]], new: NDArray[Any]) -> None:
    """Adds to sorted arrays, each at least twice as long as the next, so there are few of them."""
    while levels and len(levels[-1]) < 2 * len(new):
        new = np.concatenate([levels.pop(), new])
    new.sort(kind="stable")
    levels.append(new)
