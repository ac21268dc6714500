"""The step `finetune`."""

from tamis.components.finetune.component import finetune

__all__ = ["finetune"]
