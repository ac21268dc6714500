"""RDS+: representation-based data selection."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np

from tamis.errors import UserError
from tamis.lm.observations import Hidden, Observation
from tamis.pool.rows import Row
from tamis.scorers.base import Array, Observer, Scorer, Selection, State, similarities, unit


class RDS(Scorer):
    """Cosine of a row's pooled last hidden state to that of every target row.

    Ivison et al. 2025, "Large-Scale Data Selection for Instruction Tuning", arXiv 2503.01807. Token t of T weighs t /
    (1 + … + T), over all tokens, pooled in float32. Selection by round robin: target rows take turns at their most
    similar row that is left (several tasks: the tasks take turns). The authors score with the model that is to be
    trained, in the template that it is trained in. Cost: one pass a row without the head, one cosine for each target
    row.
    """

    paper: ClassVar[str] = "Ivison et al. 2025, arXiv 2503.01807"
    cost: ClassVar[str] = "1 pass over the row, no head"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})
    lists: ClassVar[Mapping[str, Literal["rows", "tasks"]]] = {"rds_similarity": "rows"}
    columns: ClassVar[Mapping[str, str]] = {
        "rds": "highest cosine to a target row",
        "rds_similarity": "cosine to each target row, a list in the target's order",
    }

    @property
    def observes(self) -> Mapping[str, Observation]:
        """The position-weighted mean of the last hidden state."""
        return {"pooled": Hidden(pool="position")}

    def fit(self, engine: Observer, target: Sequence[Row], sample: Sequence[Row]) -> State:
        """The target rows' unit vectors."""
        vectors = unit(engine.observe(target, self.observes)["pooled"])
        if not np.isfinite(vectors).all():
            raise UserError("rds: the model's hidden states of a target row are not finite; try dtype=float32")
        return {"target": vectors}

    def score(self, seen: Mapping[str, Array], state: State) -> dict[str, Array]:
        """Cosines to the target rows."""
        similarity = similarities(seen["pooled"], state["target"])
        return {"rds": similarity.max(axis=1), "rds_similarity": similarity}

    @property
    def selection(self) -> Selection:
        """Round robin over the target's rows (one task) or its tasks (several)."""
        return Selection("round-robin", "rds_similarity")
