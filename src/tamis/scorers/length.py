"""Length of the answer, the cheapest baseline and a surprisingly strong one."""

from collections.abc import Mapping
from typing import ClassVar

from tamis.lm.observations import Observation, TokenCount
from tamis.scorers.base import Array, Scorer, Selection, State


class Length(Scorer):
    """Number of tokens of the answer.

    Zhao et al. 2024, "Long Is More for Alignment", arXiv 2402.04833: the longest answers are a strong baseline that a
    method should beat. Cost: tokenisation, no pass of the model.
    """

    paper: ClassVar[str] = "Zhao et al. 2024, arXiv 2402.04833"
    cost: ClassVar[str] = "no pass, tokenisation only"
    columns: ClassVar[Mapping[str, str]] = {"length": "tokens of the answer"}

    @property
    def observes(self) -> Mapping[str, Observation]:
        """The number of answer tokens."""
        return {"tokens": TokenCount()}

    def score(self, seen: Mapping[str, Array], state: State) -> dict[str, Array]:
        """The number itself."""
        return {"length": seen["tokens"]}

    @property
    def selection(self) -> Selection:
        """The longest."""
        return Selection("top", "length")
