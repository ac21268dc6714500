"""Data efficiency predicted from one number that is cheap to measure: a line, with its coefficients by model family."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tamis.errors import UserError

LOWEST, HIGHEST = 0.01, 0.99


@dataclass(frozen=True)
class Coefficients:
    """efficiency = slope x cosine + intercept."""

    slope: float
    intercept: float


COEFFICIENTS: Mapping[str, Coefficients] = {
    "default": Coefficients(0.54, 0.31),
    "llama-3.1-8b": Coefficients(0.545, 0.310),
    "mistral-7b": Coefficients(0.797, 0.357),
    "qwen2.5-14b": Coefficients(0.526, 0.305),
}
"""Those of arXiv 2512.24991 for instruct models (Mistral: v0.3), each fitted on 30 to 40 tasks; `default` is what the
authors' example uses. For any other model they are borrowed: fit your own with `fit_coefficients`."""


def predict_efficiency(cosine: float, coefficients: Coefficients = COEFFICIENTS["default"]) -> float:
    """Data efficiency of a task from its CoS-Low, kept within 0.01 to 0.99 (Mistral's line leaves 0 to 1)."""
    return float(np.clip(coefficients.slope * cosine + coefficients.intercept, LOWEST, HIGHEST))


@dataclass(frozen=True)
class Measurement:
    """What was measured of one task: its CoS-Low and its data efficiency."""

    task: str
    cosine: float
    efficiency: float


@dataclass(frozen=True)
class Fit:
    """Fitted coefficients.

    Attributes:
        coefficients: Least squares over all tasks.
        errors: By task, the absolute error of a line fitted on all the others.
        error: The mean of these.
        spread: Standard deviation of slope and intercept over those lines, each with one task left out.
    """

    coefficients: Coefficients
    errors: Mapping[str, float]
    error: float
    spread: Coefficients


def fit_coefficients(measured: Sequence[Measurement]) -> Fit:
    """Fits a line to measured tasks, and says how wrong it is for a task that it has not seen.

    A task may have several measurements (of several seeds); they are left out together.

    Raises:
        UserError: Fewer than three tasks, cosines that do not differ, or a number that is none.
    """
    tasks = list(dict.fromkeys(m.task for m in measured))
    if len(tasks) < 3:
        raise UserError(f"a line and its error need at least 3 measured tasks; there are {len(tasks)}")
    for m in measured:
        if not (np.isfinite(m.cosine) and np.isfinite(m.efficiency)):
            raise UserError(f"task '{m.task}': cosine {m.cosine} and efficiency {m.efficiency} must be numbers")
    errors, lines = {}, []
    for task in tasks:
        line = _line([m for m in measured if m.task != task])
        own = [m for m in measured if m.task == task]
        lines.append(line)
        errors[task] = float(np.mean([abs(predict_efficiency(m.cosine, line) - m.efficiency) for m in own]))
    spread = Coefficients(float(np.std([x.slope for x in lines])), float(np.std([x.intercept for x in lines])))
    return Fit(_line(measured), errors, float(np.mean(list(errors.values()))), spread)


def _line(measured: Sequence[Measurement]) -> Coefficients:
    x = np.array([m.cosine for m in measured])
    y = np.array([m.efficiency for m in measured])
    if np.ptp(x) == 0:
        raise UserError("the measured tasks all have the same cosine; no line goes through them")
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    return Coefficients(float(slope), float(y.mean() - slope * x.mean()))
