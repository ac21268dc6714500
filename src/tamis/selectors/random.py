"""Chance, the baseline that every method must beat."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tamis.selectors.base import Reads, Selector
from tamis.selectors.candidates import Candidates
from tamis.selectors.order import first, shuffled


class Random(Selector):
    """Rows drawn without replacement, each with the same chance.

    A row's lot is a hash of its id and the seed, so the same rows are drawn whatever their order in the pool, and a
    larger budget draws the same rows and more.
    """

    paper: ClassVar[str] = "none; the baseline"
    reads: ClassVar[Reads] = "nothing"
    unchosen: ClassVar[str] = "not drawn"

    def select(self, candidates: Candidates, k: int, seed: int) -> NDArray[np.int64]:
        """The k smallest lots."""
        rows = np.flatnonzero(candidates.eligible)
        keys = candidates.keys[rows]
        return rows[first(shuffled(keys, seed), keys.__getitem__, k)]


class BalancedRandom(Selector):
    """The sources take turns at drawing one of their rows; a source that has none left is skipped.

    The stronger of the two random baselines of Ivison et al. 2025, arXiv 2503.01807, which many published methods do
    not beat at scale. The sources take their turns in the order of their names.
    """

    paper: ClassVar[str] = "Ivison et al. 2025, arXiv 2503.01807"
    reads: ClassVar[Reads] = "nothing"
    unchosen: ClassVar[str] = "not drawn"

    def select(self, candidates: Candidates, k: int, seed: int) -> NDArray[np.int64]:
        """The first k turns."""
        rows = np.flatnonzero(candidates.eligible)
        codes, names = candidates.sources
        turn_of = np.argsort(np.argsort(names))  # codes are numbered as met, turns go by name
        turns = turn_of[codes[rows]] if len(rows) else codes[rows]
        order = np.lexsort((shuffled(candidates.keys[rows], seed), turns))
        sizes = np.bincount(turns, minlength=len(names))
        round_of = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return rows[order[np.lexsort((turns[order], round_of))][:k]]
