"""Superfiltering: IFD by a small model, with its authors' conventions."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from tamis.lm.observations import Loss, Observation
from tamis.scorers.base import Array, Scorer, Selection, State


class Superfiltering(Scorer):
    """Ratio of the answer's perplexity with its instruction to its perplexity alone, in bare text.

    Li et al. 2024, "Superfiltering: Weak-to-Strong Data Filtering", arXiv 2402.00530; the authors score with GPT-2
    124M. No markers: instruction, newline, answer. The lone answer has nothing before it, so its first token has no
    loss and the two means run over n and n - 1 tokens; an answer of one token is unscorable (the authors' code stores
    0). Kept: strictly below 1, highest first. Cost: prompt + 2 x answer tokens, one pass.
    """

    paper: ClassVar[str] = "Li et al. 2024, arXiv 2402.00530"
    cost: ClassVar[str] = "1 pass over the row and 1 over its answer, in its own template"
    columns: ClassVar[Mapping[str, str]] = {
        "superfiltering": "ratio of the two perplexities",
        "superfiltering_loss_given": "mean loss of the answer given the prompt, nats a token",
        "superfiltering_loss_alone": "mean loss of the bare answer from its second token on, nats a token",
    }

    @property
    def observes(self) -> Mapping[str, Observation]:
        """Both losses in the template `plain`."""
        return {"given": Loss(template="plain"), "alone": Loss(context="none", template="plain")}

    def score(self, seen: Mapping[str, Array], state: State) -> dict[str, Array]:
        """The ratio and both losses."""
        given, alone = seen["given"], seen["alone"]
        with np.errstate(over="ignore"):
            ratio = np.exp(given - alone)
        return {
            "superfiltering": ratio,
            "superfiltering_loss_given": given,
            "superfiltering_loss_alone": alone,
        }

    @property
    def selection(self) -> Selection:
        """The highest below 1."""
        return Selection("top", "superfiltering", keep="superfiltering < 1")
