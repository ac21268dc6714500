"""The advise step: what a budget of `auto` needs to know, measured once and kept as a file.

A step of its own, because scores do not depend on the budget: another budget must not score the pool again.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tamis.budget.advise import Advice, AdviceSettings, advise, read_auto
from tamis.budget.efficiency import rows_for
from tamis.errors import UserError
from tamis.pool import shards
from tamis.scoring import Scoring


def advise_budget(
    pool: Path, out: Path, budget: str, scoring: Scoring, options: AdviceSettings, target: Path | None = None
) -> Advice | None:
    """Measures how many rows the task needs, if the budget asks for it, and writes that as JSON.

    Args:
        pool: The pool's shards; a sample of them stands for the task where there is no target.
        out: The file to write; for a budget that is a number or a share it says only that there is no advice.
        budget: `auto`, `auto:0.9`, or any other budget, for which nothing is loaded or measured.
        scoring: The model and how it reads.
        options: Settings of the measure.
        target: Shards of the task's rows.

    Raises:
        UserError: A budget that cannot be read, or too few rows.
    """
    share = read_auto(budget)
    content: dict[str, Any] = {"advice": None}
    found = None
    if share is not None:
        options.coefficients  # noqa: B018  refuses half a line before the model is loaded
        parts = shards.shards(target or pool)
        rows = shards.rows(parts) if target else shards.sample(parts, options.rows)
        # As the model is before any training, whatever it has gained for scoring.
        plain = scoring.options.model_copy(update={"pre_experience": 0})
        engine = replace(scoring, options=plain).engine()
        found = advise(engine, rows, share, options)
        content = {
            "advice": asdict(found),
            "of": "the target" if target else "a sample of the pool",
            "model": engine.lm.identity,
            "settings": options.model_dump(mode="json"),
        }
    shards.write_json(out, content)
    return found


def advised_rows(budget: str, advice: Path | None) -> tuple[int, dict[str, Any]]:
    """Rows that an automatic budget stands for, and the advice that they come from.

    Any wanted share follows from one advice, whichever share it was made for.

    Raises:
        UserError: No advice, or a file that is none.
    """
    share = read_auto(budget)
    if share is None or advice is None:
        raise UserError(f"budget '{budget}' needs an advice; make one with `tamis advise` and give it with --advice")
    try:
        content = json.loads(advice.read_text())
        efficiency = float(content["advice"]["efficiency"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{advice} holds no advice; make one with `tamis advise --budget {budget}`") from error
    return rows_for(share, efficiency), content
