"""k-center: rows such that none of the pool is far from the nearest chosen one."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tamis.selectors.base import Reads, Selector
from tamis.selectors.candidates import Candidates
from tamis.selectors.parts import PartSettings, choose_by_parts


class KCenter(Selector):
    """In each step the row that is farthest from all chosen ones, by the cosine of a list column of vectors.

    Sener & Savarese 2018, arXiv 1708.00489. Starts with the row nearest to the mean. The largest distance that is left
    is at most twice the smallest possible one (Gonzalez 1985). Outliers come early: filter them first. Exact up to
    `part_rows` rows, then in parts (`tamis.selectors.parts`). Costs for each row a cosine to each row that is chosen
    from its part.
    """

    class Settings(PartSettings):
        """Settings of `k-center`."""

    paper: ClassVar[str] = "Sener & Savarese 2018, arXiv 1708.00489"
    reads: ClassVar[Reads] = "list"
    unchosen: ClassVar[str] = "not among the {k} centres by {column}"

    def select(self, candidates: Candidates, k: int, seed: int) -> NDArray[np.int64]:
        """Rows in order of their distance to those before them."""
        return choose_by_parts(candidates, k, seed, self.settings.part_rows, centres)


def centres(
    vectors: NDArray[np.float32], weights: NDArray[np.float64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Farthest-first traversal, exact; of equally far rows the first.

    Args:
        vectors: Unit vectors, n x width.
        weights: How much each row counts in the mean.
        k: How many to choose, n at most.

    Returns:
        The chosen rows in order, and how far each was from those before it (the first infinitely).
    """
    best = int(np.argmax(vectors @ (weights @ vectors).astype(np.float32)))
    nearest = np.full(len(vectors), -np.inf, np.float32)
    chosen, distances = np.empty(k, np.int64), np.empty(k)
    for step in range(k):
        chosen[step], distances[step] = best, 1 - nearest[best]
        np.maximum(nearest, vectors @ vectors[best], out=nearest)
        nearest[best] = np.inf
        best = int(np.argmin(nearest))
    return chosen, distances
