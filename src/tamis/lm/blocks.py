"""Causal attention of a pack's rows on a CPU, in few large products.

PyTorch's own attention multiplies 32 to 64 queries at a time with MKL, in float32 whatever the type, and for rows of
fewer than 512 tokens it also computes the half of the square that nobody sees: 1.3 ms for a row of 200 tokens in
bfloat16, twice what a first form of this took; in float32 this was not shown to be faster. Here the rows of about one
length are stacked, and for each block of queries one product gives the scores of all keys up to its end. Rows are
filled up to a multiple of 32 with their own last token, behind everything that they see: no linear map reads that, and
a row's result does not depend on the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from tamis.lm import dense

BLOCK = 128
"""Queries of a block."""
STEP = 32
"""Rows are stacked if their lengths agree after being rounded up to a multiple of this."""
TOGETHER = 1024
"""Queries that are stacked at most, unless one row has more."""


@dataclass(frozen=True)
class Stack:
    """Rows of about one length behind prefixes of one length.

    Attributes:
        queries: Place in the pack of each query, int64 [rows, queries]; those that fill up are the row's last token.
        keys: Place of each key, int64 [rows, prefix + queries].
        real: Which of `queries` (flattened) do not fill up, int64.
        places: Their places in the pack, int64.
    """

    queries: Tensor
    keys: Tensor
    real: Tensor
    places: Tensor


def stacks(rows: Sequence[tuple[range, range]]) -> list[Stack]:
    """Rows, each as the places of its prefix and its own, in stacks."""
    alike: dict[tuple[int, int], list[tuple[range, range]]] = {}
    for prefix, own in rows:
        alike.setdefault((len(prefix), -(-len(own) // STEP) * STEP), []).append((prefix, own))
    made = []
    for (_, length), group in alike.items():
        together = max(1, TOGETHER // length)
        for first in range(0, len(group), together):
            some = group[first : first + together]
            last = torch.tensor([own[-1] for _, own in some])
            start = torch.tensor([own.start for _, own in some])
            ahead = start[:, None] + torch.arange(length)
            queries = torch.minimum(ahead, last[:, None])
            before = torch.stack([torch.arange(prefix.start, prefix.stop) for prefix, _ in some])
            real = (ahead <= last[:, None]).flatten().nonzero()[:, 0]
            made.append(Stack(queries, torch.cat([before, queries], 1), real, queries.flatten()[real]))
    return made


def attend(query: Tensor, key: Tensor, value: Tensor, rows: Sequence[Stack], scale: float) -> Tensor:
    """Causal attention inside each row; [tokens, heads, width], heads of key and value shared by groups of queries'."""
    heads, shared, width = query.shape[1], key.shape[1], query.shape[2]
    out = torch.empty_like(query)
    for stack in rows:
        n, length = stack.queries.shape
        total = stack.keys.shape[1]
        q = (query[stack.queries.flatten()] * scale).view(n, length, shared, heads // shared, width)
        k, v = (whole[stack.keys.flatten()].view(n, total, shared, width) for whole in (key, value))
        q = q.permute(0, 2, 3, 1, 4)  # [rows, shared, group, queries, width]
        k, v = (part.transpose(1, 2).reshape(n * shared, total, width) for part in (k, v))
        parts = []
        for start in range(0, length, BLOCK):
            size = min(BLOCK, length - start)
            seen = total - length + start + size
            block = q[:, :, :, start : start + size].reshape(n * shared, -1, width)
            scores = _products(block, k[:, :seen].transpose(1, 2)).view(n, heads, size, seen)
            scores[..., seen - size :].add_(_future(size, scores.dtype))
            weights = torch.softmax(scores, -1).view(n * shared, -1, seen)
            parts.append(_products(weights, v[:, :seen]).view(n, heads, size, width))
        found = (parts[0] if len(parts) == 1 else torch.cat(parts, 2)).transpose(1, 2).reshape(-1, heads, width)
        out[stack.places] = found[stack.real]
    return out


def _products(left: Tensor, right: Tensor) -> Tensor:
    """[n, a, b] times [n, b, c]."""
    if left.dtype == torch.float32 and dense.packs_faster(left.dtype) and left.shape[1] * right.shape[2] >= 1 << 14:
        pairs = zip(left, right.transpose(1, 2), strict=True)
        return torch.stack([dense.multiply(a, b.contiguous()) for a, b in pairs])
    return torch.bmm(left, right)


@cache
def _future(size: int, dtype: torch.dtype) -> Tensor:
    """Minus infinity where a query would see a later key, [size, size]."""
    with torch.inference_mode(False):
        return torch.full((size, size), float("-inf"), dtype=dtype).triu_(1)
