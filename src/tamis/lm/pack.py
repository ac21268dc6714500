"""Rows side by side in one sequence, without padding: attention stays inside each row.

A batch of rows of different lengths is one sequence of all their tokens. Everything but attention works token by token
and does not notice; attention runs row by row. So no position is padding, no mask is built, and what a row gives does
not depend on its neighbours. A row may also attend to a prefix elsewhere in the pack (a context shared by several
rows), which is then computed once: the key/value cache of in-context methods.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from tamis.lm import blocks
from tamis.lm.stacks import STEP, Stack, stacks

ATTENTION = "tamis-packed"
TOGETHER = 8192
"""Queries that PyTorch's own attention gets at once at most, unless one row has more."""


@dataclass(frozen=True)
class Span:
    """The tokens `start:end` of a pack; they see themselves and, first, the span `prefix`."""

    start: int
    end: int
    prefix: "Span | None" = None

    def __len__(self) -> int:
        """Tokens of the span itself."""
        return self.end - self.start


@dataclass(frozen=True)
class Pack:
    """Several rows in one sequence.

    Attributes:
        ids: Token ids, int64 [tokens].
        positions: Position of each token in its own row (after its prefix), int64 [tokens].
        spans: One for each row, in order.
    """

    ids: Tensor
    positions: Tensor
    spans: tuple[Span, ...]

    @property
    def pairs(self) -> int:
        """Pairs of tokens of which the one sees the other."""
        return sum(len(s) * (len(s) + 1) // 2 + (len(s) * len(s.prefix) if s.prefix else 0) for s in self.spans)

    @property
    def filled(self) -> int:
        """Positions with which attention fills rows up, see `tamis.lm.stacks`; nothing else reads them."""
        return sum(-len(span) % STEP for span in self.spans)


def pack(rows: Sequence[Any], prefixes: Sequence[int | None] | None = None) -> Pack:
    """Packs rows of token ids.

    Args:
        rows: Arrays of token ids.
        prefixes: For each row the index of an earlier row that it continues, or None.
    """
    spans: list[Span] = []
    positions = []
    start = 0
    for i, row in enumerate(rows):
        index = prefixes[i] if prefixes else None
        prefix = None if index is None else spans[index]
        spans.append(Span(start, start + len(row), prefix))
        offset = 0 if prefix is None else len(prefix)
        positions.append(torch.arange(offset, offset + len(row)))
        start += len(row)
    ids = torch.from_numpy(np.concatenate([np.asarray(row, np.int64) for row in rows]))
    return Pack(ids, torch.cat(positions), tuple(spans))


@dataclass(frozen=True)
class _Rows:
    """The rows of a pack that is being read."""

    spans: tuple[Span, ...]
    _layouts: dict[tuple[int, int, torch.dtype], blocks.Layout] = field(default_factory=dict)
    _stacks: dict[torch.device, tuple[list[Stack], Tensor]] = field(default_factory=dict)

    def layout(self, heads: int, shared: int, dtype: torch.dtype) -> blocks.Layout:
        """How a CPU's attention stacks them, the same in all layers."""
        if (heads, shared, dtype) not in self._layouts:
            self._layouts[heads, shared, dtype] = blocks.layout(self._ranges(), heads, shared, dtype)
        return self._layouts[heads, shared, dtype]

    def stacks(self, device: torch.device) -> tuple[list[Stack], Tensor]:
        """Stacks for PyTorch's own attention, and where in their results, one after the other, each token's is."""
        if device not in self._stacks:
            made = list(stacks(self._ranges(), TOGETHER))
            real = torch.cat([stack.real.flatten() for stack in made])
            tokens = torch.cat([stack.queries.flatten() for stack in made])[real]
            places = torch.empty_like(tokens)
            places[tokens] = real.nonzero()[:, 0]
            moved = [Stack(s.queries.to(device), s.real.to(device), s.keys.to(device)) for s in made]
            self._stacks[device] = moved, places.to(device)
        return self._stacks[device]

    def _ranges(self) -> list[tuple[range, range]]:
        """The places of each row's prefix and of its own."""
        both = ((span.prefix or Span(0, 0), span) for span in self.spans)
        return [(range(prefix.start, prefix.end), range(own.start, own.end)) for prefix, own in both]


_rows: ContextVar[_Rows | None] = ContextVar("rows", default=None)


@contextmanager
def attending(spans: tuple[Span, ...]) -> Iterator[None]:
    """Inside, the model's attention sees these spans."""
    token = _rows.set(_Rows(spans))
    try:
        yield
    finally:
        _rows.reset(token)


def _visible(queries: int, keys: int, window: int | None, device: torch.device) -> Tensor:
    """Which key each query sees, bool [queries, keys]: the last query stands at the last key."""
    query = torch.arange(keys - queries, keys, device=device)[:, None]
    key = torch.arange(keys, device=device)[None]
    seen = key <= query
    return seen & (key > query - window) if window else seen


def _attend(
    query: Tensor, key: Tensor, value: Tensor, scale: float | None, window: int | None, cap: float | None
) -> Tensor:
    """Causal attention of a stack; [rows, heads, tokens, width] each, fewer heads in key and value are shared."""
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
    scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scale is None else scale)
    scores = cap * torch.tanh(scores / cap)
    scores = scores.masked_fill(~_visible(queries, keys, window, query.device), float("-inf"))
    return torch.softmax(scores, -1, dtype=torch.float32).to(value.dtype) @ value


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention inside each span, in the form that transformers calls; tensors are [1, heads, tokens, width]."""
    rows = _rows.get()
    if rows is None:
        raise RuntimeError("a packed model was called outside `attending`")
    if kwargs.get("s_aux") is not None:
        raise NotImplementedError("attention sinks are not supported")
    q, k, v = (whole[0].transpose(0, 1) for whole in (query, key, value))
    if query.device.type == "cpu" and softcap is None and sliding_window is None and not query.requires_grad:
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        return blocks.attend(q, k, v, rows.layout(q.shape[1], k.shape[1], q.dtype), scale)[None], None
    found = []
    stacked, places = rows.stacks(query.device)
    for stack in stacked:
        own, keys, values = (
            whole.index_select(0, at.flatten()).view(*at.shape, *whole.shape[1:]).transpose(1, 2)
            for whole, at in ((q, stack.queries), (k, stack.keys), (v, stack.keys))
        )
        found.append(_attend(own, keys, values, scaling, sliding_window, softcap).transpose(1, 2).flatten(0, 1))
    return torch.cat(found).index_select(0, places)[None], None


def install() -> None:
    """Makes `ATTENTION` known to transformers."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, packed_attention)
