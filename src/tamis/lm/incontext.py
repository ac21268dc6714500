"""Answers of some rows in the context of others; a context is read once for all the answers that are judged in it.

A pack holds a context and, behind it, many rows that attend to it and to themselves only (`Span.prefix`), so what a
pair costs is the row's own tokens and not the context's. What all rows begin with (a system prompt, the preamble of a
template) is read once for each context too. A context stands in more than one pack only if its rows do not fit one; the
packs are at least `CONTEXTS` contexts long, so that this repeats at most one token in `CONTEXTS`.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.lm.cores import lanes, overlapped
from tamis.lm.encode import Encoded
from tamis.lm.engine import Engine
from tamis.lm.forward import hidden_states, token_losses
from tamis.lm.pack import pack
from tamis.lm.templates import Kind

log = logging.getLogger("tamis")
Ids = NDArray[np.int32]
CONTEXTS = 8
"""A pack has room for this many of the longest context at least."""


def answer_tail(row: Encoded, start: int) -> Encoded:
    """The row from its token `start` (what begins every text is dropped so) to the last token of its last answer."""
    end = int(np.flatnonzero(row.kinds == Kind.ANSWER)[-1]) + 1
    return Encoded(row.ids[start:end], row.kinds[start:end], row.cut)


def answer_losses(engine: Engine, contexts: Sequence[Ids], rows: Sequence[Encoded]) -> NDArray[np.float64]:
    """Mean loss of the answers of every row behind every context, in nats a token; float64 [contexts, rows].

    Every answer token counts and the same ones behind each context, an empty one too. Equal contexts are read once and
    get equal numbers. Cost: the tokens of each context, and of each row behind each context.

    Args:
        engine: The model, and the tokens of a batch.
        contexts: Token ids, with what begins a text and with the separator; may be empty.
        rows: Rows with at least one answer token and one token before it, without what begins a text.
    """
    distinct: dict[bytes, int] = {}
    place = [distinct.setdefault(ids.tobytes(), len(distinct)) for ids in contexts]
    common = _common_start(rows)
    heads = [np.concatenate([np.frombuffer(key, np.int32), rows[0].ids[:common]]) for key in distinct]
    tails = [row.ids[common:] for row in rows]
    masks = [row.kinds[common:] == Kind.ANSWER for row in rows]
    result = np.full((len(distinct), len(rows)), np.nan)
    budget = max(engine.batch_tokens, CONTEXTS * max(map(len, heads), default=0))
    if (at_once := lanes(engine.lm.device)) > 1:  # so many that none is read while the others have ended
        own = sum(map(len, tails))
        every = sum(map(len, heads)) + len(heads) * own
        budget = min(budget, max(max(map(len, heads), default=0) + own, every // (4 * at_once)))
    done, logged = 0, time.monotonic()
    groups = list(_packs([len(h) for h in heads], [len(t) for t in tails], budget))

    def read(group: Sequence[tuple[int, list[int]]]) -> Callable[[], list[float]]:
        losses = _losses(engine, [(heads[c], [(tails[r], masks[r]) for r in members]) for c, members in group])
        return lambda: losses

    for group, losses in zip(groups, overlapped(read, groups, engine.lm.device), strict=True):
        result[tuple(zip(*[(c, r) for c, members in group for r in members], strict=True))] = losses
        done += sum(len(members) for _, members in group)
        if time.monotonic() - logged > 10:
            logged = time.monotonic()
            log.info("read %d of %d answers in context", done, result.size)
    return result[place]


@torch.inference_mode()
def _losses(engine: Engine, group: Sequence[tuple[Ids, Sequence[tuple[Ids, NDArray[Any]]]]]) -> list[float]:
    """One call of the model for some contexts, each with the ids and answer masks behind it; losses in that order."""
    texts: list[Ids] = []
    prefixes: list[int | None] = []
    masks: dict[int, NDArray[Any]] = {}
    for head, members in group:
        behind = len(texts) if len(head) else None
        if len(head):
            texts.append(head)
            prefixes.append(None)
        for ids, mask in members:
            masks[len(texts)] = mask
            texts.append(ids)
            prefixes.append(behind)
    packed = pack(texts, prefixes)
    at = np.concatenate([packed.spans[i].start + np.flatnonzero(mask) for i, mask in masks.items()])
    with engine.work.timed():
        hidden = hidden_states(engine.lm, packed)
        where = torch.from_numpy(at).to(engine.lm.device)
        labels = packed.ids.to(engine.lm.device)[where]
        losses = token_losses(engine.lm, hidden[where - 1], labels).double().cpu().numpy()
    engine.work.count(tokens=len(packed.ids), pairs=packed.pairs, texts=len(texts), scored=len(at), batches=1)
    edges = np.cumsum([mask.sum() for mask in masks.values()])[:-1]
    return [float(part.mean()) for part in np.split(losses, edges)]


def _common_start(rows: Sequence[Encoded]) -> int:
    """Tokens with which all rows begin, ending at least one before the first answer token of each."""
    most = min(int(np.flatnonzero(row.kinds == Kind.ANSWER)[0]) - 1 for row in rows)
    table = np.stack([row.ids[:most] for row in rows])
    same = (table == table[0]).all(axis=0)
    return most if same.all() else int(np.argmin(same))


def _packs(heads: Sequence[int], tails: Sequence[int], budget: int) -> Iterator[list[tuple[int, list[int]]]]:
    """Lengths to packs of (context, its rows): in order, each context with all its rows in one pack if they fit."""
    group: list[tuple[int, list[int]]] = []
    free = budget
    total = sum(tails)
    for c, head in enumerate(heads):
        if group and head + total > free:
            yield group
            group, free = [], budget
        members: list[int] = []
        free -= head
        for r, tail in enumerate(tails):
            if members and tail > free:
                yield [*group, (c, members)]
                group, members, free = [], [], budget - head
            members.append(r)
            free -= tail
        group.append((c, members))
    if group:
        yield group
