"""Similarity by a sentence encoder, the baseline of every target-aware method."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from tamis import settings
from tamis.lm.observations import Embedded, Observation
from tamis.pool.rows import Row
from tamis.scorers.base import Array, Observer, Scorer, Selection, State, similarities


class Embedding(Scorer):
    """Cosine of a row's text to that of every target row, by a sentence encoder instead of the model.

    The baseline "Embed" of Ivison et al. 2025, arXiv 2503.01807, who use GTR-base and NV-Embed and find them below
    RDS+; here all-MiniLM-L6-v2 unless `encoder` names another model that pools by the mean. It reads at most 256
    tokens of a row. Selection as for RDS+. Cost: one pass of the encoder, none of the model.
    """

    class Settings(settings.Settings):
        """Settings of `embedding`."""

        encoder: str = "minilm"
        """`minilm` (all-MiniLM-L6-v2, from the package index), a folder, or a hub id."""
        part: Literal["all", "prompt", "answer"] = "all"
        """Which turns are compared: all of them, those before the answers, or the answers."""

    paper: ClassVar[str] = "baseline, e.g. Ivison et al. 2025, arXiv 2503.01807"
    cost: ClassVar[str] = "no pass of the model, 1 of a sentence encoder of 23 M parameters"
    needs: ClassVar[frozenset[str]] = frozenset({"target"})
    lists: ClassVar[Mapping[str, Literal["rows", "tasks"]]] = {"embedding_similarity": "rows"}
    columns: ClassVar[Mapping[str, str]] = {
        "embedding": "highest cosine to a target row",
        "embedding_similarity": "cosine to each target row, a list in the target's order",
    }

    @property
    def observes(self) -> Mapping[str, Observation]:
        """The text's unit vector."""
        return {"vector": Embedded(self.settings.encoder, self.settings.part)}

    def fit(self, engine: Observer, target: Sequence[Row], sample: Sequence[Row]) -> State:
        """The target rows' vectors."""
        return {"target": engine.observe(target, self.observes)["vector"]}

    def score(self, seen: Mapping[str, Array], state: State) -> dict[str, Array]:
        """Cosines to the target rows."""
        similarity = similarities(seen["vector"], state["target"])
        return {"embedding": similarity.max(axis=1), "embedding_similarity": similarity}

    @property
    def selection(self) -> Selection:
        """Round robin over the target's rows (one task) or its tasks (several)."""
        return Selection("round-robin", "embedding_similarity")
