"""Instruction-Response Alignment: how much the instruction helps the model to write the answer."""

from collections.abc import Mapping
from typing import ClassVar

from tamis.lm.observations import Loss, Observation
from tamis.scorers.base import Array, Scorer, Selection, State


class IRA(Scorer):
    """Loss of the answer alone minus its loss given the instruction; high is well aligned.

    Du et al. 2024, "FedDQC", arXiv 2410.11540; the marker that ends the answer counts in both losses, as in the
    authors' code. The same two losses as IFD read the other way round: IFD keeps the rows that the instruction helps
    least (their ratio is near 1), IRA those that it helps most, and both leave out rows that it does not help at all.
    Cost: prompt + 2 x answer tokens, one pass, shared with IFD.
    """

    paper: ClassVar[str] = "Du et al. 2024, arXiv 2410.11540"
    cost: ClassVar[str] = "1 pass over the row and 1 over its answer"
    columns: ClassVar[Mapping[str, str]] = {
        "ira": "difference of the two losses, nats a token; higher is better aligned",
        "ira_loss_given": "mean loss of the answer and its end given the prompt, nats a token",
        "ira_loss_alone": "mean loss of the answer and its end alone, nats a token",
    }

    @property
    def observes(self) -> Mapping[str, Observation]:
        """Both losses, with the end of the answer."""
        return {"given": Loss(tokens="answer+end"), "alone": Loss(tokens="answer+end", context="header")}

    def score(self, seen: Mapping[str, Array], state: State) -> dict[str, Array]:
        """The difference and both losses."""
        given, alone = seen["given"], seen["alone"]
        return {"ira": alone - given, "ira_loss_given": given, "ira_loss_alone": alone}

    @property
    def selection(self) -> Selection:
        """The highest above 0."""
        return Selection("top", "ira", keep="ira > 0")
