"""Choices along the order of one column: its end, its middle, or one side of a threshold."""

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from tamis import settings
from tamis.selectors.base import Selector
from tamis.selectors.candidates import Candidates
from tamis.selectors.order import first


def _ends(candidates: Candidates, rows: NDArray[np.int64], order: str, k: int) -> NDArray[np.int64]:
    """One end of a single order, so that the two ends never share a row while there are enough."""
    values = candidates.values[rows]
    if order == "highest":
        return rows[first(-values, lambda at: candidates.keys_of(rows[at]), k)]
    return rows[first(values, lambda at: ~candidates.keys_of(rows[at]), k)]


class Top(Selector):
    """The rows with the highest (or lowest) values."""

    class Settings(settings.Settings):
        """Settings of `top`."""

        order: Literal["highest", "lowest"] = "highest"
        """Which end of the column."""

    paper: ClassVar[str] = "none; every ranking method"

    def select(self, candidates: Candidates, k: int, seed: int) -> NDArray[np.int64]:
        """The k highest or lowest."""
        return _ends(candidates, np.flatnonzero(candidates.eligible), self.settings.order, k)


class Threshold(Selector):
    """The rows on one side of a threshold or between two; if these are more than k, the highest (or lowest) k."""

    class Settings(settings.Settings):
        """Settings of `threshold`."""

        at_least: float | None = None
        """Lowest value that is chosen."""
        at_most: float | None = None
        """Highest value that is chosen."""
        order: Literal["highest", "lowest"] = "highest"
        """Which come first."""

        @model_validator(mode="after")
        def _some(self) -> "Threshold.Settings":
            if self.at_least is None and self.at_most is None:
                raise ValueError("a threshold needs at_least, at_most or both")
            return self

    paper: ClassVar[str] = "none; AlpaGasus (Chen et al. 2024, arXiv 2307.08701) keeps ratings of at least 4.5"
    unchosen: ClassVar[str] = "outside the threshold of {column}, or not among the {k} best of it"

    def select(self, candidates: Candidates, k: int, seed: int) -> NDArray[np.int64]:
        """The first k of those inside; both bounds belong to it."""
        inside = candidates.eligible.copy()
        if self.settings.at_least is not None:
            inside &= candidates.values >= self.settings.at_least
        if self.settings.at_most is not None:
            inside &= candidates.values <= self.settings.at_most
        return _ends(candidates, np.flatnonzero(inside), self.settings.order, k)


class Middle(Selector):
    """k rows in descending order, starting one third of the way down.

    The "mid" baseline of Ivison et al. 2025, arXiv 2503.01807: the slice starts at a third and is not centred on the
    median. Where fewer than k rows follow, it starts higher, so that k rows are chosen if there are k.
    """

    paper: ClassVar[str] = "Ivison et al. 2025, arXiv 2503.01807"
    unchosen: ClassVar[str] = "not among the middle {k} by {column}"

    def select(self, candidates: Candidates, k: int, seed: int) -> NDArray[np.int64]:
        """The slice."""
        rows = np.flatnonzero(candidates.eligible)
        start = max(0, min(len(rows) // 3, len(rows) - k))
        return _ends(candidates, rows, "highest", start + k)[start:] if k else rows[:0]
