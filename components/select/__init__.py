"""The step `select`."""

from tamis.components.select.component import select

__all__ = ["select"]
