"""The select step: scores to one selection for each arm, with a reason for every row of the pool.

An arm's folder holds `selected.parquet` (the rows in order of choice), `decisions.parquet` (a line for every row of the
pool) and, written last, `arm.json`; without that it is half done and nobody reads it.
"""

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis import settings, store
from tamis.budget.advise import read_auto
from tamis.budget.step import advised_rows
from tamis.errors import TamisError, UserError
from tamis.pool import shards
from tamis.scorers import SCORERS
from tamis.selectors import SELECTORS, Candidates, Scores, Selector
from tamis.selectors.conditions import parse_condition
from tamis.selectors.gather import write_decisions, write_selected

log = logging.getLogger("tamis")
_DRAWN = re.compile(r"((?:balanced-)?random)-(\d+)")


class Choice(settings.Settings):
    """How a method selects, where a run wants it otherwise than the method does."""

    selector: str | None = None
    """A selector's name."""
    column: str | None = None
    """The score column that it reads."""
    keep: str | None = None
    """A condition on columns that a row must meet first, such as `ifd < 1`; empty for none."""
    settings: dict[str, Any] | None = None
    """The selector's settings."""


@dataclass(frozen=True)
class Arm:
    """One selection to be made.

    Attributes:
        name: Its name: a method, `random-<seed>`, `balanced-random-<seed>` or `full`.
        method: The method whose scores decide; None if chance does.
        chooses: The selector's name.
        selector: The selector.
        column: The column that it reads, None if it reads nothing.
        keep: A condition that a row must meet first.
        seed: For what it draws.
    """

    name: str
    method: str | None
    chooses: str
    selector: Selector
    column: str | None
    keep: str | None
    seed: int


def plan_arms(
    methods: Sequence[str],
    random_seeds: Sequence[int] = (),
    extra_arms: Sequence[str] = (),
    method_settings: Mapping[str, Any] | None = None,
    selectors: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> list[Arm]:
    """The arms of a run in their order: methods, random ones, others; each once.

    Raises:
        UserError: An unknown method, selector, setting or arm, or a condition that cannot be read.
    """
    selectors = selectors or {}
    for name in selectors:
        if name not in methods:
            raise UserError(f"a selector is given for '{name}'; {settings.nearest(name, list(methods))}")
    arms = [
        _method_arm(name, (method_settings or {}).get(name), selectors.get(name), seed)
        for name in dict.fromkeys(methods)
    ]
    for name in dict.fromkeys([*(f"random-{seed}" for seed in random_seeds), *extra_arms]):
        drawn = _DRAWN.fullmatch(name)
        if not (drawn or name == "full"):
            raise UserError(f"no arm '{name}'; besides methods there are full, random-<seed>, balanced-random-<seed>")
        chooses = drawn[1] if drawn else "random"
        selector = SELECTORS[chooses](SELECTORS[chooses].Settings())
        arms.append(Arm(name, None, chooses, selector, None, None, int(drawn[2]) if drawn else seed))
    if not arms:
        raise UserError("nothing to select by: name a method or a random seed")
    return arms


def _method_arm(name: str, values: Mapping[str, Any] | None, other: Mapping[str, Any] | None, seed: int) -> Arm:
    scorer = SCORERS[name](settings.parse(SCORERS[name].Settings, values or {}, f"settings of {name}"))
    usual = scorer.selection
    choice = settings.parse(Choice, other or {}, f"selector of {name}")
    chooses = choice.selector or usual.selector
    given = choice.settings if choice.settings is not None else usual.settings if chooses == usual.selector else {}
    kind = SELECTORS[chooses]
    selector = kind(settings.parse(kind.Settings, given, f"settings of the selector {chooses} of {name}"))
    keep = choice.keep if "keep" in choice.model_fields_set else usual.keep
    parse_condition(keep or "")
    column = None if kind.reads == "nothing" else choice.column or usual.column
    return Arm(name, name, chooses, selector, column, keep or None, seed)


def check_arms(
    *,
    methods: Sequence[str],
    budget: str | int,
    random_seeds: Sequence[int] = (),
    extra_arms: Sequence[str] = (),
    method_settings: Mapping[str, Any] | None = None,
    selectors: Mapping[str, Any] | None = None,
) -> list[str]:
    """Refuses arms or a budget that `select` would refuse, as far as this can be known without scores.

    Returns:
        Names of the arms.

    Raises:
        UserError: The first fault.
    """
    if read_auto(str(budget)) is None:
        read_budget(budget)
    return [arm.name for arm in plan_arms(methods, random_seeds, extra_arms, method_settings, selectors)]


def read_budget(budget: str | int) -> tuple[float, bool]:
    """A budget's number, and whether it is a share of the pool in percent.

    Raises:
        UserError: It is neither a share nor a number of rows, or not above 0.
    """
    text = str(budget).strip()
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%|(\d+)", text)
    if not match:
        raise UserError(
            f"budget '{budget}': write a share of the pool, such as 10%, a number of rows, such as 500, or auto"
        )
    number = float(match[1] or match[2])
    if number <= 0:
        raise UserError(f"budget '{budget}' selects nothing; it must be above 0")
    return number, match[1] is not None


def budget_rows(budget: str | int, rows: int) -> int:
    """How many rows a budget allows from a pool of so many rows.

    Raises:
        UserError: More than there are.
    """
    number, share = read_budget(budget)
    wanted = max(1, int(rows * number / 100 + 0.5)) if share else int(number)
    if wanted > rows:
        raise UserError(f"budget '{budget}' asks for {wanted} rows, but the pool has {rows}; choose a smaller one")
    return wanted


def select(
    pool: Path,
    scores: Sequence[Path],
    out: Path,
    *,
    methods: Sequence[str],
    budget: str | int = "10%",
    random_seeds: Sequence[int] = (),
    extra_arms: Sequence[str] = (),
    method_settings: Mapping[str, Any] | None = None,
    selectors: Mapping[str, Any] | None = None,
    seed: int = 0,
    advice: Path | None = None,
) -> list[str]:
    """Selects rows for every arm at the same budget.

    Memory is about 200 bytes a row of the pool, whatever the rows hold, plus what a selector says.

    Args:
        pool: Folder with the pool's shards.
        scores: Folders with score shards of all of the pool; may be empty if no method is an arm.
        out: Gets a folder for each arm and, last, `selection.json`.
        methods: Methods that become arms.
        budget: A share of the pool (`10%`), a number of rows, or `auto:0.9` for the rows that bring a share of what is
            in reach, as the advice has it; the whole pool if it is smaller.
        random_seeds: One random arm for each.
        extra_arms: Further arms: `full` (the whole pool in random order), `balanced-random-0`.
        method_settings: Settings by method, as given to `score`.
        selectors: Another choice for a method, see `Choice`.
        seed: For methods whose selector draws.
        advice: What the advise step wrote, for a budget of `auto`.

    Returns:
        Names of the arms.

    Raises:
        UserError: Something asked for does not exist, the budget exceeds the pool, the scores are not those of the
            pool, no row can be selected, or another run writes `out`.
    """
    arms = plan_arms(methods, random_seeds, extra_arms, method_settings, selectors, seed)
    parts = shards.shards(pool)
    wanted, advised = _wanted(str(budget), sum(part.rows for part in parts), advice)
    rows = Scores(parts)
    scored = Scores(shards.shards(list(scores))) if scores else None
    for arm in arms:
        _candidates(arm, rows, scored)
    place = match(rows, scored) if scored else np.arange(rows.rows)
    with store.claim(out, run="select"):
        out.mkdir(parents=True, exist_ok=True)
        for old in ("selection.json", *(f"{arm.name}/arm.json" for arm in arms)):
            (out / old).unlink(missing_ok=True)
        made = []
        for arm in arms:
            candidates = _candidates(arm, rows, scored)
            k = rows.rows if arm.name == "full" else wanted
            result = _select_arm(arm, candidates, k, rows, place, out / arm.name)
            summary = {
                "budget": str(budget),
                "advised": advised and advised["advice"],
                "pool": shards.combined_digest(part.sha256 for part in rows.parts),
                "scores": shards.combined_digest(p.sha256 for p in scored.parts) if arm.method and scored else None,
            }
            shards.write_json(out / arm.name / "arm.json", result | summary)
            made.append({key: result[key] for key in ("arm", "method", "selected", "wanted")})
        told = {"budget": str(budget), "advised": advised, "rows": rows.rows, "arms": made}
        shards.write_json(out / "selection.json", told)
        return [arm.name for arm in arms]


def _wanted(budget: str, rows: int, advice: Path | None) -> tuple[int, dict[str, Any] | None]:
    """Rows of each arm, and the advice behind them if the budget is automatic."""
    if read_auto(budget) is None:
        return budget_rows(budget, rows), None
    wanted, content = advised_rows(budget, advice)
    if wanted > rows:
        log.warning("budget %s asks for %d rows, but the pool has %d; it takes them all", budget, wanted, rows)
    return min(wanted, rows), content


def _candidates(arm: Arm, pool: Scores, scores: Scores | None) -> Candidates:
    """What an arm chooses from: the scores, or the pool itself where chance decides."""
    if arm.method is None:
        return Candidates(pool)
    if scores is None:
        raise UserError(f"arm '{arm.name}' needs scores; give the folders that `tamis score` wrote")
    return Candidates(scores, arm.column, arm.keep)


def _select_arm(
    arm: Arm, candidates: Candidates, k: int, rows: Scores, place: NDArray[np.int64], out: Path
) -> dict[str, Any]:
    """Chooses, and writes both tables; what it was, for `arm.json`."""
    eligible = int(candidates.eligible.sum())
    chosen = arm.selector.select(candidates, k, arm.seed)
    once = np.zeros(candidates.rows, bool)
    once[chosen] = True
    if len(chosen) > k or once.sum() < len(chosen) or (once & ~candidates.eligible).any():
        raise TamisError(f"the selector {arm.chooses} chose too many rows, one twice, or one that may not be chosen")
    unchosen = arm.selector.unchosen.format(k=k, column=arm.column)
    codes, reasons = explain(candidates, chosen, unchosen)
    counts: Counter[str] = Counter()
    for reason, count in zip(reasons, np.bincount(codes, minlength=len(reasons)).tolist(), strict=True):
        counts[reason] += count
    if len(chosen) == 0:
        told = "; ".join(f"{reason} ({count})" for reason, count in counts.most_common(3) if count)
        raise UserError(f"arm '{arm.name}': none of {candidates.rows} rows can be selected: {told}")
    if len(chosen) < k:
        log.warning("arm %s has %d rows, not the %d of the budget: %d are eligible", arm.name, len(chosen), k, eligible)
    values = candidates.values
    if candidates.scores is not rows:
        # From the order of the scores to that of the pool.
        to = np.argsort(place)
        chosen, codes, values = place[chosen], codes[to], values[to]
    out.mkdir(parents=True, exist_ok=True)
    digest = write_selected(rows.parts, chosen, out / "selected.parquet")
    write_decisions(rows, chosen, values, codes, reasons, out / "decisions.parquet")
    of, names = rows.sources
    sources = np.bincount(of[chosen], minlength=len(names)).tolist()
    return {
        "arm": arm.name,
        "method": arm.method,
        "selector": arm.chooses,
        "origin": SELECTORS.origin(arm.chooses),
        "settings": arm.selector.settings.model_dump(mode="json"),
        "column": arm.column,
        "keep": arm.keep,
        "seed": arm.seed,
        "rows": rows.rows,
        "wanted": k,
        "eligible": eligible,
        "selected": len(chosen),
        "reasons": {reason: count for reason, count in counts.items() if count},
        "sources": {name: count for name, count in zip(names, sources, strict=True) if count},
        "digest": digest,
    }


def match(pool: Scores, scores: Scores) -> NDArray[np.int64]:
    """For each scored row its position in the pool.

    Raises:
        UserError: They are not the same rows, each once.
    """
    if scores.rows != pool.rows:
        raise UserError(
            f"the scores have {scores.rows} rows and the pool {pool.rows}; give all its score shards, each once"
        )
    for table, what in ((pool, "in the pool"), (scores, "in the scores")):
        ordered = table.keys[table.by_key]
        twice = np.flatnonzero(ordered[1:] == ordered[:-1])
        if len(twice):
            raise UserError(
                f"row {table.id_at(table.by_key[twice[0]])} is there twice {what}; each row may be there once"
            )
    strange = np.flatnonzero(scores.keys[scores.by_key] != pool.keys[pool.by_key])
    if len(strange):
        at = strange[0]
        raise UserError(
            f"the scores are of another pool: row {pool.id_at(pool.by_key[at])} is not scored, or row "
            f"{scores.id_at(scores.by_key[at])} is not in the pool; score this pool"
        )
    place = np.empty(pool.rows, np.int64)
    place[scores.by_key] = pool.by_key
    return place


def explain(candidates: Candidates, chosen: NDArray[np.int64], unchosen: str) -> tuple[NDArray[np.int32], list[str]]:
    """Why each row was selected or not: the number of its reason, and the reasons.

    A row that a method could not score has that method's reason; then come the conditions, then the selector's choice.
    """
    table = candidates.scores
    reasons = ["selected", unchosen]
    codes = np.ones(candidates.rows, np.int32)
    codes[chosen] = 0
    open_ = ~candidates.eligible
    for name in candidates.reads:
        missing = open_ & ~np.isfinite(candidates.column(name))
        owners = [n for n in table.names if n.endswith("_reason") and f"{name}_".startswith(n.removesuffix("reason"))]
        if missing.any():
            codes[missing] = len(reasons)
            told = [""]
            if owners:
                of, told = table.texts(max(owners, key=len))
                codes[missing] += of[missing]
            reasons += [text or f"no finite {name}" for text in told]
            open_ &= ~missing
    for condition, before, after in zip(candidates.conditions, candidates.left, candidates.left[1:], strict=False):
        codes[before & ~after] = len(reasons)
        reasons.append(f"left out by {condition}")
    return codes, reasons
