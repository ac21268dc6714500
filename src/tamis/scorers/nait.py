"""NAIT: neuron-aware data selection, by the direction in which a capability moves the model's activations."""

import logging
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np

from tamis import settings
from tamis.errors import UserError
from tamis.lm.observations import Activations, Observation
from tamis.pool.rows import Row
from tamis.scorers.base import Array, Observer, Scorer, Selection, State

log = logging.getLogger("tamis")
ORTHOGONAL = 0.1
"""Below this cosine between a layer's direction and the mean of its activations, the direction's sign says little."""


class NAIT(Scorer):
    """Projection of a row's activations on the directions of one or several target capabilities, summed over layers.

    NAIT 2026, "Neuron-Aware Data Selection", arXiv 2603.13201. For each capability (a task of the target) and decoder
    layer, the direction is the first principal component of the in-domain rows' activation change from the first token
    to the last, turned towards their mean; a row scores the sum over layers of its own change along them. Points that
    the paper leaves open are settings, the defaults being: the output of each block, last minus first token for target
    and candidates alike, centred components, no scaling of layers, and the mean of z-scores (over a sample of the pool)
    where several capabilities are combined. With centred components a direction can be orthogonal to the mean; its sign
    is then arbitrary, which is logged. Cost: one pass a row without the head; the directions are learned once.
    """

    class Settings(settings.Settings):
        """Settings of `nait`."""

        site: Literal["resid", "ffn"] = "resid"
        """The output of each decoder block, or the input of its down projection."""
        feature: Literal["delta", "mean", "last"] = "delta"
        """The last token's activation minus the first's, the mean over tokens, or the last token's."""
        centred: bool = True
        """Whether the mean is taken off before the principal component."""
        normalize: bool = False
        """Whether a layer counts by its cosine, so that layers of large norm do not dominate."""

    paper: ClassVar[str] = "NAIT 2026, arXiv 2603.13201"
    cost: ClassVar[str] = "1 pass over the row, no head"
    needs: ClassVar[frozenset[str]] = frozenset({"target", "sample"})
    lists: ClassVar[Mapping[str, Literal["rows", "tasks"]]] = {"nait_capability": "tasks"}
    columns: ClassVar[Mapping[str, str]] = {
        "nait": "projection on the capability's directions; the mean of z-scores for several capabilities",
        "nait_capability": "projection on each capability's directions, a list in the order of the target's tasks",
    }

    @property
    def observes(self) -> Mapping[str, Observation]:
        """One vector a layer."""
        return {"activations": Activations(site=self.settings.site, feature=self.settings.feature)}

    def fit(self, engine: Observer, target: Sequence[Row], sample: Sequence[Row]) -> State:
        """The directions of each capability, and how a sample of the pool scatters along them."""
        seen = engine.observe(target, self.observes)["activations"]
        tasks = list(dict.fromkeys(row.source for row in target))
        directions = []
        for task in tasks:
            mine = np.array([row.source == task for row in target]) & np.isfinite(seen).all(axis=(1, 2))
            if not mine.any():
                raise UserError(f"nait: no row of '{task}' has finite activations; try dtype=float32")
            directions.append(capability(seen[mine], self.settings.centred, task))
        state = {"directions": np.stack(directions)}
        if len(tasks) > 1:
            scattered = self._project(engine.observe(sample, self.observes)["activations"], state["directions"])
            state["mean"], state["std"] = np.nanmean(scattered, axis=0), np.nanstd(scattered, axis=0)
        return state

    def _project(self, activations: Array, directions: Array) -> Array:
        """Activations [rows, layers, width] on directions [capabilities, layers, width]; [rows, capabilities]."""
        if self.settings.normalize:
            norms = np.linalg.norm(activations, axis=-1, keepdims=True)
            activations = np.divide(activations, norms, out=np.zeros_like(activations), where=norms != 0)
        projected: Array = np.einsum("rlw,clw->rc", activations, directions)
        return projected

    def score(self, seen: Mapping[str, Array], state: State) -> dict[str, Array]:
        """The projections, combined and one by one."""
        each = self._project(seen["activations"], state["directions"])
        if each.shape[1] == 1:
            return {"nait": each[:, 0].astype(np.float64), "nait_capability": each}
        spread = np.where(state["std"] > 0, state["std"], 1.0)
        return {"nait": ((each - state["mean"]) / spread).mean(axis=1, dtype=np.float64), "nait_capability": each}

    @property
    def selection(self) -> Selection:
        """The highest."""
        return Selection("top", "nait")


def capability(activations: Array, centred: bool, name: str) -> Array:
    """The direction of a capability in each layer: first principal component, unit length, turned towards the mean.

    Args:
        activations: Of its rows, [rows, layers, width].
        centred: Whether the mean is taken off first.
        name: Its name, for what is logged.

    Returns:
        float32 [layers, width]. Where the rows do not differ (or there is only one, or none), the direction of their
        mean, or the first axis if that is zero too.
    """
    layers = np.moveaxis(activations.astype(np.float64), 1, 0)
    directions = np.zeros((layers.shape[0], layers.shape[2]))
    degenerate, orthogonal = 0, []
    for i, rows in enumerate(layers):
        mean = rows.mean(axis=0) if len(rows) else np.zeros(rows.shape[1])
        left = rows - mean if centred else rows
        scale = np.abs(rows).max(initial=0.0)
        if len(rows) == 0 or np.abs(left).max() <= 1e-9 * scale:
            degenerate += 1
            length = float(np.linalg.norm(mean))
            directions[i] = mean / length if length > 0 else np.eye(1, rows.shape[1])[0]
            continue
        direction = np.linalg.svd(left, full_matrices=False)[2][0]
        along = float(mean @ direction)
        # Without a side given by the mean the sign is a convention: the largest component is positive.
        side = along if abs(along) > 1e-12 * max(scale, 1e-300) else direction[np.abs(direction).argmax()]
        directions[i] = direction if side >= 0 else -direction
        length = float(np.linalg.norm(mean))
        if abs(along) < ORTHOGONAL * length or length == 0:
            orthogonal.append(i)
    if degenerate:
        log.warning("nait: the rows of '%s' do not differ in %d layers; their mean is the direction", name, degenerate)
    if orthogonal:
        log.warning(
            "nait: in %d of %d layers the direction of '%s' is nearly orthogonal to the mean (cosine below %g), so its "
            "sign says little; `nait.centred=false` avoids this",
            *(len(orthogonal), len(directions), name, ORTHOGONAL),
        )
    return directions.astype(np.float32)
