"""Rows of about one length side by side, so that few calls attend for many rows.

Rows are filled up to a multiple of `STEP` with their own last token, behind everything that they see: no linear map
reads that, and a row's result does not depend on the others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

STEP = 8
"""Rows are stacked if their lengths agree after being rounded up to a multiple of this."""


@dataclass(frozen=True)
class Stack:
    """Rows of about one length behind prefixes of one length.

    Attributes:
        queries: Places of their tokens in the pack, filled up with the last one, int64 [rows, length].
        real: Which of them do not only fill up, bool [rows, length].
        keys: Places of what the last query of each row sees, int64 [rows, prefix + length].
    """

    queries: Tensor
    real: Tensor
    keys: Tensor


def stacks(rows: Sequence[tuple[range, range]], most: int) -> Iterator[Stack]:
    """Rows, each as the places of its prefix and its own, in stacks of at most `most` queries, or of one row."""
    alike: dict[tuple[int, int], list[tuple[range, range]]] = {}
    for prefix, own in rows:
        alike.setdefault((len(prefix), -(-len(own) // STEP) * STEP), []).append((prefix, own))
    for (before, length), group in alike.items():
        together = max(1, most // length)
        for first in range(0, len(group), together):
            some = group[first : first + together]
            ahead = torch.tensor([own.start for _, own in some])[:, None] + torch.arange(length)
            last = torch.tensor([own[-1] for _, own in some])[:, None]
            tokens = torch.minimum(ahead, last)
            prefixes = torch.tensor([prefix.start for prefix, _ in some])[:, None] + torch.arange(before)
            yield Stack(tokens, ahead <= last, torch.cat([prefixes, tokens], 1))
