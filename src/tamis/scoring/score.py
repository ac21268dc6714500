"""The score step: a pool and some methods to score shards, with one pass of the model for all of them."""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tamis import __version__, store
from tamis.errors import TamisError, UserError
from tamis.lm.observations import Observation
from tamis.pool import shards
from tamis.pool.rows import Row, from_table
from tamis.scorers import SCORERS, Scorer, State
from tamis.scoring.experience import gain_experience
from tamis.scoring.fit import fit, load_state, state_identity
from tamis.scoring.plan import Scoring
from tamis.scoring.rows import observing, prefix, score_rows, union

log = logging.getLogger("tamis")
SAMPLE_ROWS = 256
"""Rows that a probe looks at."""


def score(
    pool: Path,
    out: Path,
    scoring: Scoring,
    *,
    target: Path | None = None,
    states: Path | None = None,
    indices: Sequence[int] | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Scores the rows of a pool by several methods, one score shard for each shard of the pool.

    Shards that an earlier run finished with the same rows, model, template and settings are kept.

    Args:
        pool: Folder with the pool's shards.
        out: Gets the score shards and, last, `scored.json`.
        scoring: Methods and model.
        target: Folder with shards of target rows.
        states: What `fit` kept; learned anew into `out/states` if None.
        indices: The shards of the pool to score, all if None.
        overwrite: Score again what is there.

    Returns:
        The content of `scored.json`: rows, counts of unscorable rows by method and reason, the work that was
        done (see `tamis.lm.work.accounting`), and what each method reads of it.

    Raises:
        UserError: Something asked for does not exist, `out` was made from something else, or another run writes it.
    """
    from tamis.lm.work import accounting

    scorers = scoring.scorers
    scoring.check(target, learned=states is not None)
    parts = shards.shards(pool)
    chosen = list(range(len(parts))) if indices is None else list(indices)
    for index in chosen:
        if not 0 <= index < len(parts):
            raise UserError(f"{pool} has no shard {index}; it has {len(parts)}")
    with store.claim(out, run="score"):
        started = time.monotonic()
        if states is None:
            states = out / "states"
            gain_experience(pool, states, scoring)
            engine = scoring.engine(states)
            fit(pool, states, scoring, target, engine)
        else:
            engine = scoring.engine(states)
        learned: dict[str, tuple[State, list[str]]] = {name: ({}, []) for name in scorers}
        for name, scorer in scoring.learners.items():
            learned[name] = load_state(states / f"{name}.safetensors", name, scorer, engine)
        common = {
            "tamis": __version__,
            "max_length": scoring.options.max_length,
            "methods": {name: _identity(name, scorer, engine, learned[name][0]) for name, scorer in scorers.items()},
        }
        reasons: dict[str, Counter[str]] = {name: Counter() for name in scorers}
        asked = observing(scorers, learned)
        rows = reused = 0
        probed = False
        for index in chosen:
            identity = common | {"rows": parts[index].sha256}
            done = None if overwrite else shards.find_shard(out, index, identity)
            if done is None:
                part = from_table(shards.load(parts[index]))
                if not probed:
                    left = sum(parts[i].rows for i in chosen) - rows
                    _prepare(engine, part, left, union(asked), scoring.options.batch_tokens)
                    probed = True
                table = score_rows(part, scorers, learned, engine)
                done = shards.write_shard(out, index, table, identity)
            else:
                table = shards.load(done, [f"{prefix(name)}_reason" for name in scorers])
                reused += 1
            if done.rows != parts[index].rows:
                raise TamisError(f"{done.path} has {done.rows} rows, but the pool's shard has {parts[index].rows}")
            rows += done.rows
            for name, counter in reasons.items():
                counter.update(why for why in table.column(f"{prefix(name)}_reason").to_pylist() if why is not None)
        seconds = time.monotonic() - started
        result = {
            "rows": rows,
            "shards": len(chosen),
            "shards_reused": reused,
            "unscorable": {name: dict(counter) for name, counter in reasons.items()},
            "work": accounting(engine.work, engine.lm, seconds),
            "methods": {name: _share(engine, wants.values()) for name, wants in asked.items()},
            "model": engine.lm.identity,
        }
        shards.write_json(out / "scored.json", result)
        return result


def _share(engine: Any, wants: Iterable[Observation]) -> dict[str, int]:
    """What one method reads by itself; what several read is read once, so that these add up to more than the work."""
    views = engine.views(wants)
    return {"passes": len(views), "tokens": sum(engine.read[view] for view in views)}


def _prepare(engine: Any, rows: Sequence[Row], left: int, wants: Iterable[Observation], fixed: int) -> None:
    """Lets a sample of rows decide how large a batch may be, and says how long the rows that are left will take."""
    from tamis.lm.probe import probe

    sample = rows[:: max(1, len(rows) // SAMPLE_ROWS)][:SAMPLE_ROWS]
    found = probe(engine, sample, {str(i): want for i, want in enumerate(wants)}, fixed)
    if found:
        hours = found.seconds(left) / 3600
        log.info(
            "to score: %d rows, about %d tokens at %d a second in batches of %d: %s, %.3g device-hours",
            left,
            left * found.tokens_per_row,
            found.tokens_per_second,
            found.batch_tokens,
            f"{60 * hours:.0f} minutes" if hours < 2 else f"{hours:.1f} hours",
            hours,
        )


def _identity(name: str, scorer: Scorer, engine: Any, state: State) -> dict[str, Any]:
    learned = [f"{key}:{value.shape}:{value.tobytes().hex()}" for key, value in sorted(state.items())]
    return {"origin": SCORERS.origin(name), "state": shards.combined_digest(learned)} | state_identity(
        name, scorer, engine
    )
