"""Gradients of single rows from one backward pass over many, as seen by freshly attached low-rank adapters.

Adapters begin with `up` = 0, so the output of W x + (alpha / rank) up (down x) does not depend on `down` yet: its
gradient is exactly 0, and the gradient of `up` is (alpha / rank) g^T (x down^T) with x the map's input and g the
gradient of its output, [tokens, …] each. Rows of a pack do not see each other, so g at a row's tokens is the gradient
of that row's loss alone, and the product over its tokens is its own gradient: no adapter has to run, and no row needs a
pass of its own. Kept of the forward pass is x down^T, `rank` numbers a token, not x.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tamis.lm.encode import Encoded
from tamis.lm.engine import Engine
from tamis.lm.forward import LOGIT_ROWS, hidden_states, token_losses
from tamis.lm.load import LanguageModel
from tamis.lm.lora import fresh_down, linear_maps, sizes
from tamis.lm.pack import Pack, pack
from tamis.lm.templates import Kind

MEMORY = 2 << 30
"""Bytes of gradients that `gram` lets wait for rows of a later batch."""


@dataclass(frozen=True)
class Adapters:
    """Fresh adapters on all linear maps of the decoder's blocks.

    Attributes:
        rank: Of the adapters; the gradient has `rank` numbers for each output of each map.
        alpha: Scales the gradient by alpha / rank.
        seed: Of the random factors: gradients compare only under one seed.
    """

    rank: int = 64
    alpha: float = 32.0
    seed: int = 0


def row_gradients(engine: Engine, rows: Sequence[Encoded], adapters: Adapters) -> dict[str, NDArray[np.float32]]:
    """The gradient of each row's mean answer loss; by map, float32 [rows, outputs, rank].

    For small models and few rows: a 135M model has 10 M numbers a row at rank 64 (see `gram`). The gradient of the
    other factor is 0. Cost: a forward and a backward pass over the rows.
    """
    found: dict[str, NDArray[np.float32]] = {}

    def use(name: str, values: Tensor) -> None:
        found[name] = (values * (adapters.alpha / adapters.rank)).cpu().numpy()

    maps = linear_maps(engine.lm)
    _sweep(engine, rows, adapters, maps, use)
    return {name: found[name] for name in maps}


def gram(engine: Engine, rows: Sequence[Encoded], adapters: Adapters, memory: int = MEMORY) -> NDArray[np.float64]:
    """Dot products of all pairs of rows' gradients, summed over all maps; float64 [rows, rows].

    Cost: a forward and a backward pass over the rows. Where they do not fit one batch, their gradients have to wait for
    each other, and there are as many sweeps over the rows as it takes to hold no more than `memory` bytes of them.
    """
    total = np.zeros((len(rows), len(rows)))

    def use(_name: str, values: Tensor) -> None:
        flat = values.flatten(1)
        total[:] += (flat @ flat.T).double().cpu().numpy()

    maps = linear_maps(engine.lm)
    bytes_of = {name: 4 * len(rows) * sizes(module)[1] * adapters.rank for name, module in maps.items()}
    together = len(list(_parts([len(row.ids) for row in rows], engine.batch_tokens))) == 1
    group: dict[str, Any] = {}
    for name, module in maps.items():
        if group and not together and sum(bytes_of[n] for n in group) + bytes_of[name] > memory:
            _sweep(engine, rows, adapters, group, use)
            group = {}
        group[name] = module
    _sweep(engine, rows, adapters, group, use)
    return total * (adapters.alpha / adapters.rank) ** 2


def _sweep(
    engine: Engine,
    rows: Sequence[Encoded],
    adapters: Adapters,
    maps: Mapping[str, Any],
    use: Callable[[str, Tensor], None],
) -> None:
    """Calls `use(name, gradients)` for each map when all rows have theirs; float32 [rows, outputs, rank], unscaled."""
    lm = engine.lm
    downs = {name: fresh_down(name, m, adapters.rank, adapters.seed).to(lm.device) for name, m in maps.items()}
    waiting: dict[str, Tensor] = {}
    for first, last in _parts([len(row.ids) for row in rows], engine.batch_tokens):
        packed = pack([row.ids for row in rows[first:last]])

        def keep(name: str, inner: Tensor, gradient: Tensor, packed: Pack = packed, at: int = first) -> None:
            if name not in waiting:
                waiting[name] = inner.new_empty(len(rows), gradient.shape[1], inner.shape[1])
            for i, span in enumerate(packed.spans, at):
                own = slice(span.start, span.end)
                torch.matmul(gradient[own].float().T, inner[own], out=waiting[name][i])
            if at + len(packed.spans) == len(rows):
                use(name, waiting.pop(name))

        with engine.work.timed(), _watched(maps, downs, keep), _differentiable(lm):
            _backward(lm, packed, rows[first:last])
        engine.work.count(tokens=len(packed.ids), pairs=packed.pairs, texts=len(packed.spans), batches=1)


@contextmanager
def _watched(
    maps: Mapping[str, Any], downs: Mapping[str, Tensor], keep: Callable[[str, Tensor, Tensor], None]
) -> Iterator[None]:
    """Inside, a backward pass calls `keep(name, x down^T, gradient of the output)` for each map, both [tokens, …]."""

    def watch(name: str) -> Any:
        def hook(_module: Any, args: Any, output: Tensor) -> None:
            inner = args[0].detach().flatten(0, -2).float() @ downs[name].T
            output.register_hook(lambda gradient: keep(name, inner, gradient.flatten(0, -2)))  # type: ignore[no-untyped-call]

        return hook

    with ExitStack() as stack:
        for name, module in maps.items():
            stack.callback(module.register_forward_hook(watch(name)).remove)
        yield


@contextmanager
def _differentiable(lm: LanguageModel) -> Iterator[None]:
    """Inside, a pass records what a backward pass needs, although no weight of the model asks for a gradient."""
    handle = lm.model.get_input_embeddings().register_forward_hook(
        lambda _module, _args, output: output.requires_grad_()
    )
    try:
        with torch.enable_grad():
            yield
    finally:
        handle.remove()


def _backward(lm: LanguageModel, packed: Pack, rows: Sequence[Encoded]) -> None:
    """Backward pass of the sum of the rows' mean answer losses; logits exist for a chunk of positions at a time."""
    masks = [row.kinds == Kind.ANSWER for row in rows]
    at = np.concatenate([s.start + np.flatnonzero(m) for s, m in zip(packed.spans, masks, strict=True)])
    weights = torch.tensor(np.concatenate([np.full(m.sum(), 1 / m.sum()) for m in masks]), dtype=torch.float32)
    where = torch.from_numpy(at)
    labels = packed.ids[where]
    hidden = hidden_states(lm, packed)
    top = hidden.detach().requires_grad_()
    for part in torch.arange(len(at)).split(LOGIT_ROWS):  # type: ignore[no-untyped-call]
        losses = token_losses(lm, top[where[part].to(lm.device) - 1], labels[part].to(lm.device))
        (losses * weights[part].to(lm.device)).sum().backward()  # type: ignore[no-untyped-call]
    hidden.backward(top.grad)  # type: ignore[no-untyped-call]


def _parts(lengths: Sequence[int], budget: int) -> Iterator[tuple[int, int]]:
    """First and last row (excluded) of packs of at most `budget` tokens, or of one row."""
    first = tokens = 0
    for i, length in enumerate(lengths):
        if i > first and tokens + length > budget:
            yield first, i
            first, tokens = i, 0
        tokens += length
    if lengths:
        yield first, len(lengths)
