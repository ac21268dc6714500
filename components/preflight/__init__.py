"""The step `preflight`."""

from tamis.components.preflight.component import preflight

__all__ = ["preflight"]
