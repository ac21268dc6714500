"""Sampling in proportion to weights, as DSIR does."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tamis.selectors.base import Selector
from tamis.selectors.candidates import Candidates
from tamis.selectors.order import first, shuffled


class GumbelTopK(Selector):
    """Rows drawn without replacement in proportion to the exponential of their column, a log weight.

    Xie et al. 2023 (DSIR), arXiv 2302.03169: the k highest of log weight plus Gumbel noise. The noise is a hash of the
    row's id and the seed, so a row's chance does not depend on where it stands. Equal weights draw uniformly.
    """

    paper: ClassVar[str] = "Xie et al. 2023, arXiv 2302.03169"
    unchosen: ClassVar[str] = "not among the {k} drawn by {column}"

    def select(self, candidates: Candidates, k: int, seed: int) -> NDArray[np.int64]:
        """The k highest after noise."""
        rows = np.flatnonzero(candidates.eligible)
        keys = candidates.keys[rows]
        # The upper 53 bits as a number strictly between 0 and 1; another stream than that of the random arm.
        uniform = ((shuffled(keys, seed, stream=1) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        return rows[first(np.log(-np.log(uniform)) - candidates.values[rows], keys.__getitem__, k)]
