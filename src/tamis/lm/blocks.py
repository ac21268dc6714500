"""Causal attention of a pack's rows on a CPU, in few products of matrices that stay in the caches.

PyTorch's own attention multiplies 32 to 64 queries at a time with MKL, in float32 whatever the type, and for rows of
fewer than 512 tokens it also computes the half of the square that nobody sees. Here rows of about one length are
stacked, and for each block of queries one product gives the scores of all keys up to its end: on two Zen 5 cores 3.4
instead of 7.6 ms for ten rows of about 200 tokens in bfloat16, 5.5 instead of 7.5 in float32. On two cores with
AMX, which PyTorch's attention uses for bfloat16, a pass takes a tenth less with that, so `fastest_way` measures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Literal, cast

import torch
from torch import Tensor

from tamis.lm import dense, machine, stacks

TOGETHER = 1024
"""Queries that are stacked at most, unless one row has more."""
LONG = 192
"""Keys from which larger blocks are faster, and oneDNN may multiply float32 heads one by one faster than MKL all."""
Way = Literal["pytorch", "blocks", "by head"]
"""As PyTorch attends, in blocks of all heads, or in blocks of one head after the other where rows are long."""


@dataclass(frozen=True)
class Block:
    """Some queries of each row of a stack, and the keys that the last of them sees.

    Attributes:
        queries: Which head of which token, int64 [rows * heads * size]; tokens that fill up are the row's last.
        size: Queries of each row.
        seen: Keys of each row, from the first.
    """

    queries: Tensor
    size: int
    seen: int


@dataclass(frozen=True)
class Heads:
    """The heads of a stack of rows.

    Attributes:
        keys: Which head of which token, int64 [rows * shared heads * keys of a row].
        rows: How many.
        by_head: Whether its heads are multiplied one by one.
        blocks: Their queries.
    """

    keys: Tensor
    rows: int
    by_head: bool
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Layout:
    """The stacks of a pack, and where in all their results one after the other those of each token's heads are.

    Attributes:
        stacks: The stacks.
        places: int64 [tokens * heads].
    """

    stacks: tuple[Heads, ...]
    places: Tensor


@cache
def fastest_way(dtype: torch.dtype) -> Way:
    """How this machine's CPU attends fastest, measured once on ten rows of 200 tokens."""
    rows = [(range(0), range(start, start + 200)) for start in range(0, 2000, 200)]
    query, key, value = (torch.ones(2000, heads, 64, dtype=dtype) for heads in (9, 3, 3))
    ways = {
        "pytorch": partial(stacks.attend, query, key, value, stacks.layout(rows, query.device), 0.1),
        "blocks": partial(attend, query, key, value, layout(rows, 9, 3), 0.1),
    }
    if dtype == torch.float32 and dense.can_pack(dtype):
        ways["by head"] = partial(attend, query, key, value, layout(rows, 9, 3, by_head=True), 0.1)
    return cast(Way, machine.choice(f"attention-{str(dtype).removeprefix('torch.')}", ways))


def layout(rows: Sequence[tuple[range, range]], heads: int, shared: int, by_head: bool = False) -> Layout:
    """Rows, each as the places of its prefix and its own, in stacks.

    Args:
        rows: The rows of a pack, in order; together they are all of its tokens.
        heads: Heads of the queries.
        shared: Heads of the keys and values, each shared by as many of the queries'.
        by_head: Whether oneDNN multiplies the heads of long rows one by one, in float32.
    """
    head = torch.arange(heads)[:, None]
    places = torch.empty(sum(len(own) for _, own in rows) * heads, dtype=torch.int64)
    made, results = [], 0
    for stack in stacks.stacks(rows, TOGETHER):
        number, seen = stack.keys.shape
        length = stack.queries.shape[1]
        long = seen >= LONG
        most = 128 if long else 64  # of a block's last square half is computed in vain; each block reads all keys anew
        keys = stack.keys[:, None] * shared + torch.arange(shared)[:, None]
        blocks = []
        for start in range(0, length, most):
            part = slice(start, min(start + most, length))
            queries = stack.queries[:, None, part] * heads + head
            real = stack.real[:, None, part].expand_as(queries).flatten()
            places[queries.flatten()[real]] = results + real.nonzero()[:, 0]
            results += queries.numel()
            blocks.append(Block(queries.flatten(), queries.shape[2], seen - length + part.stop))
        made.append(Heads(keys.flatten(), number, by_head and long, tuple(blocks)))
    return Layout(tuple(made), places)


def attend(query: Tensor, key: Tensor, value: Tensor, layout: Layout, scale: float) -> Tensor:
    """Causal attention inside each row; [tokens, heads, width], heads of key and value shared by groups of queries'."""
    heads, shared, width = query.shape[1], key.shape[1], query.shape[2]
    queries, keys, values = (whole.reshape(-1, width) for whole in (query, key, value))
    found = []
    for stack in layout.stacks:
        k, v = (every.index_select(0, stack.keys).view(stack.rows * shared, -1, width) for every in (keys, values))
        k.mul_(scale)
        for block in stack.blocks:
            q = queries.index_select(0, block.queries).view(stack.rows * shared, -1, width)
            seen, read = k[:, : block.seen], v[:, : block.seen]
            if stack.by_head:
                for one, its_keys, its_values in zip(q, seen, read, strict=True):
                    weights = _weights(dense.multiply(one, its_keys), block)
                    found.append(dense.multiply(weights, its_values.T))
            else:
                weights = _weights(torch.bmm(q, seen.transpose(1, 2)), block)
                found.append(torch.bmm(weights, read).view(-1, width))
    return torch.cat(found).index_select(0, layout.places).view(-1, heads, width)


def _weights(scores: Tensor, block: Block) -> Tensor:
    """What each query takes of each key, from their scores, which are overwritten."""
    scores.view(-1, block.size, block.seen)[..., -block.size :].add_(_future(block.size, scores.dtype))
    return torch.softmax(scores, -1)


@cache
def _future(size: int, dtype: torch.dtype) -> Tensor:
    """Minus infinity where a query would see a later key, [size, size]."""
    with torch.inference_mode(False):
        return torch.full((size, size), float("-inf"), dtype=dtype).triu_(1)
