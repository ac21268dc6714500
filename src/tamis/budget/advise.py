"""CoS-Low: how alike the gradients of a task's least certain rows are, and the budget that follows from it.

Je & Raffel 2025, arXiv 2512.24991. Where the rows on which a model is least sure all pull its weights in one direction,
few of them teach the task; where they pull apart, many are needed. Steps: a greedy answer of at most 30 tokens to every
row, and the mean of the model's probabilities of its tokens as the row's confidence; 32 rows of the lowest decile, with
their true answers; their gradients as seen by fresh adapters (rank 64, alpha 32, all linear maps); the median of the
cosines of all pairs. It speaks of a task, not of rows, and correlates with the measured efficiency at about 0.68.

The task's rows are the run's target; without one, a sample of the pool stands for a task of its own kind. The true
answers matter only for the rows that are drawn, so a large target costs little labelling.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tamis import settings
from tamis.budget.efficiency import learning_curve, rows_for
from tamis.budget.predict import COEFFICIENTS, Coefficients, predict_efficiency
from tamis.errors import UserError
from tamis.pool.rows import Row, draw

if TYPE_CHECKING:
    from tamis.lm.engine import Engine
    from tamis.lm.generate import Continuation

log = logging.getLogger("tamis")


class AdviceSettings(settings.Settings):
    """Settings of the advice."""

    family: Literal["default", "llama-3.1-8b", "mistral-7b", "qwen2.5-14b"] = "default"
    """Whose line predicts the efficiency, if it is not given."""
    slope: float | None = None
    """Of a line fitted to this model's own tasks (`fit_coefficients`); with `intercept`."""
    intercept: float | None = None
    """Of that line."""
    rows: int = Field(default=1000, ge=2)
    """Rows whose confidence is read, at most, drawn by the seed (the authors: all)."""
    lowest: float = Field(default=0.1, gt=0, le=1)
    """Share of the least confident rows to draw from; widened to `labelled` rows where it has fewer."""
    labelled: int = Field(default=32, ge=2)
    """Rows whose gradients are compared."""
    tokens: int = Field(default=30, ge=1)
    """New tokens of an answer at most."""
    rank: int = Field(default=64, ge=1)
    """Of the adapters through which gradients are seen."""
    seed: int = 0
    """Of the draws and of the adapters' random factors."""

    @property
    def coefficients(self) -> Coefficients:
        """The line to predict with.

        Raises:
            UserError: Only one of slope and intercept is given.
        """
        if (self.slope is None) != (self.intercept is None):
            raise UserError("budget: give both slope and intercept, or neither")
        if self.slope is None or self.intercept is None:
            return COEFFICIENTS[self.family]
        return Coefficients(self.slope, self.intercept)


@dataclass(frozen=True)
class Advice:
    """How many rows a task needs.

    Attributes:
        rows: Rows that bring the wanted share of what 5,000 rows would bring: 2^(share^(1/p) log2 5000), with
            p = (1 - efficiency) / efficiency.
        share: The wanted share.
        efficiency: Predicted data efficiency, 0 to 1.
        cosine: CoS-Low, the median cosine.
        curve: Predicted share of the gain by number of rows.
        confidence: Mean confidence of the rows that were read, and the highest of those that were drawn from.
        drawn: Ids of the rows whose gradients were compared.
        left_out: Rows without a confidence or a gradient, by reason.
        cost: Tokens that the model read (for the drawn rows, forward and backward), positions with logits, calls.
        warnings: What to know before trusting it.
    """

    rows: int
    share: float
    efficiency: float
    cosine: float
    curve: dict[int, float]
    confidence: dict[str, float]
    drawn: list[str]
    left_out: dict[str, int]
    cost: dict[str, float]
    warnings: list[str]


def read_auto(budget: str) -> float | None:
    """The wanted share of a budget written `auto:0.9` (`auto` alone means 0.9); None for any other budget.

    Raises:
        UserError: What follows `auto:` is no share.
    """
    name, _, text = str(budget).strip().partition(":")
    if name != "auto":
        return None
    try:
        share = float(text or 0.9)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise UserError(f"budget '{budget}': write auto:0.9 for 90 % of the performance that is in reach")
    return share


def advise(engine: "Engine", rows: Sequence[Row], share: float, options: AdviceSettings | None = None) -> Advice:
    """Predicts how many rows a task needs for a share of the performance that 5,000 rows would bring.

    Cost: for each row a pass over its prompt and up to 30 new tokens, one at a time; for each of the 32 drawn a forward
    and a backward pass.

    Args:
        engine: The model that is to be trained, as it is before.
        rows: Rows of the task (the run's target).
        share: Wanted, above 0 and at most 1.
        options: The measure's own settings.

    Raises:
        UserError: Fewer than two rows that can be read, a share out of range, or settings that contradict each other.
    """
    from tamis.lm.encode import Encoded
    from tamis.lm.generate import continue_greedily
    from tamis.lm.gradients import Adapters, gram

    options = options or AdviceSettings()
    line = options.coefficients
    rows_for(share, 0.5)  # refuses a wrong share before the work
    before = asdict(engine.work)
    asked = draw(rows, options.rows, options.seed)
    read = [(row, e) for row, e in zip(asked, engine.encode(asked), strict=True) if isinstance(e, Encoded)]
    left_out = {"the model cannot read it": len(asked) - len(read)}
    log.info("budget: reading the confidence of %d rows", len(read))
    made = continue_greedily(engine, [_prompt(e) for _, e in read], options.tokens)
    sure = np.array([confidence(engine, c) for c in made])
    left_out["its answer has no words"] = int(np.isnan(sure).sum())
    low = least_confident(sure, options.lowest, options.labelled)
    if len(low) < 2:
        raise UserError(
            f"budget: {len(low)} of {len(rows)} rows of the target have a confidence; at least 2 are needed"
        )
    place = {read[i][0].id: i for i in low}
    drawn = [place[row.id] for row in draw([read[i][0] for i in low], options.labelled, options.seed)]
    adapters = Adapters(rank=options.rank, seed=options.seed)  # their scale cancels in a cosine
    products = gram(engine, [read[i][1] for i in drawn], adapters)
    cosine = median_cosine(products)
    left_out["its gradient is zero"] = int((~(np.diag(products) > 0)).sum())
    efficiency = predict_efficiency(cosine, line)
    after = asdict(engine.work)
    return Advice(
        rows=rows_for(share, efficiency),
        share=share,
        efficiency=efficiency,
        cosine=cosine,
        curve=learning_curve(efficiency),
        confidence={"mean": float(np.nanmean(sure)), "highest_drawn_from": float(sure[low].max())},
        drawn=[read[i][0].id for i in drawn],
        left_out={reason: n for reason, n in left_out.items() if n},
        cost={key: after[key] - before[key] for key in ("tokens", "scored", "batches")},
        warnings=_warnings(options, len(drawn), int(np.isfinite(sure).sum())),
    )


def confidence(engine: "Engine", made: "Continuation") -> float:
    """Mean probability of the tokens of a greedy answer that say something: no markers, nothing but white space.

    NaN if none does. The authors mask the ids of line ends and end markers, model by model; this is their common rule.
    """
    tokenizer = engine.lm.tokenizer
    silent = set(tokenizer.all_special_ids)
    says = [int(i) not in silent and tokenizer.decode([int(i)]).strip() != "" for i in made.ids]
    return float(made.chances[says].mean()) if any(says) else float("nan")


def least_confident(sure: NDArray[np.float64], lowest: float, number: int) -> list[int]:
    """The rows at or below a quantile of the confidences, but at least `number` if there are so many; no NaN.

    Args:
        sure: Confidence of each row.
        lowest: The quantile, 0 to 1.
        number: Rows at least.
    """
    known = np.flatnonzero(np.isfinite(sure))
    if not len(known):
        return []
    order = known[np.argsort(sure[known], kind="stable")]
    within = int((sure[known] <= np.quantile(sure[known], lowest)).sum())
    return [int(i) for i in order[: max(within, number)]]


def median_cosine(products: NDArray[np.float64]) -> float:
    """Median of the cosines of all pairs, from the matrix of their dot products; a zero vector is in no pair.

    Raises:
        UserError: Fewer than two vectors that are not zero.
    """
    norms = np.sqrt(np.diag(products))
    known = np.flatnonzero(norms > 0)
    if len(known) < 2:
        raise UserError(f"budget: {len(known)} of {len(norms)} rows have a gradient; at least 2 are needed")
    cosines = products[np.ix_(known, known)] / np.outer(norms[known], norms[known])
    return float(np.median(cosines[np.triu_indices(len(known), 1)]))


def _prompt(encoded: Any) -> NDArray[np.int32]:
    """All that stands before the last answer."""
    from tamis.lm.templates import Kind

    answers = (encoded.kinds == Kind.ANSWER).astype(np.int8)
    begins = np.flatnonzero(np.diff(answers, prepend=0) == 1)
    prompt: NDArray[np.int32] = encoded.ids[: begins[-1]]
    return prompt


def _warnings(options: AdviceSettings, drawn: int, known: int) -> list[str]:
    found = []
    if options.slope is None:
        found.append(
            f"the line from cosine to efficiency is borrowed ('{options.family}', arXiv 2512.24991); unless that is "
            "the model, measure a few tasks and fit your own (fit_coefficients)"
        )
    if drawn < options.labelled:
        found.append(f"{drawn} rows were compared instead of {options.labelled}; the cosine is noisy")
    elif options.lowest * known < options.labelled:
        found.append(
            f"the lowest {options.lowest:.0%} of {known} rows are fewer than {options.labelled}, so more certain ones "
            "were compared too"
        )
    return found
