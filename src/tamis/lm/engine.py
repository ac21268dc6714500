"""One pass, many scorers: observes rows, whoever asks, in the fewest passes.

All views of a row that somebody wants (the row itself, its answers alone) stand in one pack with other rows; a batch is
as many rows as fit its tokens. Nothing is padded and logits exist only where a loss is read, so the work is that of the
real tokens: two passes over the answers and one over the prompts for IFD, one over everything for RDS+, and nothing
more when both are asked.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tamis.lm.classifier import chances
from tamis.lm.cores import lanes, overlapped
from tamis.lm.encode import Context, Encoded, Encoder, Unscorable
from tamis.lm.forward import activations, hidden_states, token_losses
from tamis.lm.load import LanguageModel
from tamis.lm.observations import Activations, Classified, Embedded, Hidden, Loss, Observation, Text, TokenCount
from tamis.lm.pack import Pack, Span, pack
from tamis.lm.sentences import SentenceEncoder
from tamis.lm.templates import Kind, get_template
from tamis.lm.work import Work
from tamis.pool.rows import Row

Array = NDArray[Any]
Encodings = dict[str, list[Encoded | Unscorable]]
View = tuple[str, Context, bool]
"""Template, context, and whether a classifier reads it, in a pass of its own."""
LEAST = 512
"""Tokens below which a batch is not made smaller for the sake of other cores."""
_NO_PASS = Text | Embedded | TokenCount
_KINDS = {"answer": [Kind.ANSWER], "answer+end": [Kind.ANSWER, Kind.END], "all": list(Kind)}


@dataclass(frozen=True)
class Seen:
    """Observations of some rows.

    Attributes:
        index: Which of the given rows these are, int64 [rows].
        values: By the name under which each was asked, first axis [rows]; NaN where a row has no value.
    """

    index: NDArray[np.int64]
    values: dict[str, Array]


@dataclass
class Engine:
    """Observes rows with one model.

    Attributes:
        lm: The model.
        template: Name of the run's template.
        max_length: Tokens of a row at most; the model's window if 0.
        batch_tokens: Tokens of a batch at most, unless one row alone has more.
        work: Counts what was done since the engine was made.
        read: Of `work.tokens`, those of each view of the rows.
    """

    lm: LanguageModel
    template: str = "chat"
    max_length: int = 0
    batch_tokens: int = 2048
    work: Work = field(default_factory=Work)
    read: Counter[View] = field(default_factory=Counter)
    _sentences: dict[str, SentenceEncoder] = field(default_factory=dict, repr=False)
    _lock: Any = field(default_factory=Lock, repr=False)

    def sentences(self, encoder: str) -> SentenceEncoder:
        """A sentence encoder, loaded once."""
        if encoder not in self._sentences:
            self._sentences[encoder] = SentenceEncoder(encoder)
        return self._sentences[encoder]

    def encoder(self, template: str | None = None) -> Encoder:
        """The encoder of a template (the run's by default) at this engine's length."""
        limit = min(self.max_length or self.lm.window, self.lm.window)
        return Encoder(self.lm.tokenizer, get_template(template or self.template, self.lm.tokenizer), limit)

    def encode(self, rows: Sequence[Row], template: str | None = None) -> list[Encoded | Unscorable]:
        """Encodes rows in a template, see `Encoder.encode`."""
        return self.encoder(template).encode(rows)

    def observe(self, rows: Sequence[Row], wants: Mapping[str, Observation]) -> dict[str, Array]:
        """Everything asked of a few rows at once, in the order of the rows; NaN for a row without a value."""
        result: dict[str, Array] = {}
        for seen in self.stream(rows, wants):
            for name, values in seen.values.items():
                if name not in result:
                    empty = None if values.dtype == object else np.nan
                    result[name] = np.full((len(rows), *values.shape[1:]), empty, values.dtype)
                result[name][seen.index] = values
        return result

    def encode_all(self, rows: Sequence[Row], wants: Iterable[Observation]) -> Encodings:
        """Encodes rows in every template that these observations read; by the template's name, in the rows' order."""
        names = dict.fromkeys(want.template or self.template for want in wants if not isinstance(want, Text | Embedded))
        return {name: self.encoder(name).encode(rows) for name in names}

    def stream(
        self, rows: Sequence[Row], wants: Mapping[str, Observation], encoded: Encodings | None = None
    ) -> Iterator[Seen]:
        """Observes rows batch by batch, longest first, so that a lack of memory shows at once.

        A row that no template can encode is in no batch; where only one of several templates fails, it has NaN for it.

        Args:
            rows: The rows.
            wants: Observations by name.
            encoded: What `encode_all` gave for them, if it was asked before.
        """
        encoded = self.encode_all(rows, wants.values()) if encoded is None else encoded
        items = self._items(len(rows), wants.values(), encoded)
        lengths = {i: _tokens(views) for i, views in items.items()}
        for want in wants.values():
            if isinstance(want, Embedded):
                self.sentences(want.encoder)  # loaded before several threads ask for it
        launch = partial(self._launch, rows, wants, encoded, items)
        batches = list(_batches(lengths, self.batch_tokens, lanes(self.lm.device)))
        yield from overlapped(launch, batches, self.lm.device)

    def lengths(self, rows: int, wants: Iterable[Observation], encoded: Encodings) -> dict[int, int]:
        """Tokens that these observations read of each row, by its index; a row that cannot be read is not there."""
        return {i: _tokens(views) for i, views in self._items(rows, wants, encoded).items()}

    def views(self, wants: Iterable[Observation]) -> list[View]:
        """The views that these observations read, each once."""
        return sorted({_view(self.template, want) for want in wants if not isinstance(want, _NO_PASS)})

    def _items(self, rows: int, wants: Iterable[Observation], encoded: Encodings) -> dict[int, dict[View, Encoded]]:
        """What is read of each row that some template can encode."""
        views = self.views(wants)
        encoders = {name: self.encoder(name) for name in encoded}
        items: dict[int, dict[View, Encoded]] = {}
        for i in range(rows):
            whole = {name: some[i] for name, some in encoded.items()}
            if any(isinstance(e, Encoded) for e in whole.values()) or not whole:
                items[i] = {
                    (name, context, own): encoders[name].view(e, context)
                    for name, context, own in views
                    if isinstance(e := whole[name], Encoded)
                }
        return items

    def _launch(
        self,
        rows: Sequence[Row],
        wants: Mapping[str, Observation],
        encoded: Encodings,
        items: Mapping[int, dict[View, Encoded]],
        batch: Sequence[int],
    ) -> Callable[[], Seen]:
        """Starts a batch; what it returns waits for the batch's end."""
        values: dict[str, Array] = {}
        passes: dict[str, Observation] = {}
        for name, want in wants.items():
            if isinstance(want, Text):
                values[name] = np.array([_text(rows[i], want.part) for i in batch], dtype=object)
            elif isinstance(want, Embedded):
                values[name] = self.sentences(want.encoder).embed([_text(rows[i], want.part) for i in batch])
            elif isinstance(want, TokenCount):
                whole = [encoded[want.template or self.template][i] for i in batch]
                values[name] = np.array([_count(e, want.tokens) for e in whole], np.float64)
            else:
                passes[name] = want
        self.work.count(rows=len(batch))
        with self.work.timed():
            finish = self._passes([items[i] for i in batch], passes) if passes else dict

        def wait() -> Seen:
            with self.work.timed():
                return Seen(np.array(batch, np.int64), values | finish())

        return wait

    @torch.inference_mode()
    def _passes(
        self, rows: list[dict[View, Encoded]], wants: Mapping[str, Observation]
    ) -> Callable[[], dict[str, Array]]:
        """One call of the model over all views of these rows, and one for each classifier; returns what waits for them.

        Kept until then are the losses and the pooled vectors.
        """
        result: dict[str, Array] = {}
        for name, want in wants.items():
            if isinstance(want, Classified):
                view = _view(self.template, want)
                result[name] = self._classified(want, [row[view].ids if view in row else None for row in rows])
        wants = {name: want for name, want in wants.items() if name not in result}
        if not wants:
            return lambda: result
        keys = [(r, view) for r, parts in enumerate(rows) for view in parts if not view[2]]
        sequences = [rows[r][view] for r, view in keys]
        packed = pack([s.ids for s in sequences])
        place = dict(zip(keys, range(len(keys)), strict=True))
        sites = {want.site for want in wants.values() if isinstance(want, Activations)}
        with ExitStack() as hooks:
            collected = {site: hooks.enter_context(activations(self.lm, site)) for site in sites}
            hidden = hidden_states(self.lm, packed)
        self.work.count(pairs=packed.pairs, filled=packed.filled, batches=1)
        self._count((view, len(sequence.ids)) for (_, view), sequence in zip(keys, sequences, strict=True))

        def of(want: Observation) -> list[int | None]:
            assert not isinstance(want, Text | Embedded | TokenCount)
            return [place.get((r, _view(self.template, want))) for r in range(len(rows))]

        losses = {name: (want, of(want)) for name, want in wants.items() if isinstance(want, Loss)}
        means = self._losses(hidden, packed, sequences, losses)
        vectors: dict[str, Tensor] = {}
        for name, want in wants.items():
            if isinstance(want, Hidden):
                vectors[name] = _stack(
                    [None if p is None else _pool(hidden, packed.spans[p], want.pool) for p in of(want)]
                )
            elif isinstance(want, Activations):
                layers = collected[want.site]
                vectors[name] = _stack(
                    [None if p is None else _feature(layers, packed.spans[p], want.feature) for p in of(want)]
                )
        return lambda: result | means() | {name: vector.cpu().numpy() for name, vector in vectors.items()}

    def _classified(self, want: Classified, sequences: list[Array | None]) -> Array:
        """The probabilities of these sequences, NaN for one that is missing."""
        there = [i for i, ids in enumerate(sequences) if ids is not None]
        found = np.full(len(sequences), np.nan)
        own = [ids for ids in sequences if ids is not None]
        if own:
            found[there] = chances(self.lm, own, want.weights)
            self.work.count(batches=1)
            self._count((_view(self.template, want), len(ids)) for ids in own)
        return found

    def _count(self, texts: Iterable[tuple[View, int]]) -> None:
        """Counts texts that were read, each by its view and its tokens."""
        with self._lock:
            for view, tokens in texts:
                self.read[view] += tokens
                self.work.count(texts=1, tokens=tokens)

    def _losses(
        self,
        hidden: Tensor,
        packed: Pack,
        sequences: list[Encoded],
        wants: Mapping[str, tuple[Loss, list[int | None]]],
    ) -> Callable[[], dict[str, Array]]:
        """Mean losses, each position's logits computed once for everyone who reads it; returns what waits for them."""
        spans = packed.spans
        needed = np.zeros(len(packed.ids), bool)  # by the token that is predicted
        masks: dict[tuple[int, str], Array] = {}
        for want, places in wants.values():
            for p in places:
                if p is None:
                    continue
                mask = np.isin(sequences[p].kinds, _KINDS[want.tokens])
                mask[0] = False  # nothing precedes the first token
                masks[p, want.tokens] = mask
                needed[spans[p].start : spans[p].end] |= mask
        at = torch.from_numpy(np.flatnonzero(needed))
        labels = packed.ids[at].to(hidden.device, non_blocking=True)
        found = token_losses(self.lm, hidden[(at - 1).to(hidden.device, non_blocking=True)], labels)
        self.work.count(scored=len(at))

        def means() -> dict[str, Array]:
            loss = np.full(len(packed.ids), np.nan)
            loss[needed] = found.double().cpu().numpy()
            result: dict[str, Array] = {}
            for name, (want, places) in wants.items():
                result[name] = np.full(len(places), np.nan)
                for r, p in enumerate(places):
                    if p is not None and masks[p, want.tokens].any():
                        own = loss[spans[p].start : spans[p].end]
                        result[name][r] = own[masks[p, want.tokens]].mean()
            return result

        return means


def _view(template: str, want: Any) -> View:
    return (want.template or template, want.context, isinstance(want, Classified))


def _tokens(views: Mapping[View, Encoded]) -> int:
    return sum(len(view.ids) for view in views.values())


def _batches(lengths: Mapping[int, int], budget: int, at_once: int) -> Iterator[list[int]]:
    """Groups rows, longest first, into batches of at most `budget` tokens.

    Where several are read at once, the last ones are smaller, so that none is read while the others have ended.
    """

    def room() -> int:
        return budget if at_once == 1 else min(budget, max(LEAST, left // (2 * at_once)))

    batch: list[int] = []
    tokens, left = 0, sum(lengths.values())
    for i in sorted(lengths, key=lambda i: (-lengths[i], i)):
        if batch and tokens + lengths[i] > room():
            yield batch
            left -= tokens
            batch, tokens = [], 0
        batch.append(i)
        tokens += max(1, lengths[i])
    if batch:
        yield batch


def _text(row: Row, part: str) -> str:
    return row.text(*{"all": (), "prompt": ("system", "user"), "answer": ("assistant",)}[part])


def _count(row: Encoded | Unscorable, tokens: str) -> float:
    return float("nan") if isinstance(row, Unscorable) else float(np.isin(row.kinds, _KINDS[tokens]).sum())


def _pool(hidden: Tensor, span: Span, how: str) -> Tensor:
    """Pools the hidden states of one row in float32; [width]."""
    own = hidden[span.start : span.end].float()
    if how == "last":
        return own[-1]
    if how == "mean":
        return own.mean(0)
    weights = torch.arange(1, len(own) + 1, device=own.device, dtype=torch.float32)
    return (weights / weights.sum()) @ own


def _feature(layers: list[Tensor], span: Span, how: str) -> Tensor:
    """One vector a layer for one row in float32; [layers, width]."""
    if how == "mean":
        return torch.stack([layer[span.start : span.end].float().mean(0) for layer in layers])
    last = torch.stack([layer[span.end - 1] for layer in layers]).float()
    return last if how == "last" else last - torch.stack([layer[span.start] for layer in layers]).float()


def _stack(parts: list[Tensor | None]) -> Tensor:
    """Rows to one tensor, NaN for a missing one."""
    like = next(p for p in parts if p is not None)
    return torch.stack([torch.full_like(like, float("nan")) if p is None else p for p in parts])
