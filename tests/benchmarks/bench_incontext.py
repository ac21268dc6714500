"""Answers in context, the shared context read once, against reading it again for every pair.

    python -m tests.benchmarks.bench_incontext POOL.jsonl.gz [model]

Prints one JSON line a case, all of the same pairs: `reuse` (ours), `no reuse` (the same packs, but each pair is a row
of its own) and `one pair at a time` (the published way: the model's own pass, all logits); then a line `ratio` with how
many times faster ours is, and how many times fewer tokens and floating-point operations it needs, which is what the
speed can reach at most. `cpu` are processor seconds, which other work on the machine disturbs less. Contexts are rows
of the pool and, as the method has it, a random text for each.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.figures import alpaca

ROUNDS = 2


def run(pool: Path, model: str = "demo", contexts: int = 10, anchors: int = 10) -> list[dict[str, Any]]:
    """The cases, interleaved `ROUNDS` times, the fastest of each."""
    import torch

    from tamis.lm.cores import overlapped
    from tamis.lm.engine import Engine
    from tamis.lm.incontext import _losses, answer_losses
    from tamis.lm.load import load
    from tamis.lm.machine import matrix_rate
    from tamis.lm.templates import Kind
    from tamis.lm.work import gflop
    from tamis.scorers.rico import RICo, _contexts, _frame, random_text

    lm = load(model)
    rows = list(islice(alpaca(pool), contexts + anchors))
    settings = RICo.Settings(anchors=anchors)
    engine = Engine(lm)
    frame = _frame(engine, rows[contexts:], settings)
    texts = [text for text in _contexts(engine, rows[:contexts]) if not isinstance(text, str)]
    bodies = [t.ids for t in texts] + [frame.ids(random_text(t.characters, str(i))) for i, t in enumerate(texts)]
    heads = [frame.context(ids) for ids in bodies]

    def reuse(engine: Engine) -> Any:
        return answer_losses(engine, heads, frame.tails)

    def no_reuse(engine: Engine) -> Any:
        nothing = np.zeros(0, np.int32)
        pairs = [
            (np.concatenate([h, t.ids]), np.r_[np.zeros(len(h)), t.kinds] == Kind.ANSWER)
            for h in heads
            for t in frame.tails
        ]
        groups: list[list[Any]] = [[]]
        for pair in pairs:
            if groups[-1] and sum(len(ids) for ids, _ in [*groups[-1], pair]) > engine.batch_tokens:
                groups.append([])
            groups[-1].append(pair)

        def losses(group: list[Any]) -> Callable[[], list[float]]:
            found = _losses(engine, [(nothing, group)])
            return lambda: found

        return np.reshape(list(chain.from_iterable(overlapped(losses, groups, lm.device))), (len(heads), -1))

    def one_at_a_time(engine: Engine) -> Any:
        found = []
        for h in heads:
            for t in frame.tails:
                ids = torch.from_numpy(np.concatenate([h, t.ids])).long().to(lm.device)
                scores = lm.model(input_ids=ids[None], use_cache=False).logits[0].float().log_softmax(-1)
                at = len(h) + np.flatnonzero(t.kinds == Kind.ANSWER)
                found.append(float(-scores[at - 1, ids[at]].mean()))
                engine.work.tokens += len(ids)
                engine.work.pairs += len(ids) * (len(ids) + 1) // 2
                engine.work.scored += len(ids)
        return np.reshape(found, (len(heads), -1))

    cases: dict[str, Callable[[Engine], Any]] = {
        "reuse": reuse,
        "no reuse": no_reuse,
        "one pair at a time": one_at_a_time,
    }
    best: dict[str, dict[str, Any]] = {}
    values = {}
    for _ in range(ROUNDS):
        rate = matrix_rate(next(lm.model.parameters()).dtype, lm.device)
        for name, case in cases.items():
            own = Engine(lm)
            packed = lm.model.config._attn_implementation
            if case is one_at_a_time:
                lm.model.set_attn_implementation("sdpa")
            started, cpu = time.perf_counter(), time.process_time()
            with torch.inference_mode():
                values[name] = case(own)
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
            lm.model.set_attn_implementation(packed)
            if name not in best or seconds < best[name]["seconds"]:
                best[name] = {
                    "case": name,
                    "pairs": values[name].size,
                    "seconds": round(seconds, 2),
                    "cpu_seconds": round(cpu, 2),
                    "ms_a_pair": round(1000 * seconds / values[name].size, 1),
                    "tokens": own.work.tokens,
                    "scored": own.work.scored,
                    "gflop": round(gflop(lm, own.work), 1),
                    "matrix_gflops": round(rate, 1),
                }
    ours, plain = best["reuse"], best["no reuse"]
    ratio = {
        "case": "ratio",
        "faster_than_no_reuse": round(plain["seconds"] / ours["seconds"], 2),
        "less_cpu_than_no_reuse": round(plain["cpu_seconds"] / ours["cpu_seconds"], 2),
        "fewer_tokens": round(plain["tokens"] / ours["tokens"], 2),
        "fewer_gflop": round(plain["gflop"] / ours["gflop"], 2),
        "faster_than_one_at_a_time": round(best["one pair at a time"]["seconds"] / ours["seconds"], 2),
        "largest_difference": float(max(np.abs(v - values["reuse"]).max() for v in values.values())),
        "context_tokens": float(np.mean([len(h) for h in heads])),
        "anchor_tokens": float(np.mean([len(t.ids) for t in frame.tails])),
    }
    return [*best.values(), ratio]


def main(arguments: Sequence[str]) -> None:
    """Prints the cases."""
    for line in run(Path(arguments[0]), *arguments[1:2]):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
