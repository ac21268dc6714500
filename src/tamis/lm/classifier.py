"""A classifier of rows on top of the loaded model: low-rank adapters and a head on the last token's hidden state."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from tamis.errors import TamisError, UserError
from tamis.lm.encode import Encoded
from tamis.lm.forward import hidden_states
from tamis.lm.load import LanguageModel
from tamis.lm.lora import Pair, adapted, attention_maps, fresh_down, sizes
from tamis.lm.pack import pack
from tamis.pool.rows import Row

if TYPE_CHECKING:
    from tamis.lm.engine import Engine

log = logging.getLogger("tamis")
Ids = NDArray[np.int32]
Labelled = tuple[Ids, int]
Weights = dict[str, NDArray[np.float32]]
"""`head` [classes, width], and for each adapted map `<name>/down` [rank, inputs] and `<name>/up` [outputs, rank]."""


@dataclass(frozen=True)
class Training:
    """How a classifier is trained; the defaults are those of RICo, arXiv 2505.05327.

    Attributes:
        rank: Of the adapters.
        alpha: The adapters' output is scaled by alpha / rank.
        dropout: Of the adapters' input.
        epochs: Times that each row is seen.
        learning_rate: The highest; AdamW without decay, gradients clipped to a norm of 1.
        warmup: Share of the steps over which the rate rises; then it falls as a cosine.
        batch_rows: Rows of a step.
        frozen_head: Leave the head as it begins.
        holdout: Share of the rows, the last ones, that only measures.
        seed: Of the beginning, the order and the dropout.
    """

    rank: int = 8
    alpha: float = 8.0
    dropout: float = 0.05
    epochs: int = 5
    learning_rate: float = 5e-5
    warmup: float = 0.03
    batch_rows: int = 16
    frozen_head: bool = False
    holdout: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class Trained:
    """A trained classifier.

    Attributes:
        weights: What `chances` reads.
        losses: Mean loss of each epoch, float64 [epochs].
        auc: Area under the ROC curve on the rows left out: 0.5 is chance, NaN if they lack a class.
    """

    weights: Weights
    losses: NDArray[np.float64]
    auc: float


def train(engine: "Engine", rows: Sequence[Row], labels: NDArray[Any], training: Training) -> Trained:
    """Trains a two-class classifier; the model's own weights stay as they are.

    Cost: `epochs` times a forward and a backward pass over the rows (without gradients of the model's own weights).

    Args:
        engine: The model and the tokens of a batch.
        rows: Rows; one that the template or the window refuses is left out and counted in the log.
        labels: 0 or 1, int [rows].
        training: How.

    Raises:
        UserError: A class is missing, or the model has no projections to adapt.
        TamisError: The loss is no longer a number.
    """
    lm = engine.lm
    encoded = zip(engine.encode(rows), labels, strict=True)
    read: list[Labelled] = [(e.ids, int(y)) for e, y in encoded if isinstance(e, Encoded)]
    if len(read) < len(rows):
        log.warning("classifier: %d of %d rows cannot be read and are left out", len(rows) - len(read), len(rows))
    kept = read[: math.ceil(len(read) * (1 - training.holdout))]
    if len({y for _, y in kept}) < 2:
        raise UserError("the classifier has rows of only one class to learn from; give it more candidates")

    pairs, head = _begin(lm, training)
    parameters = [factor for pair in pairs.values() for factor in pair] + ([] if training.frozen_head else [head])
    for parameter in parameters:
        parameter.requires_grad_(True)
    steps = training.epochs * math.ceil(len(kept) / training.batch_rows)
    optimizer = torch.optim.AdamW(parameters, lr=training.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _cosine(steps, math.ceil(training.warmup * steps)))
    random = np.random.default_rng(training.seed)
    losses = np.zeros(training.epochs)
    with torch.random.fork_rng(devices=[lm.device] if lm.device.type == "cuda" else []):
        torch.manual_seed(training.seed)
        for epoch in range(training.epochs):
            order = random.permutation(len(kept))
            for start in range(0, len(kept), training.batch_rows):
                batch = [kept[i] for i in order[start : start + training.batch_rows]]
                losses[epoch] += _backward(engine, batch, pairs, head, training) / len(kept)
                torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
            if not math.isfinite(losses[epoch]):
                raise TamisError("the classifier's loss is no longer a number; lower its learning rate")
            log.info("classifier: epoch %d of %d, loss %.4f", epoch + 1, training.epochs, losses[epoch])

    scale = training.alpha / training.rank
    weights: Weights = {"head": head.detach().cpu().numpy()}
    for name, (down, up) in pairs.items():
        weights[f"{name}/down"] = down.detach().cpu().numpy()
        weights[f"{name}/up"] = (scale * up).detach().cpu().numpy()
    held = read[len(kept) :]
    found = [chances(lm, [ids for ids, _ in part], weights) for part in _parts(held, engine.batch_tokens)]
    auc = _auc(np.concatenate(found), np.array([y for _, y in held])) if held else math.nan
    log.info("classifier: area under the ROC curve %.3f on %d rows left out (chance: 0.5)", auc, len(held))
    return Trained(weights, losses, auc)


@torch.inference_mode()
def chances(lm: LanguageModel, sequences: Sequence[Ids], weights: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Probability of class 1 for each sequence of token ids, all in one pass; float64 [sequences].

    Args:
        lm: The model that the classifier was trained on.
        sequences: Token ids.
        weights: As `train` made them.
    """
    tensors = {name: torch.from_numpy(np.asarray(w, np.float32)).to(lm.device) for name, w in weights.items()}
    names = [name.removesuffix("/down") for name in tensors if name.endswith("/down")]
    with adapted(lm, {name: (tensors[f"{name}/down"], tensors[f"{name}/up"]) for name in names}):
        scores = _last(lm, sequences) @ tensors["head"].T
    out: NDArray[np.float64] = scores.double().softmax(-1)[:, 1].cpu().numpy()
    return out


def _begin(lm: LanguageModel, training: Training) -> tuple[dict[str, Pair], Tensor]:
    """Adapters that change nothing yet, and a random head."""
    pairs = {}
    for name, module in attention_maps(lm).items():
        down = fresh_down(name, module, training.rank, training.seed)
        pairs[name] = (down.to(lm.device), torch.zeros(sizes(module)[1], training.rank, device=lm.device))
    config = lm.model.config.get_text_config()
    generator = torch.Generator().manual_seed(training.seed)
    head = torch.randn(2, config.hidden_size, generator=generator) * float(getattr(config, "initializer_range", 0.02))
    return pairs, head.to(lm.device)


def _backward(
    engine: "Engine", batch: Sequence[Labelled], pairs: Mapping[str, Pair], head: Tensor, training: Training
) -> float:
    """Adds the gradient of the batch's mean loss; returns the sum of its losses."""
    total = 0.0
    scale = training.alpha / training.rank
    for part in _parts(batch, engine.batch_tokens):
        changed = {name: (down, scale * up) for name, (down, up) in pairs.items()}
        with engine.work.timed():
            with adapted(engine.lm, changed, training.dropout):
                scores = _last(engine.lm, [ids for ids, _ in part]) @ head.T
            labels = torch.tensor([y for _, y in part], device=scores.device)
            loss = cross_entropy(scores, labels, reduction="sum")
            (loss / len(batch)).backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        engine.work.count(tokens=sum(len(ids) for ids, _ in part), texts=len(part), batches=1)
    return total


def _last(lm: LanguageModel, sequences: Sequence[Ids]) -> Tensor:
    """Hidden state of each sequence's last token, float32 [sequences, width]."""
    packed = pack(sequences)
    ends = torch.tensor([span.end - 1 for span in packed.spans], device=lm.device)
    return hidden_states(lm, packed)[ends].float()


def _parts(rows: Sequence[Labelled], budget: int) -> Iterator[list[Labelled]]:
    """Rows in order, in parts of at most `budget` tokens, or of one row."""
    part: list[Labelled] = []
    for row in rows:
        if part and sum(len(ids) for ids, _ in part) + len(row[0]) > budget:
            yield part
            part = []
        part.append(row)
    if part:
        yield part


def _cosine(steps: int, warmup: int) -> Callable[[int], float]:
    """Rises over `warmup` steps, then falls to 0 at the last one."""

    def rate(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    return rate


def _auc(scores: NDArray[Any], labels: NDArray[Any]) -> float:
    """Share of pairs of one row of each class that are in the right order; ties count half."""
    ones, zeros = scores[labels == 1], scores[labels == 0]
    if not (len(ones) and len(zeros)):
        return math.nan
    above = (ones[:, None] > zeros).sum() + 0.5 * (ones[:, None] == zeros).sum()
    return float(above / (len(ones) * len(zeros)))
