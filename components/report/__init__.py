"""The step `report`."""

from tamis.components.report.component import report

__all__ = ["report"]
