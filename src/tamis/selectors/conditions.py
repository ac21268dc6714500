"""Conditions on score columns, such as `ifd < 1 and rds >= 0.2`."""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import UserError

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}
_PART = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=|>=|==|<|>)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")


@dataclass(frozen=True)
class Condition:
    """One comparison of a column with a number."""

    column: str
    sign: str
    number: float

    def holds(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Where it holds; never where a value is NaN."""
        result: NDArray[np.bool_] = _COMPARE[self.sign](values, self.number)
        return result

    def __str__(self) -> str:
        """As a person would write it."""
        return f"{self.column} {self.sign} {self.number:g}"


def parse_condition(text: str) -> list[Condition]:
    """Reads comparisons joined by `and`; all must hold. An empty text holds for every row.

    Raises:
        UserError: It is no such comparison.
    """
    conditions = []
    for part in re.split(r"\band\b", text) if text.strip() else []:
        match = _PART.fullmatch(part)
        if not match:
            raise UserError(
                f"condition '{text}': '{part.strip()}' is not a comparison; write a column, one of "
                f"{' '.join(_COMPARE)} and a number, and join several by 'and'"
            )
        conditions.append(Condition(match[1], match[2], float(match[3])))
    return conditions
