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

ATTENTION = "tamis-packed"


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
        """Positions with which attention on a CPU fills rows up, see `tamis.lm.blocks`; nothing else reads them."""
        return sum(-len(span) % blocks.STEP for span in self.spans)


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

    def layout(self, heads: int, shared: int, dtype: torch.dtype) -> blocks.Layout:
        """How a CPU's attention stacks them, the same in all layers."""
        if (heads, shared, dtype) not in self._layouts:
            nothing = Span(0, 0)
            both = ((span.prefix or nothing, span) for span in self.spans)
            ranges = [(range(p.start, p.end), range(s.start, s.end)) for p, s in both]
            self._layouts[heads, shared, dtype] = blocks.layout(ranges, heads, shared, dtype)
        return self._layouts[heads, shared, dtype]


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
    """Causal attention of one row; [heads, tokens, width] each, fewer heads in key and value are shared."""
    queries, keys = query.shape[-2], key.shape[-2]
    grouped = query.shape[0] != key.shape[0]
    if cap is None:
        plain = queries == keys and (window is None or keys <= window)
        mask = None if plain else _visible(queries, keys, window, query.device)
        return scaled_dot_product_attention(
            query[None], key[None], value[None], attn_mask=mask, is_causal=plain, scale=scale, enable_gqa=grouped
        )[0]
    if grouped:
        groups = query.shape[0] // key.shape[0]
        key, value = key.repeat_interleave(groups, 0), value.repeat_interleave(groups, 0)
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
    spans = rows.spans
    if query.device.type == "cpu" and softcap is None and sliding_window is None and not query.requires_grad:
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        q, k, v = (whole[0].transpose(0, 1) for whole in (query, key, value))
        return blocks.attend(q, k, v, rows.layout(q.shape[1], k.shape[1], q.dtype), scale)[None], None
    # Cut all at once: going backward, one cut costs a pass over the whole pack.
    lengths = [len(span) for span in spans]
    queries, keys, values = (torch.split(whole[0], lengths, 1) for whole in (query, key, value))
    place = {span: i for i, span in enumerate(spans)}
    parts = []
    for span, q, k, v in zip(spans, queries, keys, values, strict=True):
        if span.prefix:
            before = place[span.prefix]
            k, v = torch.cat([keys[before], k], 1), torch.cat([values[before], v], 1)
        parts.append(_attend(q, k, v, scaling, sliding_window, softcap).transpose(0, 1))
    return torch.cat(parts)[None], None


def install() -> None:
    """Makes `ATTENTION` known to transformers."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, packed_attention)
