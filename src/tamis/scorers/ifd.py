"""Instruction-Following Difficulty: how little the instruction helps the model to write the answer."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from tamis import settings
from tamis.lm.observations import Loss, Observation
from tamis.scorers.base import Array, Scorer, Selection, State


class IFD(Scorer):
    """Ratio of the answer's loss with its instruction to its loss alone; near 1, the instruction did not help.

    Li et al. 2024, "From Quantity to Quality" (Cherry LLM), arXiv 2308.12032. `ifd = L(answer | prompt) / L(answer)`,
    means over the answer's own tokens, the same ones in both passes (the short response header stays before the lone
    answer). The authors' code takes the ratio of the losses; `ratio: perplexity` takes the ratio of the perplexities
    (as Superfiltering does), which orders rows below 1 differently and filters the same ones. Rows with a ratio of 1 or
    more are left out (the answer does not belong to the instruction), then the highest are kept. Unlike the authors'
    code, a row without a finite ratio is unscorable, never kept. Prefers long answers. Cost: prompt + 2 x answer
    tokens, one pass.
    """

    class Settings(settings.Settings):
        """Settings of `ifd`."""

        ratio: Literal["loss", "perplexity"] = "loss"
        """Ratio of mean losses (Cherry LLM) or of perplexities (Superfiltering)."""

    paper: ClassVar[str] = "Li et al. 2024, arXiv 2308.12032"
    cost: ClassVar[str] = "1 pass over the row and 1 over its answer"
    columns: ClassVar[Mapping[str, str]] = {
        "ifd": "ratio of the two losses (or perplexities); higher is harder to follow, 1 or more is misaligned",
        "ifd_loss_given": "mean loss of the answer given the prompt, nats a token",
        "ifd_loss_alone": "mean loss of the answer alone, nats a token",
    }

    @property
    def observes(self) -> Mapping[str, Observation]:
        """Both losses."""
        return {"given": Loss(), "alone": Loss(context="header")}

    def score(self, seen: Mapping[str, Array], state: State) -> dict[str, Array]:
        """The ratio and both losses."""
        given, alone = seen["given"], seen["alone"]
        with np.errstate(all="ignore"):
            ratio = given / alone if self.settings.ratio == "loss" else np.exp(given - alone)
        return {"ifd": np.where(alone > 0, ratio, np.nan), "ifd_loss_given": given, "ifd_loss_alone": alone}

    @property
    def selection(self) -> Selection:
        """The highest below 1."""
        return Selection("top", "ifd", keep="ifd < 1")
