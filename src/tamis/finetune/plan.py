"""Which rows each process reads in each step, decided once from the seed.

Nothing else has a say: not the random state of a process, not where a run was interrupted. So a run that goes on from a
checkpoint reads what the uninterrupted one would have read, and every row is read once an epoch, also where the rows do
not divide by the size of a step. Batches are packed, so rows need not be grouped by length and a step is a fair draw.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tamis.finetune.settings import TrainingSettings

Step = list[list[int]]
"""Rows of one step, in `accumulation * processes` batches; the batch `a * processes + p` is the process p's a-th."""


def plan(lengths: Sequence[int], settings: TrainingSettings, processes: int) -> list[Step]:
    """Lays out all steps of a training.

    Each epoch shuffles the rows and cuts them into steps. Within a step they are dealt out by length, so that no
    process waits long for another. The first step is the one with the most tokens, so that a lack of memory shows at
    once.

    Args:
        lengths: Tokens of each row.
        settings: Epochs or steps, rows of a step, seed.
        processes: How many share a step.
    """
    batches = settings.accumulation * processes
    size = settings.batch_size * batches
    steps = settings.max_steps or max(1, round(settings.epochs * math.ceil(len(lengths) / size)))
    tokens = np.asarray(lengths)
    groups: list[NDArray[np.int_]] = []
    epoch = 0
    while len(groups) < steps:
        order = np.random.default_rng([settings.seed, epoch]).permutation(len(tokens))
        groups += [order[start : start + size] for start in range(0, len(order), size)]
        epoch += 1
    groups = groups[:steps]
    most = max(range(len(groups)), key=lambda i: int(tokens[groups[i]].sum()))
    groups[0], groups[most] = groups[most], groups[0]
    return [_deal(group[np.argsort(-tokens[group], kind="stable")], batches) for group in groups]


def _deal(rows: NDArray[np.int_], batches: int) -> Step:
    return [rows[i::batches].tolist() for i in range(batches)]


def share(steps: Sequence[Step], process: int, processes: int) -> list[list[int]]:
    """The batches that one process reads, in order."""
    return [batch for step in steps for batch in step[process::processes]]
