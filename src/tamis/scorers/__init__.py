"""Scorers: one file a method. Each is a pure function from observations to columns."""

from tamis.registry import Registry
from tamis.scorers.base import Scorer, Selection, State

SCORERS: Registry[Scorer] = Registry("tamis.scorers", Scorer)

__all__ = ["SCORERS", "Scorer", "Selection", "State"]
