"""Which rows of a pool repeat an earlier one: exactly, or nearly by MinHash.

Both are asked in the order of the pool, a block of rows at a time, so of several alike the first is kept.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_NEW = 1 << 16


class Exact:
    """Digests of 16 bytes, each told whether it is new.

    Memory is 16 bytes a digest, three times that while two halves are merged: sorted arrays whose sizes double, and a
    set for the newest. A block of 1024 costs a search in each of the about log2(rows / 65536) arrays, 3 µs a row.
    """

    def __init__(self) -> None:
        """Nothing has been seen."""
        self._sorted: list[NDArray[np.bytes_]] = []
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
            self._merge()
        return result

    def _merge(self) -> None:
        merged = np.sort(np.array(list(self._new), "S16"))
        self._new.clear()
        while self._sorted and len(self._sorted[-1]) <= len(merged):
            merged = np.concatenate([self._sorted.pop(), merged])
            merged.sort(kind="stable")
        self._sorted.append(merged)


class Near:
    """Rows with much text in common: MinHash of runs of three words (Broder 1997), found by banded LSH, by `rensa`.

    Two rows are near duplicates when the Jaccard similarity of their runs, estimated from 128 hash values, is at least
    the threshold; the bands are chosen so that at least 9 of 10 such pairs at the threshold itself are found, and more
    above it. Memory is about 1.2 KB for each row that is new.

    Args:
        threshold: Similarity from which on rows are near duplicates.
    """

    def __init__(self, threshold: float) -> None:  # noqa: D107
        from rensa import RMinHashDeduplicator

        values = 128
        bands = next(b for b in (8, 16, 32, 64, 128) if 1 - (1 - threshold ** (values // b)) ** b >= 0.9 or b == values)
        self._index = RMinHashDeduplicator(threshold, values, use_lsh=True, num_bands=bands, seed=1)
        self._count = 0

    def first(self, rows: Sequence[Sequence[str]]) -> list[bool]:
        """For each row's words whether no earlier row is nearly the same; one that is repeats nothing later."""
        start = self._count
        self._count += len(rows)
        runs = [list(map(" ".join, zip(w, w[1:], w[2:], strict=False))) or [" ".join(w)] for w in rows]
        return list(self._index.add_pairs([(str(start + i), run) for i, run in enumerate(runs)]))
