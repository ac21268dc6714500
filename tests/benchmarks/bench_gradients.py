"""Dot products of per-row LoRA gradients: one batched backward pass, against peft and a backward pass for each row.

    python -m tests.benchmarks.bench_gradients POOL.jsonl.gz [model]

Prints one JSON line a case (`batched`, ours; `one row at a time`, peft as the method is published, rank 64 on all
linear maps) and a line `ratio`. The random factors are the same, so the results are compared too. `gflop_least` is what
the rows need at least: the linear maps forward and backward (no gradient of the weights), the head at the answers, and
the adapters' products; `matrix_gflops` is what the machine multiplies a second.
"""

import json
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.bench_incontext import ROUNDS
from tests.benchmarks.figures import alpaca

RANK = 64


def run(pool: Path, model: str = "demo", number: int = 12) -> list[dict[str, Any]]:
    """Both ways, interleaved `ROUNDS` times, the faster round of each."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from tamis.lm.encode import Encoded
    from tamis.lm.engine import Engine
    from tamis.lm.gradients import Adapters, gram
    from tamis.lm.load import load, resolve
    from tamis.lm.lora import fresh_down, linear_maps, sizes
    from tamis.lm.machine import matrix_rate
    from tamis.lm.templates import Kind
    from tamis.lm.work import Work, gflop

    lm = load(model)
    engine = Engine(lm)
    rows = [e for e in engine.encode(list(islice(alpaca(pool), number))) if isinstance(e, Encoded)]
    plain = AutoModelForCausalLM.from_pretrained(resolve(model), dtype=next(lm.model.parameters()).dtype).to(lm.device)
    theirs = get_peft_model(plain, LoraConfig(r=RANK, lora_alpha=32, lora_dropout=0.05, target_modules="all-linear"))
    theirs.eval()
    with torch.no_grad():
        for name, module in linear_maps(lm).items():
            layer = theirs.base_model.model.get_submodule(name)
            layer.lora_A["default"].weight.copy_(fresh_down(name, module, RANK, 0))

    def batched() -> Any:
        return gram(engine, rows, Adapters(rank=RANK))

    def one_at_a_time() -> Any:
        gradients = []
        for row in rows:
            theirs.zero_grad()
            labels = torch.from_numpy(np.where(row.kinds == Kind.ANSWER, row.ids, -100)).long().to(lm.device)
            theirs(input_ids=torch.from_numpy(row.ids).long().to(lm.device)[None], labels=labels[None]).loss.backward()
            own = [p.grad.flatten().float() for p in theirs.parameters() if p.requires_grad]
            gradients.append(torch.cat(own))
        stacked = torch.stack(gradients)
        return sum((part @ part.T).double() for part in stacked.split(1 << 18, dim=1)).cpu().numpy()

    cases = {"batched": batched, "one row at a time": one_at_a_time}
    seconds: dict[str, float] = {}
    cpu: dict[str, float] = {}
    values = {}
    rate = matrix_rate(next(lm.model.parameters()).dtype, lm.device)
    for _ in range(ROUNDS):
        for name, case in cases.items():
            started, used = time.perf_counter(), time.process_time()
            values[name] = case()
            seconds[name] = min(seconds.get(name, float("inf")), time.perf_counter() - started)
            cpu[name] = min(cpu.get(name, float("inf")), time.process_time() - used)
    tokens, scored = sum(len(r.ids) for r in rows), sum(int((r.kinds == Kind.ANSWER).sum()) for r in rows)
    products = 2e-9 * tokens * RANK * sum(sum(sizes(m)) for m in linear_maps(lm).values())
    least = round(2 * gflop(lm, Work(tokens=tokens, scored=scored)) + products, 1)
    lines: list[dict[str, Any]] = [{"case": "machine", "matrix_gflops": round(rate, 1)}]
    lines += [
        {
            "case": name,
            "rows": len(rows),
            "tokens": tokens,
            "seconds": round(s, 2),
            "cpu_seconds": round(cpu[name], 2),
            "ms_a_row": round(1000 * s / len(rows)),
        }
        | {"gflop_least": least, "gflops": round(least / s, 1)}
        for name, s in seconds.items()
    ]
    off = np.abs(values["batched"] - values["one row at a time"]).max() / np.abs(values["one row at a time"]).max()
    less = cpu["one row at a time"] / cpu["batched"]
    faster = seconds["one row at a time"] / seconds["batched"]
    return [
        *lines,
        {
            "case": "ratio",
            "faster": round(faster, 2),
            "less_cpu": round(less, 2),
            "largest_relative_difference": float(off),
        },
    ]


def main(arguments: Sequence[str]) -> None:
    """Prints the cases."""
    for line in run(Path(arguments[0]), *arguments[1:2]):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
