"""The step `score`."""

from tamis.components.score.component import score

__all__ = ["score"]
