"""Orders that do not depend on where a row stands: by score and key, or by a hash of key and seed."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
KeyOf = Callable[[NDArray[np.int64]], Keys]
"""The keys of the rows at some positions."""
_WORD = 2**64 - 1


def first(scores: NDArray[Any], key_of: KeyOf, k: int) -> NDArray[np.int64]:
    """Positions of the k smallest scores, smallest first; equal scores by key.

    Costs one partition of the scores and a sort of the k; keys are asked for where scores are equal only.

    Args:
        scores: One number a row, no NaN.
        key_of: The keys of the rows at some positions.
        k: How many; all if there are fewer.
    """
    k = min(k, len(scores))
    if k == 0:
        return np.empty(0, np.int64)
    chosen = np.arange(len(scores))
    if k < len(scores):
        limit = np.partition(scores, k - 1)[k - 1]
        below, ties = np.flatnonzero(scores < limit), np.flatnonzero(scores == limit)
        missing = k - len(below)
        if missing < len(ties):
            ties = ties[np.argpartition(key_of(ties), missing - 1)[:missing]]
        chosen = np.concatenate([below, ties])
    chosen = chosen[np.argsort(scores[chosen])]
    ordered = scores[chosen]
    same = ordered[1:] == ordered[:-1]
    if same.any():
        at = np.flatnonzero(np.append(same, False) | np.append(False, same))
        chosen[at] = chosen[at][np.lexsort((key_of(chosen[at]), ordered[at]))]
    return chosen


def shuffled(keys: Keys, seed: int, stream: int = 0) -> Keys:
    """A number for each key, uniform over 64 bits, equal for equal key, seed and stream.

    The finaliser of SplitMix64 (Steele et al. 2014), a bijection: distinct keys get distinct numbers.

    Args:
        keys: Any keys.
        seed: The run's seed.
        stream: Tells draws apart that are to be independent of each other under one seed.
    """
    start = _mix(np.array([(seed + (stream << 48)) & _WORD], np.uint64))
    return _mix(keys ^ start)


def _mix(z: Keys) -> Keys:
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
