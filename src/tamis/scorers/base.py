"""The contract of a scoring method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tamis import settings
from tamis.lm.observations import Observation
from tamis.pool.rows import Row

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[Any]
State = dict[str, Array]
"""What a scorer learned in `fit`: named arrays, saved as safetensors and reused."""


NEEDS = {
    "target": "target rows",
    "sample": "a sample of the pool",
    "gradients": "gradients",
    "generation": "generation",
}
"""What a method can need, in words."""


@dataclass(frozen=True)
class Selection:
    """How a method's scores become a selection unless the run says otherwise.

    Attributes:
        selector: A selector's name.
        column: The score column that it reads.
        keep: A condition on a column that a row must meet first, such as `ifd < 1`.
        settings: The selector's settings.
    """

    selector: str
    column: str
    keep: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)


class Observer(Protocol):
    """Observes some rows at once; what `fit` is given."""

    def observe(self, rows: Sequence[Row], wants: Mapping[str, Observation]) -> dict[str, Array]:
        """Observations by name, in the order of the rows."""
        ...


class Scorer:
    """A scoring method.

    A subclass declares what it observes and turns observations into columns, row by row: `score` is called with any
    number of rows and must not look at one row to score another. It opens no file and loads no model.
    `tamis.testing` tests a scorer for all of this.

    Attributes:
        Settings: The method's own settings, a subclass of `tamis.settings.Settings`.
        paper: Where the method is published, with its arXiv number.
        cost: Forward passes a row, in words.
        columns: What `score` returns, by column name; every name begins with the method's own.
        lists: For a list column, what its entries stand for: each row of the target, or each of its tasks in order.
        needs: What a run must bring, `target` (rows of the wanted capability) or `sample` (rows of the pool for `fit`),
            and what the model does beyond forward passes, `gradients` or `generation`.
        version: Raised whenever the same input would give other scores.
    """

    class Settings(settings.Settings):
        """No settings."""

    paper: ClassVar[str] = ""
    cost: ClassVar[str] = ""
    columns: ClassVar[Mapping[str, str]] = {}
    lists: ClassVar[Mapping[str, Literal["rows", "tasks"]]] = {}
    needs: ClassVar[frozenset[str]] = frozenset()
    version: ClassVar[int] = 1

    def __init__(self, settings: Any) -> None:  # noqa: D107
        self.settings = settings

    @property
    def observes(self) -> Mapping[str, Observation]:
        """What `score` sees, by the names under which it sees it."""
        raise NotImplementedError

    def observing(self, state: State) -> Mapping[str, Observation]:
        """What `score` sees after `fit`; `observes`, unless that depends on what was learned."""
        return self.observes

    def fit(self, engine: Observer, target: Sequence[Row], sample: Sequence[Row]) -> State:
        """Learns from the target, or from a sample of the pool, what `score` needs to know.

        Args:
            engine: Observes rows.
            target: Rows of the wanted capability, their task in `source`; empty unless `needs` names it.
            sample: Rows of the pool; empty unless `needs` names it.
        """
        return {}

    def measured(self, state: State) -> "pa.Table | None":
        """What `fit` measured of single rows, for people: kept as a table beside the state."""
        return None

    def score(self, seen: Mapping[str, Array], state: State) -> dict[str, Array]:
        """Columns for some rows; NaN where a row has no score.

        Args:
            seen: The observations, each with one entry a row on its first axis.
            state: What `fit` returned.
        """
        raise NotImplementedError

    @property
    def selection(self) -> Selection:
        """How the method selects by default; what its paper does."""
        raise NotImplementedError

    @classmethod
    def verify(cls, name: str) -> str | None:
        """What is wrong with this class as a plugin of that name, in words."""
        prefix = name.replace("-", "_")
        if not cls.columns:
            return "it declares no columns"
        wrong = [c for c in cls.columns if c != prefix and not c.startswith(prefix + "_")]
        if wrong:
            return f"its columns {wrong} must be named {prefix} or begin with {prefix}_"
        if set(cls.lists) - set(cls.columns):
            return f"its lists {sorted(cls.lists)} are not all among its columns"
        if cls.needs - set(NEEDS):
            return f"it needs {sorted(cls.needs)}; a method can need {', '.join(NEEDS)}"
        if not (cls.paper and cls.cost):
            return "it must name its paper (or say that there is none) and its cost"
        return None


def similarities(vectors: Array, target: Array) -> Array:
    """Cosine of each row to each target row; float32 [rows, target rows], NaN for a row without a direction.

    Args:
        vectors: One a row.
        target: Unit vectors.
    """
    cosines: Array = unit(vectors) @ target.T
    return cosines


def unit(vectors: Array) -> Array:
    """Rows scaled to length 1; a row of zeros or NaN becomes NaN, so that it is never similar to anything."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Array = np.divide(vectors, norms, out=np.full_like(vectors, np.nan), where=norms > 0)
    return scaled
