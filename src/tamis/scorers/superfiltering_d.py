"""Superfiltering.D: the hard rows by Superfiltering, then those of them that cover the others."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from tamis import settings
from tamis.lm.observations import Embedded, Observation
from tamis.scorers.base import Array, Selection, State
from tamis.scorers.superfiltering import Superfiltering


class SuperfilteringD(Superfiltering):
    """Superfiltering with diversity: the ratio chooses a part of the pool, facility location chooses from that.

    Li et al. 2024, arXiv 2402.00530 (`Superfiltering.D`): of the rows below 1 the `among` with the highest ratio, here
    20 % of the pool as in the authors' run, which then keeps 2 %; all-MiniLM-L6-v2 embeds prompt and answer joined by
    newlines. The authors' similarity falls with the Euclidean distance, here it is the cosine of the same unit vectors.
    Cost: that of Superfiltering and one pass of the encoder.
    """

    class Settings(settings.Settings):
        """Settings of `superfiltering-d`."""

        among: float = Field(default=20, gt=0, le=100)
        """Percent of the pool, those of the highest ratio, from which is chosen; at least the budget."""
        encoder: str = "minilm"
        """`minilm` (all-MiniLM-L6-v2, from the package index), a folder, or a hub id."""

    cost: ClassVar[str] = "that of superfiltering, and 1 pass of a sentence encoder"
    lists: ClassVar[Mapping[str, Literal["rows", "tasks"]]] = {}
    columns: ClassVar[Mapping[str, str]] = {
        **{name.replace("superfiltering", "superfiltering_d"): text for name, text in Superfiltering.columns.items()},
        "superfiltering_d_vector": "unit vector of the row's text, a list",
    }

    @property
    def observes(self) -> Mapping[str, Observation]:
        """Both losses and the text's unit vector."""
        return {**super().observes, "vector": Embedded(self.settings.encoder)}

    def score(self, seen: Mapping[str, Array], state: State) -> dict[str, Array]:
        """The ratio, both losses and the vector."""
        plain = super().score(seen, state)
        made = {name.replace("superfiltering", "superfiltering_d"): values for name, values in plain.items()}
        return made | {"superfiltering_d_vector": seen["vector"]}

    @property
    def selection(self) -> Selection:
        """Those that cover most of the highest below 1."""
        keep = f"superfiltering_d < 1 and superfiltering_d top {self.settings.among:g}%"
        return Selection("facility-location", "superfiltering_d_vector", keep=keep)
