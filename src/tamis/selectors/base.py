"""The contract of a selector."""

from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tamis import settings
from tamis.selectors.candidates import Candidates

Reads = Literal["number", "list", "nothing"]


class Selector:
    """A strategy that chooses rows.

    What is chosen depends on the scores, the rows' ids and the seed, never on the order of the rows or of the shards:
    equal scores are ordered by key (`Candidates.keys`), and chance comes from a hash of key and seed.
    `tamis.testing` tests a selector for all of this.

    Attributes:
        Settings: The selector's own settings, a subclass of `tamis.settings.Settings`.
        paper: Where the strategy is published, or that it is nobody's.
        reads: What its column must hold: a `number` a row, a `list` of numbers a row, or `nothing`.
        unchosen: Why an eligible row was not chosen, for a person; `{k}` and `{column}` are filled in.
    """

    class Settings(settings.Settings):
        """No settings."""

    paper: ClassVar[str] = ""
    reads: ClassVar[Reads] = "number"
    unchosen: ClassVar[str] = "not among the {k} best by {column}"

    def __init__(self, settings: Any) -> None:  # noqa: D107
        self.settings = settings

    def select(self, candidates: Candidates, k: int, seed: int) -> NDArray[np.int64]:
        """Chooses at most k rows among those in `candidates.eligible`.

        Args:
            candidates: The rows and their scores.
            k: How many rows at most; 0 chooses none, more than there are chooses all.
            seed: For selectors that draw.

        Returns:
            Positions of the chosen rows, each once, in order of choice.
        """
        raise NotImplementedError

    @classmethod
    def verify(cls, name: str) -> str | None:
        """What is wrong with this class as a plugin of that name, in words."""
        if cls.reads not in get_args(Reads):
            return f"it reads '{cls.reads}'; a column holds one of {', '.join(get_args(Reads))}"
        if not cls.paper:
            return "it must name its paper, or say that there is none"
        return None
