"""Every method on real rows of a mixed pool: what it costs, what it chooses, and whether it points the right way.

    python -m tests.benchmarks.bench_methods DATA [--rows 500] [--without rico] [--only rico] [--model demo]

DATA is a folder with `pools/dolly.jsonl.gz` and `pools/gsm8k_train.jsonl.gz` (instruction, input, output). A fifth of
the pool is GSM8K, the rest Dolly, rows of at most 700 characters; the target is 8 other GSM8K rows, for RICo 24
anchors, with 60 rows of the pool as candidates, for DSIR 200, see its description. Prints seconds to learn,
milliseconds a row (of 40 rows, each method alone), the share of GSM8K among the chosen tenth, and the mean length of
the chosen answers; then the direction checks, among them what methods say of rows whose answers are exchanged.
"""

import argparse
import json
import logging
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tamis.pool import shards
from tamis.pool.rows import Message, Row, draw, from_table, row_id, to_table
from tamis.scorers import SCORERS, Scorer, State
from tamis.scoring import ScoreSettings, Scoring
from tamis.scoring.rows import prefix, score_rows
from tamis.selecting import select
from tests.benchmarks.figures import alpaca

SHARE = 0.2
CHARACTERS = 700
TIMED = 40
EXCHANGED = 80
RICO = {"candidates": 60, "anchors": 24}
SETTINGS = {"rico": RICO, "dsir": {"laplace": True}}
TARGETS = {"rico": RICO["anchors"], "dsir": 200}
TARGETED = ("rds", "nait", "rico", "embedding", "dsir")
ALIGNED = ("ifd", "superfiltering", "superfiltering-d", "ira")


def read(path: Path, source: str) -> list[Row]:
    """The short rows of a set, in an order of chance."""
    rows = {row.id: row for row in alpaca(path, source) if sum(len(m.content) for m in row.messages) <= CHARACTERS}
    return draw(rows.values(), len(rows), 0)


@dataclass
class Measured:
    """Seconds to learn, milliseconds a row, share of GSM8K and mean length of the answers among the chosen."""

    learning: float
    milliseconds: float
    gsm8k: float
    characters: float


@dataclass
class Result:
    """By method, the pool's own figures, and scores of the same rows as they are and with others' answers."""

    methods: dict[str, Measured]
    gsm8k: float
    characters: float
    straight: dict[str, np.ndarray]
    exchanged: dict[str, np.ndarray]

    def checks(self) -> dict[str, bool]:
        """Whether each method points where it should."""
        found = {}
        for name in TARGETED:
            if name in self.methods:
                found[f"{name} chooses GSM8K above its share"] = self.methods[name].gsm8k > self.gsm8k
        for name in ALIGNED:
            if name in self.straight:
                good, bad = self.straight[name], self.exchanged[name]
                worse = bad.mean() < good.mean() if name == "ira" else bad.mean() > good.mean()
                found[f"{name}: exchanged answers score worse ({good.mean():.3f} to {bad.mean():.3f})"] = bool(worse)
        if "ifd" in self.straight:
            out, before = ((s["ifd"] >= 1).mean() for s in (self.exchanged, self.straight))
            found[f"ifd leaves out more exchanged answers ({before:.0%} to {out:.0%})"] = bool(out > before)
        for name in ("ifd", "length"):
            if name in self.methods:
                found[f"{name} prefers long answers"] = self.methods[name].characters > self.characters
        return found


def run(data: Path, methods: list[str], total: int, model: str = "demo", work: Path | None = None) -> Result:
    """Learns, scores, selects a tenth, times, and exchanges answers."""
    work = work or Path(tempfile.mkdtemp())
    sums, other = (read(data / "pools" / f"{name}.jsonl.gz", name) for name in ("gsm8k_train", "dolly"))
    few = round(SHARE * total)
    pool = sorted([*sums[:few], *other[: total - few]], key=lambda row: row.id)
    shards.write_shard(work / "pool", 0, to_table(pool), {})
    settings = {name: given for name, given in SETTINGS.items() if name in methods}
    scoring = Scoring(methods, model, "chat", settings, ScoreSettings(max_length=512))
    engine = scoring.engine()
    learned: dict[str, tuple[State, list[str]]] = {}
    learning = dict.fromkeys(methods, 0.0)
    for name, scorer in scoring.scorers.items():
        given = sums[few : few + TARGETS.get(name, 8)]
        learned[name] = ({}, [])
        if name in scoring.learners:
            started = time.perf_counter()
            needs = scorer.needs
            state = scorer.fit(engine, given if "target" in needs else [], pool if "sample" in needs else [])
            learning[name] = time.perf_counter() - started
            learned[name] = (state, [row.source for row in given])
            tell(f"{name} has learned in {learning[name]:.1f} s")

    def scored(rows: list[Row], some: dict[str, Scorer]) -> Any:
        return score_rows(rows, some, learned, engine)

    started, tokens = time.perf_counter(), engine.work.tokens
    table = scored(pool, scoring.scorers)
    seconds = time.perf_counter() - started
    rate = (engine.work.tokens - tokens) / seconds
    tell(f"{len(pool)} rows by all methods in {seconds:.0f} s, {rate:.0f} tokens a second")
    shards.write_shard(work / "scores", 0, table, {})
    select(work / "pool", [work / "scores"], work / "arms", methods=methods, budget="10%", method_settings=settings)

    made = {}
    answers = {row.id: len(row.text("assistant")) for row in pool}
    for name, scorer in scoring.scorers.items():
        started = time.perf_counter()
        scored(pool[:TIMED], {name: scorer})
        alone = (time.perf_counter() - started) / TIMED * 1000
        chosen = from_table(pq.read_table(work / "arms" / name / "selected.parquet"))
        share = float(np.mean([row.source == "gsm8k_train" for row in chosen]))
        made[name] = Measured(learning[name], alone, share, float(np.mean([answers[row.id] for row in chosen])))

    both = {}
    compared = {name: scorer for name, scorer in scoring.scorers.items() if name in ALIGNED}
    some = draw(pool, EXCHANGED, 1)
    for what, rows in (("straight", some), ("exchanged", exchange(some))):
        columns = scored(rows, compared).to_pydict() if compared else {}
        values = {name: np.array(columns[prefix(name)], float) for name in compared}
        both[what] = {name: v[np.isfinite(v)] for name, v in values.items()}
    return Result(made, few / total, float(np.mean(list(answers.values()))), both["straight"], both["exchanged"])


def exchange(rows: list[Row]) -> list[Row]:
    """The same questions, each with the next row's answer."""
    made = []
    for row, other in zip(rows, rows[1:] + rows[:1], strict=True):
        messages = (*row.messages[:-1], Message("assistant", other.messages[-1].content))
        made.append(Row(row_id(messages), messages, row.source, {}))
    return made


def tell(text: str) -> None:
    """Progress, beside the result."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Runs it and prints the table and the checks."""
    parser = argparse.ArgumentParser(description="Every method on real rows.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--only", nargs="*", default=SCORERS.names())
    parser.add_argument("--without", nargs="*", default=[])
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    result = run(args.data, [name for name in args.only if name not in args.without], args.rows, args.model)
    print("| method | to learn, s | a row, ms | GSM8K chosen | answer, characters |\n|---|--:|--:|--:|--:|")
    print(f"| the pool | – | – | {result.gsm8k:.0%} | {result.characters:.0f} |")
    for name, m in result.methods.items():
        learning = f"{m.learning:.1f}" if m.learning else "–"
        print(f"| `{name}` | {learning} | {m.milliseconds:.1f} | {m.gsm8k:.0%} | {m.characters:.0f} |")
    print()
    for check, holds in result.checks().items():
        print(f"- {check}: {'yes' if holds else 'NO'}")
    print(json.dumps({"checks": len(result.checks()), "failed": sum(not ok for ok in result.checks().values())}))


if __name__ == "__main__":
    main()
