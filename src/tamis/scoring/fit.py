"""What methods learn before they score, kept in files that other pools can use too."""

import json
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tamis import store
from tamis.errors import UserError
from tamis.lm.encode import Unscorable
from tamis.lm.observations import Embedded
from tamis.pool import shards
from tamis.pool.rows import Row
from tamis.scorers import Scorer, State
from tamis.scoring.experience import gain_experience
from tamis.scoring.plan import Scoring

log = logging.getLogger("tamis")
SAMPLE_ROWS = 1000
"""Rows of the pool that a method with `needs = {"sample"}` learns from."""


def fit(pool: Path, out: Path, scoring: Scoring, target: Path | None = None, engine: Any = None) -> list[str]:
    """Lets every method that learns something do so, and keeps what it learned as `out/<method>.safetensors`.

    What a method measured of single rows on the way is kept beside that as `out/<method>.parquet`. A state that is
    already there is used again if the same model, template, settings and target made it.

    Args:
        pool: The pool's shards, for a sample.
        out: Gets the states; `fitted.json` (with the work of each method) is written last.
        scoring: Methods and model.
        target: Shards of target rows.
        engine: The loaded model, if there is one.

    Returns:
        The methods that learned something.

    Raises:
        UserError: A target is missing, a state was made from something else, or another run writes `out`.
    """
    from safetensors.numpy import save_file

    scoring.check(target)
    with store.claim(out, run="fit"):
        out.mkdir(parents=True, exist_ok=True)
        if engine is None:
            gain_experience(pool, out, scoring)
        work: dict[str, dict[str, float]] = {}
        if scoring.learners:
            from tamis.lm.work import accounting

            engine = engine or scoring.engine(out)
            targets = readable(shards.rows(shards.shards(target)), engine) if target else []
            sample: list[Row] = []
            if any("sample" in scorer.needs for scorer in scoring.learners.values()):
                sample = shards.sample(shards.shards(pool), SAMPLE_ROWS)
            for name, scorer in scoring.learners.items():
                rows = {"target": targets, "sample": sample}
                given = {need: rows[need] for need in sorted(scorer.needs & set(rows))}
                identity = state_identity(name, scorer, engine)
                identity |= {need: shards.combined_digest(row.id for row in some) for need, some in given.items()}
                path = out / f"{name}.safetensors"
                if path.exists():
                    differs = shards.difference(_read(path)[1], identity)
                    if differs:
                        raise UserError(f"{path} was learned with {differs}; choose another folder")
                    continue
                before, started = replace(engine.work), time.monotonic()
                state = scorer.fit(engine, given.get("target", []), given.get("sample", []))
                work[name] = accounting(engine.work.since(before), engine.lm, time.monotonic() - started)
                tasks = [row.source for row in targets]
                part = path.with_suffix(".part")
                if (measured := scorer.measured(state)) is not None:
                    pq.write_table(measured, part)
                    part.replace(path.with_suffix(".parquet"))
                arrays = {key: np.ascontiguousarray(value) for key, value in state.items()}
                save_file(arrays, part, metadata={"identity": json.dumps(identity), "tasks": json.dumps(tasks)})
                part.replace(path)
        shards.write_json(out / "fitted.json", {"methods": sorted(scoring.learners), "work": work})
        return sorted(scoring.learners)


def readable(rows: Sequence[Row], engine: Any) -> list[Row]:
    """The target rows that the model can read; what is wrong with the others is logged.

    Raises:
        UserError: None of them.
    """
    encoded = engine.encode(rows)
    wrong = Counter(e.reason for e in encoded if isinstance(e, Unscorable))
    told = "; ".join(f"{reason} ({count})" for reason, count in wrong.items())
    if sum(wrong.values()) == len(rows):
        raise UserError(f"no row of the target can be read: {told or 'it is empty'}")
    if wrong:
        log.warning("%d of %d target rows are left out: %s", sum(wrong.values()), len(rows), told)
    return [row for row, e in zip(rows, encoded, strict=True) if not isinstance(e, Unscorable)]


def state_identity(name: str, scorer: Scorer, engine: Any) -> dict[str, Any]:
    """What a state may be used with: the same method, version and settings, and the same model and template."""
    return {
        "method": name,
        "version": scorer.version,
        "settings": scorer.settings.model_dump(mode="json"),
        "model": engine.lm.identity,
        "template": template_digest(engine),
    } | _encoders(scorer, engine)


def _encoders(scorer: Scorer, engine: Any) -> dict[str, Any]:
    """The sentence encoders that a scorer reads with, if any."""
    asked = {want.encoder for want in scorer.observes.values() if isinstance(want, Embedded)}
    return {"encoders": {name: engine.sentences(name).identity for name in sorted(asked)}} if asked else {}


def _read(path: Path) -> tuple[State, dict[str, Any], list[str]]:
    from safetensors import safe_open

    try:
        with safe_open(path, "numpy") as file:
            meta = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return state, json.loads(meta["identity"]), json.loads(meta["tasks"])
    except Exception as error:
        raise UserError(f"{path} is not what a method learned ({error}); fit it again") from error


def load_state(path: Path, name: str, scorer: Scorer, engine: Any) -> tuple[State, list[str]]:
    """A state for use with this scorer and this model, and the task of each target row that it was learned from.

    Raises:
        UserError: Another model, template, version or settings made it; says which.
    """
    if not path.exists():
        raise UserError(f"{path}: method '{name}' must learn first; run `tamis fit`, or score without --state")
    state, made, tasks = _read(path)
    wanted = state_identity(name, scorer, engine)
    differs = shards.difference({key: made.get(key) for key in wanted}, wanted)
    if differs:
        raise UserError(f"{path} was learned with {differs}; fit it again for this run")
    return state, tasks


def template_digest(engine: Any) -> str:
    """What determines how a row is written for the model."""
    template = engine.encoder().template
    return f"{template.name}:{shards.combined_digest([template.header, template.identity])}"
