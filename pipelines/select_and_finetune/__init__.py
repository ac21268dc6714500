"""Score, select, fine-tune, evaluate and report."""

from tamis.pipelines.select_and_finetune.pipeline import select_and_finetune

__all__ = ["select_and_finetune"]
