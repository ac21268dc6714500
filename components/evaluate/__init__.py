"""The step `evaluate`."""

from tamis.components.evaluate.component import evaluate

__all__ = ["evaluate"]
