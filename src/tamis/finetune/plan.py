"""Which rows each process reads in each step, decided once from the seed.

Nothing else has a say: not the random state of a process, not where a run was interrupted. So a run that goes on from a
checkpoint reads what the uninterrupted one would have read, and every row is read once an epoch, also where the rows do
not divide by the size of a step.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tamis.finetune.settings import TrainingSettings

POOL_STEPS = 16
"""Rows of this many steps are sorted by length together: less padding, while the steps' order stays random."""

Step = list[list[int]]
"""Rows of one step, in `accumulation * processes` batches; the batch `a * processes + p` is the process p's a-th."""


def plan(lengths: Sequence[int], settings: TrainingSettings, processes: int) -> list[Step]:
    """Lays out all steps of a training.

    Each epoch shuffles the rows, sorts them by length within pools of a few steps, and shuffles the steps. The first
    step of all is the one with the longest row, so that a lack of memory shows at once.

    Args:
        lengths: Tokens of each row.
        settings: Epochs or steps, rows of a step, seed.
        processes: How many share a step.
    """
    size = settings.batch_size * settings.accumulation * processes
    steps = settings.max_steps or max(1, round(settings.epochs * math.ceil(len(lengths) / size)))
    result: list[Step] = []
    epoch = 0
    while len(result) < steps:
        result += _epoch(np.asarray(lengths), size, settings, processes, epoch)
        epoch += 1
    return result[:steps]


def _epoch(lengths: NDArray[np.int_], size: int, settings: TrainingSettings, processes: int, epoch: int) -> list[Step]:
    random = np.random.default_rng([settings.seed, epoch])
    order = random.permutation(len(lengths))
    groups: list[NDArray[np.int_]] = []
    for start in range(0, len(order), size * POOL_STEPS):
        pool = order[start : start + size * POOL_STEPS]
        pool = pool[np.argsort(-lengths[pool], kind="stable")]
        groups += [pool[i : i + size] for i in range(0, len(pool), size)]
    shuffled = [groups[i] for i in random.permutation(len(groups))]
    if epoch == 0:
        longest = max(range(len(shuffled)), key=lambda i: int(lengths[shuffled[i]].max()))
        shuffled[0], shuffled[longest] = shuffled[longest], shuffled[0]
    batches = settings.accumulation * processes
    # An incomplete step is dealt out evenly, so that no process waits long for another.
    return [[part.tolist() for part in np.array_split(group, batches)] for group in shuffled]


def share(steps: Sequence[Step], process: int, processes: int) -> list[list[int]]:
    """The batches that one process reads, in order."""
    return [batch for step in steps for batch in step[process::processes]]
