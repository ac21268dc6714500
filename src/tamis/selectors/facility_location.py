"""Facility location: rows that together stand for the whole pool.

Ours and not a library's: submodlib 0.0.3 (2025) and apricot 0.6.1 (2021) hold the similarities of all pairs, which is
160 GB for 200,000 rows; and to choose 600 of 6,000 rows (all three choose the same) they need 11 CPU-seconds each,
apricot's compilation included, where this needs about 1.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tamis.selectors.base import Reads, Selector
from tamis.selectors.candidates import Candidates
from tamis.selectors.parts import PartSettings, choose_by_parts

BLOCK = 256
Chosen = tuple[NDArray[np.int64], NDArray[np.float64]]


class FacilityLocation(Selector):
    """The rows to which all rows of the pool are most similar: greedy choice of the largest gain in coverage.

    Coverage is the sum over all rows of the similarity to the nearest chosen row: the cosine of a list column of
    vectors, where a negative one counts as 0. Greedy choice reaches 63 % of the best at least (Nemhauser et al. 1978).
    Superfiltering's diverse variant (Li et al. 2024, arXiv 2402.00530) and DELIFT (Agarwal et al. 2025, arXiv
    2411.04425) select so. Exact up to `part_rows` rows, then in parts (`tamis.selectors.parts`). Takes 4 x part_rows
    squared bytes, 268 MB.
    """

    class Settings(PartSettings):
        """Settings of `facility-location`."""

    paper: ClassVar[str] = "Nemhauser et al. 1978; Li et al. 2024, arXiv 2402.00530"
    reads: ClassVar[Reads] = "list"
    unchosen: ClassVar[str] = "not among the {k} that cover most by {column}"

    def select(self, candidates: Candidates, k: int, seed: int) -> NDArray[np.int64]:
        """Rows in order of gain."""
        return choose_by_parts(candidates, k, seed, self.settings.part_rows, _greedy)


def _greedy(vectors: NDArray[np.float32], weights: NDArray[np.float64], k: int) -> Chosen:
    similarity: NDArray[np.float32] = vectors @ vectors.T
    return cover(np.maximum(similarity, 0, out=similarity), weights, k)


def cover(similarity: NDArray[np.float32], weights: NDArray[np.float64], k: int) -> Chosen:
    """Greedy facility location, exact: in each step the row with the largest gain, of equal ones the first.

    All gains are kept up to date instead of being asked for lazily: a step changes them only through the rows whose
    nearest chosen row changes, and these are about n ln k over the whole run.

    Args:
        similarity: How well each row stands for each other, n x n, symmetric, not negative.
        weights: How much each row counts.
        k: How many to choose, n at most.

    Returns:
        The chosen rows in order, and the gain of each.
    """
    nearest = np.zeros(len(similarity), np.float32)
    gains = np.zeros(len(similarity))
    for low in range(0, len(similarity), BLOCK):
        gains += weights[low : low + BLOCK] @ similarity[low : low + BLOCK].astype(np.float64)
    chosen, gained = np.empty(k, np.int64), np.empty(k)
    for step in range(k):
        best = int(np.argmax(gains))
        chosen[step], gained[step] = best, gains[best]
        nearer = np.flatnonzero(similarity[best] > nearest)
        for low in range(0, len(nearer), BLOCK):
            some = nearer[low : low + BLOCK]
            before, after = nearest[some], similarity[best, some]
            # What another row would have added to these before, less what it would add now.
            lost = np.clip(similarity[some], before[:, None], after[:, None]) - before[:, None]
            gains -= weights[some] @ lost.astype(np.float64)
        nearest[nearer] = similarity[best, nearer]
        gains[best] = -np.inf
    return chosen, gained
