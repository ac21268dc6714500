"""The step `publish`."""

from tamis.components.publish.component import publish

__all__ = ["publish"]
