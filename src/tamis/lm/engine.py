"""One pass, many scorers: observes rows, whoever asks, in the fewest passes.

All views of a row that somebody wants (the row itself, its answers alone) stand in one pack with other rows; a batch is
as many rows as fit its tokens. Nothing is padded and logits exist only where a loss is read, so the work is that of the
real tokens: two passes over the answers and one over the prompts for IFD, one over everything for RDS+, and nothing
more when both are asked.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.lm.classifier import chances
from tamis.lm.encode import Context, Encoded, Encoder, Unscorable
from tamis.lm.forward import activations, hidden_states, token_losses
from tamis.lm.load import LanguageModel
from tamis.lm.observations import Activations, Classified, Embedded, Hidden, Loss, Observation, Text, TokenCount
from tamis.lm.pack import Span, pack
from tamis.lm.sentences import SentenceEncoder
from tamis.lm.templates import Kind, get_template
from tamis.pool.rows import Row

Array = NDArray[Any]
Encodings = dict[str, list[Encoded | Unscorable]]
_KINDS = {"answer": [Kind.ANSWER], "answer+end": [Kind.ANSWER, Kind.END], "all": list(Kind)}


@dataclass
class Work:
    """What the passes did, for the accounting of a run.

    Attributes:
        rows: Rows observed.
        tokens: Tokens read by the model; none of them is padding.
        scored: Positions at which logits were computed.
        batches: Calls of the model.
    """

    rows: int = 0
    tokens: int = 0
    scored: int = 0
    batches: int = 0


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
    """

    lm: LanguageModel
    template: str = "chat"
    max_length: int = 0
    batch_tokens: int = 2048
    work: Work = field(default_factory=Work)
    _sentences: dict[str, SentenceEncoder] = field(default_factory=dict, repr=False)

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
        readers = {name: want for name, want in wants.items() if not isinstance(want, Text | Embedded)}
        encoded = self.encode_all(rows, wants.values()) if encoded is None else encoded
        names = list(encoded)
        encoders = {name: self.encoder(name) for name in names}
        views = sorted({_view(self.template, want) for want in readers.values() if not isinstance(want, TokenCount)})

        items: dict[int, dict[tuple[str, Context], Encoded]] = {}
        for i in range(len(rows)):
            whole = {name: encoded[name][i] for name in names}
            if any(isinstance(e, Encoded) for e in whole.values()) or not names:
                items[i] = {
                    (name, context): encoders[name].view(e, context)
                    for name, context in views
                    if isinstance(e := whole[name], Encoded)
                }
        lengths = {i: sum(len(v.ids) for v in parts.values()) for i, parts in items.items()}
        for batch in _batches(lengths, self.batch_tokens):
            index = np.array(batch, np.int64)
            values: dict[str, Array] = {}
            for name, want in wants.items():
                if isinstance(want, Text):
                    values[name] = np.array([_text(rows[i], want.part) for i in batch], dtype=object)
                elif isinstance(want, Embedded):
                    values[name] = self.sentences(want.encoder).embed([_text(rows[i], want.part) for i in batch])
                elif isinstance(want, TokenCount):
                    whole_rows = [encoded[want.template or self.template][i] for i in batch]
                    values[name] = np.array([_count(e, want.tokens) for e in whole_rows], np.float64)
            if views:
                passes = {n: w for n, w in readers.items() if not isinstance(w, TokenCount)}
                values |= self._passes([items[i] for i in batch], passes)
            self.work.rows += len(batch)
            yield Seen(index, values)

    @torch.inference_mode()
    def _passes(
        self, rows: list[dict[tuple[str, Context], Encoded]], wants: Mapping[str, Observation]
    ) -> dict[str, Array]:
        """One call of the model over all views of these rows, and one for each classifier."""
        result: dict[str, Array] = {}
        for name, want in wants.items():
            if isinstance(want, Classified):
                view = _view(self.template, want)
                result[name] = self._classified(want, [row[view].ids if view in row else None for row in rows])
        wants = {name: want for name, want in wants.items() if name not in result}
        if not wants:
            return result
        keys = [(r, view) for r, parts in enumerate(rows) for view in parts]
        sequences = [rows[r][view] for r, view in keys]
        packed = pack([s.ids for s in sequences])
        place = dict(zip(keys, range(len(keys)), strict=True))
        sites = {want.site for want in wants.values() if isinstance(want, Activations)}
        with ExitStack() as hooks:
            collected = {site: hooks.enter_context(activations(self.lm, site)) for site in sites}
            hidden = hidden_states(self.lm, packed)
        self.work.tokens += len(packed.ids)
        self.work.batches += 1

        def of(want: Observation) -> list[int | None]:
            assert not isinstance(want, Text | Embedded | TokenCount)
            return [place.get((r, _view(self.template, want))) for r in range(len(rows))]

        losses = {name: want for name, want in wants.items() if isinstance(want, Loss)}
        result |= self._losses(hidden, packed.ids, packed.spans, sequences, {n: (w, of(w)) for n, w in losses.items()})
        for name, want in wants.items():
            if isinstance(want, Hidden):
                result[name] = _stack(
                    [None if p is None else _pool(hidden, packed.spans[p], want.pool) for p in of(want)]
                )
            elif isinstance(want, Activations):
                layers = collected[want.site]
                result[name] = _stack(
                    [None if p is None else _feature(layers, packed.spans[p], want.feature) for p in of(want)]
                )
        return result

    def _classified(self, want: Classified, sequences: list[Array | None]) -> Array:
        """The probabilities of these sequences, NaN for one that is missing."""
        there = [i for i, ids in enumerate(sequences) if ids is not None]
        found = np.full(len(sequences), np.nan)
        own = [ids for ids in sequences if ids is not None]
        if own:
            found[there] = chances(self.lm, own, want.weights)
            self.work.tokens += sum(map(len, own))
            self.work.batches += 1
        return found

    def _losses(
        self,
        hidden: torch.Tensor,
        ids: torch.Tensor,
        spans: tuple[Span, ...],
        sequences: list[Encoded],
        wants: Mapping[str, tuple[Loss, list[int | None]]],
    ) -> dict[str, Array]:
        """Mean losses, each position's logits computed once for everyone who reads it."""
        needed = np.zeros(len(ids), bool)  # by the token that is predicted
        masks: dict[tuple[int, str], Array] = {}
        for want, places in wants.values():
            for p in places:
                if p is None:
                    continue
                mask = np.isin(sequences[p].kinds, _KINDS[want.tokens])
                mask[0] = False  # nothing precedes the first token
                masks[p, want.tokens] = mask
                needed[spans[p].start : spans[p].end] |= mask
        at = np.flatnonzero(needed)
        where = torch.from_numpy(at).to(hidden.device)
        labels = ids.to(hidden.device)[where]
        loss = np.full(len(ids), np.nan)
        loss[at] = token_losses(self.lm, hidden[where - 1], labels).double().cpu().numpy()
        self.work.scored += len(at)

        result: dict[str, Array] = {}
        for name, (want, places) in wants.items():
            means = np.full(len(places), np.nan)
            for r, p in enumerate(places):
                if p is not None and masks[p, want.tokens].any():
                    means[r] = loss[spans[p].start : spans[p].end][masks[p, want.tokens]].mean()
            result[name] = means
        return result


def _view(template: str, want: Any) -> tuple[str, Context]:
    return (want.template or template, want.context)


def _batches(lengths: Mapping[int, int], budget: int) -> Iterator[list[int]]:
    """Groups rows, longest first, into batches of at most `budget` tokens."""
    batch: list[int] = []
    tokens = 0
    for i in sorted(lengths, key=lambda i: (-lengths[i], i)):
        if batch and tokens + lengths[i] > budget:
            yield batch
            batch, tokens = [], 0
        batch.append(i)
        tokens += max(1, lengths[i])
    if batch:
        yield batch


def _text(row: Row, part: str) -> str:
    return row.text(*{"all": (), "prompt": ("system", "user"), "answer": ("assistant",)}[part])


def _count(row: Encoded | Unscorable, tokens: str) -> float:
    return float("nan") if isinstance(row, Unscorable) else float(np.isin(row.kinds, _KINDS[tokens]).sum())


def _pool(hidden: torch.Tensor, span: Span, how: str) -> torch.Tensor:
    """Pools the hidden states of one row in float32; [width]."""
    own = hidden[span.start : span.end].float()
    if how == "last":
        return own[-1]
    if how == "mean":
        return own.mean(0)
    weights = torch.arange(1, len(own) + 1, device=own.device, dtype=torch.float32)
    return (weights / weights.sum()) @ own


def _feature(layers: list[torch.Tensor], span: Span, how: str) -> torch.Tensor:
    """One vector a layer for one row in float32; [layers, width]."""
    if how == "mean":
        return torch.stack([layer[span.start : span.end].float().mean(0) for layer in layers])
    last = torch.stack([layer[span.end - 1] for layer in layers]).float()
    return last if how == "last" else last - torch.stack([layer[span.start] for layer in layers]).float()


def _stack(parts: list[torch.Tensor | None]) -> Array:
    """Rows to one array, NaN for a missing one."""
    like = next(p for p in parts if p is not None)
    full = [torch.full_like(like, float("nan")) if p is None else p for p in parts]
    out: Array = torch.stack(full).cpu().numpy()
    return out
