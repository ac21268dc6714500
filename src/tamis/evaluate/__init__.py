"""The evaluate step: what a model reaches on held-out rows and on lm-eval tasks, kept row by row."""

from tamis.evaluate.run import Evaluation, evaluate
from tamis.evaluate.settings import EvaluationSettings

__all__ = ["Evaluation", "EvaluationSettings", "evaluate"]
