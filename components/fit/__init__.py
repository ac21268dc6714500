"""The step `fit`."""

from tamis.components.fit.component import fit

__all__ = ["fit"]
