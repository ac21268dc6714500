"""Gathers the figures of a run: arms with intervals, verdicts, score distributions, rows, lineage."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tamis.errors import UserError
from tamis.pool import shards
from tamis.pool.rows import from_table
from tamis.report.compare import Estimate, Measured, against, estimate, verdict

BINS = 24
SHOWN_ROWS = 5
LOWER_IS_BETTER = {"heldout"}


def gather(prepared: Path, scores: Sequence[Path], selections: Path, evaluations: Sequence[Path]) -> dict[str, Any]:
    """All figures of a run as plain values, see `tamis.report.report`."""
    pool = _json(prepared / "prepared.json", "prepare")
    arms: dict[str, dict[str, Any]] = {}
    for folder in evaluations:
        evaluation = _json(folder / "evaluation.json", "evaluate")
        if evaluation["arm"] in arms:
            raise UserError(f"{folder}: arm '{evaluation['arm']}' is evaluated twice")
        arms[evaluation["arm"]] = {"evaluation": evaluation, "measures": _measures(folder, evaluation)}
    for name, arm in arms.items():
        chosen = selections / name / "arm.json"
        arm["selection"] = _json(chosen, "select") if chosen.exists() else None
    measures = list(dict.fromkeys(m for arm in arms.values() for m in arm["measures"]))
    comparable = {m: _comparable(m, arms) for m in measures}
    random_arms = [name for name in arms if name.startswith("random-")]
    table = {name: _arm(name, arm, random_arms, comparable) for name, arm in arms.items()}
    order = sorted(table, key=lambda name: (name != "base", not name.startswith("random-"), name))
    return {
        "verdict": _verdict(table, random_arms, measures),
        "measures": measures,
        "random_arms": random_arms,
        "arms": {name: table[name] for name in order},
        "histograms": _histograms(scores, selections, arms),
        "rows": {name: _rows(prepared, selections / name) for name in order if arms[name]["selection"]},
        "pool": pool,
        "scoring": [_json(folder / "scored.json", "score") for folder in scores],
    }


def _json(path: Path, step: str) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is missing or unreadable; give a folder that `tamis {step}` finished") from error
    return content


def _measures(folder: Path, evaluation: Mapping[str, Any]) -> dict[str, tuple[list[str], Measured]]:
    """By measure (`heldout` in nats a token, or an lm-eval task's accuracy): the items' names and what was scored."""
    found: dict[str, tuple[list[str], Measured]] = {}
    rows = folder / "heldout.parquet"
    if rows.exists():
        table = _known(pq.read_table(rows), "nll").sort_by("id")
        found["heldout"] = (
            table["id"].to_pylist(),
            Measured(table["nll"].to_numpy().astype(float), table["tokens"].to_numpy().astype(float)),
        )
    for task in evaluation.get("tasks", {}):
        table = pq.read_table(folder / "tasks" / f"{task}.parquet").sort_by("doc_id")
        right = table["value"].to_numpy().astype(float)
        found[task] = ([str(doc) for doc in table["doc_id"].to_pylist()], Measured(right, np.ones_like(right)))
    return found


def _known(table: pa.Table, column: str) -> pa.Table:
    """The rows that have a number in a column."""
    return table.filter(pc.invert(pc.is_null(table[column], nan_is_null=True)))


def _comparable(measure: str, arms: Mapping[str, Any]) -> dict[str, Measured]:
    """Each arm's values on the items that every arm has, in one order."""
    having = {name: arm["measures"][measure] for name, arm in arms.items() if measure in arm["measures"]}
    common = set.intersection(*(set(items) for items, _ in having.values()))
    result = {}
    for name, (items, values) in having.items():
        keep = np.array([item in common for item in items], bool)
        result[name] = Measured(values.totals[keep], values.weights[keep])
    return {name: values for name, values in result.items() if len(values.totals)}


def _arm(name: str, arm: Mapping[str, Any], random: Sequence[str], comparable: Mapping[str, Any]) -> dict[str, Any]:
    """One line of the table."""
    line: dict[str, Any] = {"measures": {}, "selection": arm["selection"], "evaluation": arm["evaluation"]}
    for measure, values in comparable.items():
        if name not in values:
            continue
        entry: dict[str, Any] = {"estimate": asdict(estimate(values[name])), "items": len(values[name].totals)}
        others = [values[other] for other in random if other in values and other != name]
        if others:
            difference = against(values[name], others)
            entry["against_random"] = asdict(difference)
            entry["verdict"] = verdict(difference, measure in LOWER_IS_BETTER)
        line["measures"][measure] = entry
    return line


def _verdict(table: Mapping[str, Any], random: Sequence[str], measures: Sequence[str]) -> list[str]:
    """The answer in sentences, one for each method, by the first measure that there is."""
    if not measures:
        return ["Nothing was evaluated, so nothing can be said."]
    measure = measures[0]
    if not random:
        return ["There is no random arm, so whether selection helped cannot be said."]
    unit = "nats a token" if measure == "heldout" else "accuracy"
    where = "held-out rows" if measure == "heldout" else measure
    lines = []
    for name, arm in table.items():
        entry = arm["measures"].get(measure, {})
        if name in random or "against_random" not in entry:
            continue
        difference = Estimate(**entry["against_random"])
        known = {"better": "better than random", "worse": "worse than random", "not better": "not better than random"}
        shown = "base (untuned)" if name == "base" else name
        lines.append(
            f"{shown} is {known[entry['verdict']]} on the {where}: {difference.value:+.4f} {unit} "
            f"(95 % interval {difference.low:+.4f} to {difference.high:+.4f}, {entry['items']} items)."
        )
    if len(random) == 1:
        lines.append("There is one random arm only: how much random draws differ is not in the intervals.")
    return lines


def _histograms(scores: Sequence[Path], selections: Path, arms: Mapping[str, Any]) -> dict[str, Any]:
    """For each arm that a score column selected: how the column is distributed in the pool and in the selection."""
    result = {}
    for name, arm in arms.items():
        chosen = arm["selection"]
        if not chosen or not chosen.get("column"):
            continue
        decisions = pq.read_table(selections / name / "decisions.parquet", columns=["selected", "value"])
        values = decisions.column("value").to_numpy(zero_copy_only=False).astype(float)
        selected = decisions.column("selected").to_numpy(zero_copy_only=False).astype(bool)
        finite = np.isfinite(values)
        if not finite.any():
            continue
        low, high = np.quantile(values[finite], [0.005, 0.995])
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
        result[name] = {
            "column": chosen["column"],
            "edges": edges.tolist(),
            "pool": np.histogram(np.clip(values[finite], low, high), edges)[0].tolist(),
            "selected": np.histogram(np.clip(values[finite & selected], low, high), edges)[0].tolist(),
            "missing": int((~finite).sum()),
        }
    return result


def _rows(prepared: Path, selection: Path) -> dict[str, list[dict[str, str]]]:
    """The first rows that an arm chose, and those that its column puts last."""
    table = pq.read_table(selection / "selected.parquet").slice(0, SHOWN_ROWS)
    shown = {"first": [_shown(row, "") for row in from_table(table)]}
    scored = _known(pq.read_table(selection / "decisions.parquet"), "value")
    if len(scored):
        last = scored.sort_by([("value", "ascending"), ("id", "ascending")]).slice(0, SHOWN_ROWS)
        why = dict(zip(last["id"].to_pylist(), last["reason"].to_pylist(), strict=True))
        rows = _find(prepared / "pool", list(why))
        shown["lowest"] = [_shown(rows[i], reason) for i, reason in why.items()]
    return shown


def _find(pool: Path, ids: Sequence[str]) -> dict[str, Any]:
    """Rows of the pool by id, reading a shard at a time."""
    found: dict[str, Any] = {}
    for shard in shards.shards(pool):
        table = shards.load(shard)
        mask = pc.is_in(table.column("id"), value_set=pa.array(list(ids), pa.string()))
        found |= {row.id: row for row in from_table(table.filter(mask))}
    return found


def _shown(row: Any, reason: str) -> dict[str, str]:
    return {
        "id": row.id,
        "source": row.source,
        "prompt": row.text("user")[:400],
        "answer": row.text("assistant")[:400],
        "reason": reason,
    }
