"""The fine-tune step: a selection and a model to a tuned model, with DeepSpeed."""

from tamis.finetune.result import Training
from tamis.finetune.run import finetune
from tamis.finetune.settings import TrainingSettings

__all__ = ["Training", "TrainingSettings", "finetune"]
