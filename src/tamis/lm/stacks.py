"""Rows of about one length side by side, so that few calls attend for many rows, and PyTorch's own attention of them.

Rows are filled up to a multiple of `STEP` with their own last token, behind everything that they see: no linear map
reads that, and a row's result does not depend on the others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

TOGETHER = 8192
"""Queries that PyTorch's own attention gets at once at most, unless one row has more."""
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


@dataclass(frozen=True)
class Layout:
    """The stacks of a pack, and where in all their results one after the other each token's is.

    Attributes:
        stacks: The stacks.
        places: int64 [tokens].
    """

    stacks: tuple[Stack, ...]
    places: Tensor


def layout(rows: Sequence[tuple[range, range]], device: torch.device) -> Layout:
    """Rows, each as the places of its prefix and its own, in stacks; together they are all tokens of a pack."""
    made = list(stacks(rows, TOGETHER))
    real = torch.cat([stack.real.flatten() for stack in made])
    tokens = torch.cat([stack.queries.flatten() for stack in made])[real]
    places = torch.empty_like(tokens)
    places[tokens] = real.nonzero()[:, 0]
    there = (Stack(stack.queries.to(device), stack.real, stack.keys.to(device)) for stack in made)
    return Layout(tuple(there), places.to(device))


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    scale: float,
    window: int | None = None,
    cap: float | None = None,
) -> Tensor:
    """Causal attention inside each row, by PyTorch and differentiable.

    Args:
        query: [tokens, heads, width].
        key: [tokens, shared heads, width], each head shared by a group of the queries'.
        value: As the keys.
        layout: Of the rows.
        scale: By which the scores are multiplied.
        window: How many keys back a query sees, itself included; all if None.
        cap: To which a hyperbolic tangent keeps the scores; not at all if None.
    """
    found = []
    for stack in layout.stacks:
        own, keys, values = (
            whole.index_select(0, at.flatten()).view(*at.shape, *whole.shape[1:]).transpose(1, 2)
            for whole, at in ((query, stack.queries), (key, stack.keys), (value, stack.keys))
        )
        found.append(_attend(own, keys, values, scale, window, cap).transpose(1, 2).flatten(0, 1))
    return torch.cat(found).index_select(0, layout.places)


def _attend(query: Tensor, key: Tensor, value: Tensor, scale: float, window: int | None, cap: float | None) -> Tensor:
    """Of one stack; [rows, heads, tokens, width] each."""
    queries, keys = query.shape[-2], key.shape[-2]
    grouped = query.shape[1] != key.shape[1]
    if cap is None:
        plain = queries == keys and (window is None or keys <= window)
        mask = None if plain else _visible(queries, keys, window, query.device)
        return scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=plain, scale=scale, enable_gqa=grouped
        )
    if grouped:
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = query @ key.transpose(-1, -2) * scale
    scores = cap * torch.tanh(scores / cap)
    scores = scores.masked_fill(~_visible(queries, keys, window, query.device), float("-inf"))
    return torch.softmax(scores, -1, dtype=torch.float32).to(value.dtype) @ value


def _visible(queries: int, keys: int, window: int | None, device: torch.device) -> Tensor:
    """Which key each query sees, bool [queries, keys]: the last query stands at the last key."""
    query = torch.arange(keys - queries, keys, device=device)[:, None]
    key = torch.arange(keys, device=device)[None]
    seen = key <= query
    return seen & (key > query - window) if window else seen
