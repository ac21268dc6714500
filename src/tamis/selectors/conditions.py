"""Conditions on score columns, such as `ifd < 1 and rds >= 0.2` or `ifd < 1 and ifd top 20%`."""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import UserError
from tamis.selectors.order import KeyOf, first

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}
_PART = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=|>=|==|<|>)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")

_HIGHEST = re.compile(r"\s*([A-Za-z_]\w*)\s+top\s+(\d+(?:\.\d+)?)\s*(%?)\s*")


@dataclass(frozen=True)
class Condition:
    """One comparison of a column with a number."""

    column: str
    sign: str
    number: float

    def holds(self, values: NDArray[np.float64], among: NDArray[np.bool_], key_of: KeyOf) -> NDArray[np.bool_]:
        """Where it holds among some rows; never where a value is NaN."""
        result: NDArray[np.bool_] = among & _COMPARE[self.sign](values, self.number)
        return result

    def __str__(self) -> str:
        """As a person would write it."""
        return f"{self.column} {self.sign} {self.number:g}"


@dataclass(frozen=True)
class Highest:
    """The rows with the highest values of a column, of those that the conditions before it leave.

    Attributes:
        column: The column.
        number: How many: rows, or percent of all rows of the pool.
        percent: Which of both.
    """

    column: str
    number: float
    percent: bool

    def holds(self, values: NDArray[np.float64], among: NDArray[np.bool_], key_of: KeyOf) -> NDArray[np.bool_]:
        """Where it holds among some rows, equal values by key; their values must be finite."""
        rows = np.flatnonzero(among)
        wanted = int(len(values) * self.number / 100 + 0.5) if self.percent else int(self.number)
        result = np.zeros(len(values), bool)
        result[rows[first(-values[rows], lambda at: key_of(rows[at]), wanted)]] = True
        return result

    def __str__(self) -> str:
        """As a person would write it."""
        return f"{self.column} top {self.number:g}{'%' if self.percent else ''}"


def parse_condition(text: str) -> list[Condition | Highest]:
    """Reads conditions joined by `and`; all must hold, each among what those before it leave. Empty, every row does.

    Raises:
        UserError: It is no such condition.
    """
    conditions: list[Condition | Highest] = []
    for part in re.split(r"\band\b", text) if text.strip() else []:
        highest = _HIGHEST.fullmatch(part)
        if highest:
            conditions.append(Highest(highest[1], float(highest[2]), highest[3] == "%"))
            continue
        match = _PART.fullmatch(part)
        if not match:
            raise UserError(
                f"condition '{text}': '{part.strip()}' is not a comparison; write a column, one of "
                f"{' '.join(_COMPARE)} and a number (or top 20%), and join several by 'and'"
            )
        conditions.append(Condition(match[1], match[2], float(match[3])))
    return conditions
