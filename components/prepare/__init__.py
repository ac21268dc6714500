"""The step `prepare`."""

from tamis.components.prepare.component import prepare

__all__ = ["prepare"]
