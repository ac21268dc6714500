"""Is an arm better than random? A paired bootstrap over what every arm was asked.

Every arm answers the same held-out rows, so arms are compared row by row: a resample draws rows, the same for all arms,
and, where there are several random arms, draws among these too, so that the luck of the draw is in the interval. The
luck of an arm's own training is not: an arm is trained once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 4000
LEVEL = 0.95
_BLOCK = 100

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Measured:
    """What one arm scored on each item: a total and its weight; the figure is sum of totals by sum of weights.

    Attributes:
        totals: Such as a row's negative log-likelihood in nats, or 1 for a right answer; float64 [items].
        weights: Such as a row's tokens, or 1; float64 [items].
    """

    totals: Values
    weights: Values


def _interval(draws: Values, value: float) -> Estimate:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high))


def _figure(arm: Measured) -> float:
    return float(arm.totals.sum() / arm.weights.sum())


def _draws(arms: Sequence[Measured], seed: int) -> Values:
    """Figures of some arms on the same resamples of their items; [arms, resamples]."""
    random = np.random.default_rng(seed)
    items = len(arms[0].totals)
    figures = []
    for _ in range(0, RESAMPLES, _BLOCK):  # in blocks, so that many items need little memory
        picks = random.integers(0, items, (_BLOCK, items))
        figures.append([arm.totals[picks].sum(axis=1) / arm.weights[picks].sum(axis=1) for arm in arms])
    return np.concatenate(figures, axis=1)


def estimate(arm: Measured, seed: int = 0) -> Estimate:
    """An arm's own figure; its interval comes from the items alone.

    Args:
        arm: What it scored; at least one item.
        seed: Of the resampling.
    """
    return _interval(_draws([arm], seed)[0], _figure(arm))


def against(arm: Measured, others: Sequence[Measured], seed: int = 0) -> Estimate:
    """The arm's figure minus the mean figure of the other arms, on the same items in the same order.

    Args:
        arm: What the arm scored.
        others: What the random arms scored, at least one.
        seed: Of the resampling.

    Raises:
        ValueError: The arms do not have the same items.
    """
    if any(len(other.totals) != len(arm.totals) for other in others):
        raise ValueError("arms can only be compared on the same items")
    own, *drawn = _draws([arm, *others], seed)
    which = np.random.default_rng(seed + 1).integers(0, len(others), (RESAMPLES, len(others)))
    reference = np.stack(drawn)[which, np.arange(RESAMPLES)[:, None]].mean(axis=1)
    value = _figure(arm) - float(np.mean([_figure(other) for other in others]))
    return _interval(own - reference, value)


def verdict(difference: Estimate, lower_is_better: bool) -> str:
    """`better`, `worse`, or `not better` where the interval holds 0."""
    low, high = (difference.low, difference.high) if lower_is_better else (-difference.high, -difference.low)
    return "better" if high < 0 else "worse" if low > 0 else "not better"
