"""Selectors: one file a strategy. Each chooses rows by their scores, without holding the table."""

from tamis.registry import Registry
from tamis.selectors.base import Selector
from tamis.selectors.candidates import Candidates, Scores

SELECTORS: Registry[Selector] = Registry("tamis.selectors", Selector)

__all__ = ["SELECTORS", "Candidates", "Scores", "Selector"]
