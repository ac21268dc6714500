"""RICo: what a row contributes in context to answering other rows, and a classifier that learns to tell."""

import logging
import random
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from tamis import settings
from tamis.errors import UserError
from tamis.lm.observations import Classified, Observation
from tamis.pool.rows import Row, draw
from tamis.scorers.base import Array, Scorer, Selection, State

if TYPE_CHECKING:
    from tamis.lm.engine import Engine

log = logging.getLogger("tamis")
ALPHABET = string.ascii_letters + string.punctuation + string.digits + " "
SEPARATOR = "\n\n\n"
NO_LIMIT = 1 << 30
ID_BYTES = 32
Ids = NDArray[np.int32]


class RICo(Scorer):
    """How probably a row is among those that help most, as an example in context, to answer other rows.

    "RICo", AAAI 2026, arXiv 2505.05327 (first version: ICon). `fit` measures some candidates on the target's
    rows (see `measure`), labels the top `share` of them 1, and trains a classifier on the scoring model: a two-class
    head on the last token's hidden state, low-rank adapters (r 8, alpha 8, dropout 0.05) on the query and value
    projections. `score` is its probability of class 1, so the pool costs one pass a row. Set `share` to the share that
    is to be selected: the authors train a classifier for each, and the selections are not nested.

    Where this differs from the authors' code: the head is trained (theirs stays at its random beginning, because only
    parameters with "lora" in their name are; `frozen_head` does the same); a step has 16 rows, so that 500 candidates
    make about as many steps as their 5,000 with 128; the anchors are the target of the run, where theirs are a fixed
    set of 1,020 rows; labels go by the mean itself, as the stored significance ties where it saturates. The last tenth
    of the candidates is not trained on; the log says how well the classifier orders it. What was measured of each
    candidate (contribution, consistency, stability, coverage) stays beside the state as `rico.parquet`.

    Cost: to fit, 2 x candidates x anchors passes over an anchor and a few epochs over the candidates; then one pass.
    """

    class Settings(settings.Settings):
        """Settings of `rico`."""

        candidates: int = Field(default=500, ge=4)
        """Rows of the sample whose contribution is measured, to learn from (the authors: 5,000)."""
        anchors: int = Field(default=100, ge=1)
        """Rows of the target to answer in context, at most (the authors: 1,020)."""
        control: Literal["per-candidate", "per-pair"] = "per-candidate"
        """A random text for each candidate, read once for all anchors, or one for each pair as the authors draw."""
        context_tokens: int = Field(default=2040, ge=1)
        """Tokens of a candidate in context at most; a longer one is cut at its end."""
        share: float = Field(default=0.1, gt=0, lt=1)
        """Share of the candidates that is labelled 1; the share to be selected."""
        frozen_head: bool = False
        """Leave the classifier's head at its random beginning, as the authors' code does."""
        epochs: int = Field(default=5, ge=1)
        """Times that the classifier is trained on each candidate."""
        learning_rate: float = Field(default=5e-5, gt=0)
        """Highest learning rate of the classifier; rises over 3 % of the steps, then falls as a cosine."""
        batch_rows: int = Field(default=16, ge=1)
        """Rows of a training step (the authors: 128 of 4,500)."""
        seed: int = 0
        """Of all draws: candidates, anchors, random texts, the classifier's beginning and order."""

    paper: ClassVar[str] = "RICo, AAAI 2026, arXiv 2505.05327"
    cost: ClassVar[str] = "1 pass over the row; to fit, 2 x candidates x anchors passes over an anchor and training"
    needs: ClassVar[frozenset[str]] = frozenset({"target", "sample", "gradients"})
    columns: ClassVar[Mapping[str, str]] = {"rico": "probability of being among the rows that help most in context"}

    @property
    def observes(self) -> Mapping[str, Observation]:
        """Nothing before it has learned what to observe, see `observing`."""
        return {}

    def observing(self, state: State) -> Mapping[str, Observation]:
        """The classifier's probability."""
        prefix = "classifier/"
        weights = {name.removeprefix(prefix): w for name, w in state.items() if name.startswith(prefix)}
        return {"chance": Classified(weights)}

    def fit(self, engine: Any, target: Sequence[Row], sample: Sequence[Row]) -> State:
        """Measures candidates, labels them and trains the classifier; keeps both, see `measured`."""
        from tamis.lm.classifier import Training, train

        options = self.settings
        rows = draw(sample, options.candidates, options.seed)
        if len(rows) < options.candidates:
            log.warning("rico: the sample has %d rows; %d candidates were asked for", len(rows), options.candidates)
        measured = measure(engine, rows, target, options)
        scores = measured.table["global"].to_numpy()
        known = np.flatnonzero(np.isfinite(scores))
        best = max(1, round(options.share * len(known)))
        if len(known) <= best:
            raise UserError(f"rico: {len(known)} of {len(rows)} candidates have a score; too few to learn from")
        labels = np.full(len(rows), -1)
        labels[known] = 0
        labels[known[np.argsort(-scores[known], kind="stable")[:best]]] = 1
        training = Training(
            epochs=options.epochs,
            learning_rate=options.learning_rate,
            batch_rows=options.batch_rows,
            frozen_head=options.frozen_head,
            seed=options.seed,
        )
        trained = train(engine, [rows[i] for i in known], labels[known], training)
        ids = np.frombuffer(b"".join(row.id.encode().ljust(ID_BYTES, b"\0") for row in rows), np.uint8)
        state: State = {f"classifier/{name}": values for name, values in trained.weights.items()}
        state |= {"classifier_auc": np.array([trained.auc]), "classifier_losses": trained.losses}
        state |= {"candidates/id": ids.reshape(len(rows), ID_BYTES), "candidates/label": labels}
        columns = [name for name in measured.table.column_names if name not in ("id", "reason")]
        return state | {f"candidates/{name}": measured.table[name].to_numpy() for name in columns}

    def measured(self, state: State) -> pa.Table:
        """The candidates: `id`, `label` (-1 without a score) and the numbers of `Measured`, such as `consistency`."""
        prefix = "candidates/"
        columns = {name.removeprefix(prefix): values for name, values in state.items() if name.startswith(prefix)}
        ids = [bytes(row).rstrip(b"\0").decode() for row in columns.pop("id")]
        return pa.table({"id": pa.array(ids, pa.string())} | {name: pa.array(v) for name, v in columns.items()})

    def score(self, seen: Mapping[str, Array], state: State) -> dict[str, Array]:
        """The probability."""
        return {"rico": seen["chance"]}

    @property
    def selection(self) -> Selection:
        """The most probable."""
        return Selection("top", "rico")


@dataclass(frozen=True)
class Measured:
    """Contributions of candidates, measured.

    Attributes:
        table: A line a candidate, in order: `id`; `reason` (why it has no number, or null); `global`, the mean of its
            task scores; `significance`, that mean squeezed into -1 to 1; `consistency`, the share of task scores above
            0; `stability`, their variance (of the population); `coverage`, the share above 0.5; `anchors`, how many
            task scores are finite; `tokens` and `cut`, tokens of the context read and cut off; `control_tokens` and
            `control_cut`, the same of its random text (the mean over pairs where each pair has its own).
        tasks: The task scores, float64 [candidates, anchors]; NaN where there is none.
        anchors: Ids of the anchors that were used, in order.
        alone: Perplexity of each anchor without context, float64 [anchors].
    """

    table: pa.Table
    tasks: NDArray[np.float64]
    anchors: list[str]
    alone: NDArray[np.float64]


def task_score(alone: Any, behind_row: Any, behind_random: Any) -> Any:
    """Task-level RICo from three perplexities of an anchor: alone, behind the row, behind random text."""
    return (np.asarray(behind_random) - np.asarray(behind_row)) / (np.asarray(alone) + 1e-6)


def significance(mean: Any) -> Any:
    """2 / (1 + exp(-50 x)) - 1, exactly -1 or 1 beyond 0.5: monotone, so it orders rows as the mean does, but ties."""
    x = np.asarray(mean, np.float64)
    return np.where(np.abs(x) > 0.5, np.sign(x), np.tanh(25 * np.clip(x, -1, 1)))


def random_text(characters: int, key: str) -> str:
    """Random ASCII letters, digits, punctuation and blanks; the same for the same key on every machine."""
    return "".join(random.Random(key).choices(ALPHABET, k=characters))


def measure(engine: "Engine", candidates: Sequence[Row], anchors: Sequence[Row], settings: "RICo.Settings") -> Measured:
    """Measures what each candidate contributes, as context, to the answer of each anchor.

    `task_RICo(T, S) = (PPL(S | random) - PPL(S | T)) / (PPL(S) + 1e-6)`, with PPL the exponential of the mean loss of
    the answer's tokens. The random text stands for merely having something in front; it has as many characters as T,
    which makes it two to three times as many tokens. Both are written as the run's template writes a row (without the
    end-of-text marker of `alpaca`, `plain` and `tulu`, behind which a model would start afresh) and followed by three
    newlines.

    The authors draw a new random text for each pair, unseeded. Here one text for each candidate, from the seed and the
    candidate's id, serves all anchors, so that its keys and values are computed once; `control: per-pair` draws from
    both ids, at the price of reading every random text again for every anchor. Also unlike the authors' code, every
    answer token is scored, the same ones with and without context, whether or not the tokenizer has a BOS; an answer
    of one token has a score; and equal candidates stay apart.

    Cost: with `c` tokens a context, `a` an anchor: candidates x 2 x (c + anchors x a), and no backward pass.

    Args:
        engine: The model.
        candidates: Rows to measure; none is left out, one that cannot be read has its reason.
        anchors: Rows to answer; `settings.anchors` of them, drawn by the seed from those that can be read.
        settings: `control`, `context_tokens`, `anchors` and `seed` are used.

    Raises:
        UserError: No anchor can be read.
    """
    from tamis.lm.incontext import answer_losses

    frame = _frame(engine, anchors, settings)
    rows = _contexts(engine, candidates)
    index = [i for i, row in enumerate(rows) if isinstance(row, _Text)]
    texts = [row for row in rows if isinstance(row, _Text)]
    log.info("rico: measuring %d candidates on %d anchors, control %s", len(texts), len(frame.names), settings.control)
    alone = np.exp(answer_losses(engine, [frame.start], frame.tails)[0])
    lengths: list[list[int]] = []  # tokens of the random texts

    def controls(whom: str) -> list[Ids]:
        keys = [f"{settings.seed}/{candidates[i].id}{whom}" for i in index]
        drawn = [frame.ids(random_text(text.characters, key)) for text, key in zip(texts, keys, strict=True)]
        lengths.append([len(ids) for ids in drawn])
        return [frame.context(ids) for ids in drawn]

    given = [frame.context(text.ids) for text in texts]
    if settings.control == "per-candidate":
        behind, control = np.split(answer_losses(engine, given + controls(""), frame.tails), 2)
    else:
        behind = answer_losses(engine, given, frame.tails)
        pairs = zip(frame.names, frame.tails, strict=True)
        control = np.hstack([answer_losses(engine, controls(f"/{name}"), [tail]) for name, tail in pairs])

    tasks = np.full((len(rows), len(frame.names)), np.nan)
    with np.errstate(all="ignore"):
        tasks[index] = task_score(alone, np.exp(behind), np.exp(control))
    tasks[~np.isfinite(tasks)] = np.nan
    columns = summary(tasks)
    for name, tokens in {"": np.array([len(text.ids) for text in texts])[None], "control_": np.array(lengths)}.items():
        for column, values in ("tokens", np.minimum(tokens, frame.limit)), ("cut", np.maximum(0, tokens - frame.limit)):
            columns[name + column] = np.full(len(rows), np.nan)
            columns[name + column][index] = values.mean(axis=0)
    reasons = [row if isinstance(row, str) else None for row in rows]
    for i in np.flatnonzero(~np.isfinite(columns["global"])):
        reasons[i] = reasons[i] or "no finite loss of any anchor behind it"
    named = {"id": pa.array([row.id for row in candidates], pa.string()), "reason": pa.array(reasons, pa.string())}
    numbers = {name: pa.array(values, pa.float64(), from_pandas=True) for name, values in columns.items()}
    return Measured(pa.table(named | numbers), tasks, frame.names, alone)


def summary(tasks: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """What the authors keep of the task scores of each candidate, over those that are finite; see `Measured.table`."""
    finite = np.isfinite(tasks)
    number = finite.sum(axis=1)
    known = np.where(finite, tasks, 0.0)
    with np.errstate(all="ignore"):
        mean = known.sum(axis=1) / number
        variance = np.where(finite, (known - mean[:, None]) ** 2, 0.0).sum(axis=1) / number
        above, far = (known > 0).sum(axis=1) / number, (known > 0.5).sum(axis=1) / number
    return {
        "global": mean,
        "significance": significance(mean),
        "consistency": above,
        "stability": variance,
        "coverage": far,
        "anchors": number.astype(float),
    }


@dataclass(frozen=True)
class _Text:
    """A candidate as context: its token ids, without what begins a text, and the length of its text."""

    ids: Ids
    characters: int


@dataclass(frozen=True)
class _Frame:
    """What stands around the contexts: beginning, separator, and the anchors behind."""

    tokenizer: Any
    start: Ids
    separator: Ids
    names: list[str]
    tails: list[Any]
    limit: int

    def ids(self, text: str) -> Ids:
        """Token ids of a text without markers."""
        return _ids(self.tokenizer, text)

    def context(self, body: Ids) -> Ids:
        """All that stands before an anchor."""
        return np.concatenate([self.start, body[: self.limit], self.separator])


def _ids(tokenizer: Any, text: str) -> Ids:
    return np.array(tokenizer(text, add_special_tokens=False)["input_ids"], np.int32)


def _frame(engine: "Engine", anchors: Sequence[Row], settings: "RICo.Settings") -> _Frame:
    from tamis.lm.encode import Encoded, Encoder
    from tamis.lm.incontext import answer_tail

    window, usual = engine.lm.window, engine.encoder()
    # Half of the window at most, so that half of it is there for the context.
    encoder = Encoder(engine.lm.tokenizer, usual.template, min(usual.max_length, window // 2))
    drawn = draw(anchors, len(anchors), settings.seed)
    read = [(row, e) for row, e in zip(drawn, encoder.encode(drawn), strict=True) if isinstance(e, Encoded)]
    if len(read) < len(anchors):
        log.warning("rico: %d of %d target rows cannot be read and are left out", len(anchors) - len(read), len(drawn))
    if not read:
        raise UserError("rico: no row of the target can be read; it needs at least one as an anchor")
    read = read[: settings.anchors]
    if cut := sum(e.cut > 0 for _, e in read):
        log.warning("rico: %d of %d anchors are cut to %d tokens", cut, len(read), encoder.max_length)
    tails = [answer_tail(e, len(encoder.start)) for _, e in read]
    start = np.array(encoder.start, np.int32)
    separator = _ids(engine.lm.tokenizer, SEPARATOR)
    limit = min(settings.context_tokens, window - len(start) - len(separator) - max(len(t.ids) for t in tails))
    return _Frame(engine.lm.tokenizer, start, separator, [row.id for row, _ in read], tails, limit)


def _contexts(engine: "Engine", rows: Sequence[Row]) -> list[_Text | str]:
    """Each row as context, or why it cannot be read."""
    from tamis.lm.encode import Encoder, Unscorable
    from tamis.lm.templates import Kind

    template = engine.encoder().template
    encoder = Encoder(engine.lm.tokenizer, template, NO_LIMIT)
    result: list[_Text | str] = []
    for row, encoded in zip(rows, encoder.encode(rows), strict=True):
        if isinstance(encoded, Unscorable):
            result.append(encoded.reason)
            continue
        segments, end = template.segments(row), len(encoded.ids)
        if template.name != "chat":
            segments = [*segments[:-1], *(s for s in segments[-1:] if s.kind != Kind.END)]
            end = int(np.flatnonzero(encoded.kinds != Kind.END)[-1]) + 1
        result.append(_Text(encoded.ids[len(encoder.start) : end], sum(len(s.text) for s in segments)))
    return result
