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

from tamis.lm import blocks, stacks

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
        """Positions with which attention fills rows up, see `tamis.lm.stacks`; nothing else reads them."""
        return sum(-len(span) % stacks.STEP for span in self.spans)


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
    """The rows of a pack that is being read, and how attention lays them out, the same in all layers."""

    spans: tuple[Span, ...]
    _blocks: dict[tuple[int, int, bool], blocks.Layout] = field(default_factory=dict)
    _stacks: dict[torch.device, stacks.Layout] = field(default_factory=dict)

    def in_blocks(self, heads: int, shared: int, by_head: bool) -> blocks.Layout:
        """For a CPU's attention in blocks."""
        key = (heads, shared, by_head)
        if key not in self._blocks:
            self._blocks[key] = blocks.layout(self._ranges(), heads, shared, by_head)
        return self._blocks[key]

    def in_stacks(self, device: torch.device) -> stacks.Layout:
        """For PyTorch's own attention."""
        if device not in self._stacks:
            self._stacks[device] = stacks.layout(self._ranges(), device)
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
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    plain = query.device.type == "cpu" and softcap is None and sliding_window is None and not query.requires_grad
    if plain and (way := blocks.fastest_way(q.dtype)) != "pytorch":
        return blocks.attend(q, k, v, rows.in_blocks(q.shape[1], k.shape[1], way == "by head"), scale)[None], None
    return stacks.attend(q, k, v, rows.in_stacks(q.device), scale, sliding_window, softcap)[None], None


def install() -> None:
    """Makes `ATTENTION` known to transformers."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, packed_attention)
