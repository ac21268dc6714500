"""Perplexity, the baseline that every comparison has."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from tamis import settings
from tamis.lm.observations import Loss, Observation
from tamis.scorers.base import Array, Scorer, Selection, State


class Perplexity(Scorer):
    """Perplexity of the row under the model.

    Three definitions are in use: over all tokens (the baseline of arXiv 2503.01807), over the answer given its prompt
    (that of RICo, arXiv 2505.05327), over the prompt alone; `tokens` says which of the first two. Kept by default: the
    middle third, from one third down the descending order, as in 2503.01807; `select` takes the lowest or the highest
    instead. Cost: one pass a row.
    """

    class Settings(settings.Settings):
        """Settings of `perplexity`."""

        tokens: Literal["answer", "all"] = "answer"
        """Over the answer's tokens given the prompt, or over all tokens."""
        select: Literal["low", "middle", "top"] = "middle"
        """Which rows are kept: the least, the middling or the most perplexing."""

    paper: ClassVar[str] = "baseline, e.g. Ivison et al. 2025, arXiv 2503.01807"
    cost: ClassVar[str] = "1 pass over the row"
    columns: ClassVar[Mapping[str, str]] = {
        "perplexity": "exp of the mean loss",
        "perplexity_loss": "mean loss, nats a token",
    }

    @property
    def observes(self) -> Mapping[str, Observation]:
        """One loss."""
        return {"loss": Loss(tokens=self.settings.tokens)}

    def score(self, seen: Mapping[str, Array], state: State) -> dict[str, Array]:
        """The loss and its exponential."""
        with np.errstate(over="ignore"):
            return {"perplexity": np.exp(seen["loss"]), "perplexity_loss": seen["loss"]}

    @property
    def selection(self) -> Selection:
        """Lowest, middle or highest."""
        if self.settings.select == "middle":
            return Selection("middle", "perplexity")
        return Selection(
            "top", "perplexity", settings={"order": "lowest" if self.settings.select == "low" else "highest"}
        )
