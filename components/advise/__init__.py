"""The step `advise`."""

from tamis.components.advise.component import advise

__all__ = ["advise"]
