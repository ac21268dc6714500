"""Data efficiency of a task, and the learning curve that it stands for.

Je & Raffel 2025, "Data efficiency", arXiv 2512.24991: the area under a task's performance against the logarithm of its
training rows, both scaled to 0 to 1, up to 5,000 rows. A curve f(n) = n^p with n = log(rows) / log(5000) has the area
1 / (1 + p), so an area alone gives a curve, and a curve gives the rows for a share of the performance in reach.
"""

import math
from collections.abc import Mapping, Sequence

from tamis.errors import UserError

LARGEST = 5000
"""Rows at which a task counts as learned."""
BUDGETS = (0, 50, 100, 200, 500, 1000, 2500, LARGEST)
"""The numbers of rows at which the authors measure."""


def data_efficiency(curve: Mapping[int, float], human: float | None = None) -> float:
    """Area under a measured curve: near 1 where few rows are enough, near 0 where even many help little.

    As the authors' code has it (their text writes a mean over budgets): fewer than 50 rows but more than none are left
    out; a missing one of `BUDGETS` counts as performance 0 before the running maximum, so as no progress since the last
    one; performance is scaled from the lowest to the best or human one; the trapezoids stand over log2(max(rows, 1)) /
    log2(5000).

    Args:
        curve: Performance by number of training rows, higher is better; without the untuned model at 0 rows, that
            counts as 0.
        human: Performance of people, where it is known; the curve is then scaled to it if it is above all of its own.

    Returns:
        The area, 0 to 1; NaN for a curve that never rises, of which nothing can be said.

    Raises:
        UserError: An empty curve, a number of rows below 0 or above 5,000, or a performance that is no number.
    """
    if not curve:
        raise UserError("data efficiency: the curve is empty")
    for rows, performance in curve.items():
        if not 0 <= rows <= LARGEST:
            raise UserError(f"data efficiency: {rows} rows; it is defined from 0 to {LARGEST}")
        if not math.isfinite(performance):
            raise UserError(f"data efficiency: the performance at {rows} rows is {performance}")
    filled = {rows: 0.0 for rows in BUDGETS} | {n: p for n, p in curve.items() if n == 0 or n >= BUDGETS[1]}
    best = -math.inf
    points: list[tuple[float, float]] = []
    for rows in sorted(filled):
        best = max(best, filled[rows])
        points.append((_place(rows), best))
    lowest = points[0][1]
    highest = max(best, -math.inf if human is None else human)
    if highest <= lowest:
        return math.nan
    area = sum((x2 - x1) * (y1 + y2) / 2 for (x1, y1), (x2, y2) in zip(points, points[1:], strict=False))
    return (area - lowest) / (highest - lowest)


def _place(rows: float) -> float:
    """Where so many rows stand between 0 and 1."""
    return math.log2(max(rows, 1)) / math.log2(LARGEST)


def exponent(efficiency: float) -> float:
    """The p of the curve n^p that has this area: (1 - efficiency) / efficiency.

    Raises:
        UserError: An efficiency that is not between 0 and 1.
    """
    if not 0 < efficiency < 1:
        raise UserError(f"data efficiency is between 0 and 1, not {efficiency:g}")
    return (1 - efficiency) / efficiency


def share_at(rows: float, efficiency: float) -> float:
    """Share of the gain from no rows to 5,000 that so many rows bring; 1 for more."""
    return float(min(1.0, _place(rows)) ** exponent(efficiency))


def rows_for(share: float, efficiency: float) -> int:
    """Rows that bring a share of the gain that 5,000 rows would bring: 2^(share^(1/p) log2 5000), rounded.

    Raises:
        UserError: A share that is not above 0 and at most 1, or an efficiency that is not between 0 and 1.
    """
    if not 0 < share <= 1:
        raise UserError(f"the share of the attainable performance is above 0 and at most 1, not {share:g}")
    return round(math.exp2(share ** (1 / exponent(efficiency)) * math.log2(LARGEST)))


def learning_curve(efficiency: float, budgets: Sequence[int] = BUDGETS) -> dict[int, float]:
    """Share of the gain by number of rows, see `share_at`."""
    return {rows: share_at(rows, efficiency) for rows in budgets}
