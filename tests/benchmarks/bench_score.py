"""Scoring on real rows: the share of the machine's matrix rate, and against the published way.

    python -m tests.benchmarks score

The published way is restated here in a few lines: one row at a time, the model's own attention, logits at every
position, for RDS+ every layer's hidden state. Both see the same rows; what both compute is compared in float32.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from tamis.pool.rows import Row
from tests.benchmarks.figures import Figure, rows_of

ROWS = 96
SLOW_ROWS = 16
"""Of these, what the published way is timed on."""
ROUNDS = 2
SHARES = 5
"""Rounds of which the middle one is taken."""
OPERATIONS = {
    "linear maps": ("aten::mm", "aten::addmm", "mkldnn::_linear_pointwise"),
    "attention": ("aten::bmm", "aten::_softmax", "aten::_scaled_dot_product_flash_attention_for_cpu"),
}
"""What PyTorch calls the products of a pass."""


def run(data: Path) -> list[Figure]:
    """Shares in float32 and bfloat16, ratios to the published way, and five methods against one."""
    import torch
    from transformers import AutoModelForCausalLM

    from tamis.lm.load import load, resolve
    from tamis.lm.machine import fast_type
    from tamis.lm.work import gflop

    rows = rows_of(data, ROWS)
    figures = []
    for name in ("float32", "bfloat16"):
        dtype = getattr(torch, name)
        lm = load("demo", name)  # type: ignore[arg-type]
        for method in ("ifd", "rds"):
            shares = []
            for _ in range(SHARES):  # the rate of a machine that others use swings, so it is measured around each
                before = _rate(dtype)
                engine, seconds = _timed(lm, rows, _wants(method), 1)
                speed = gflop(lm, engine.work) / seconds
                shares.append(speed / max(before, _rate(dtype)))
            detail = {
                "shares": [round(share, 3) for share in shares],
                "gflops": round(speed),
                "matrix_gflops": round(before),
                "model_gflops": _model_shapes(dtype),
                "parts": _parts(lm, rows[::6], method, dtype),
                "tokens": engine.work.tokens,
                "scored": engine.work.scored,
                "tokens_per_second": round(engine.work.tokens / seconds),
                "share_of_tokenisation": round(_seconds(engine.encode_all, rows, _wants(method).values()) / seconds, 4),
            }
            reach = {"float32": 0.80, "bfloat16": 0.65}[name]
            figures.append(Figure(f"{method}, {name}: share of the matrix rate", median(shares), reach, detail=detail))
        positions = engine.work.tokens + engine.work.filled  # attention on a CPU fills rows up
        figures.append(Figure(f"padding, {name}: share of positions", 1 - _real(engine, rows) / positions, 0.03, True))
        if dtype == fast_type():
            _, alone = _timed(lm, rows, _wants("ifd"))
            _, five = _timed(lm, rows, _wants("five"))
            figures.append(Figure("five methods in one run: time of IFD alone", five / alone, 1.1, True))
        del lm

    some = rows[:: ROWS // SLOW_ROWS][:SLOW_ROWS]
    best = "bfloat16" if fast_type() == torch.bfloat16 else "float32"
    for method, published, reach in (("ifd", "float32", 4.0), ("rds", "bfloat16", 1.7)):
        plain = AutoModelForCausalLM.from_pretrained(resolve("demo"), dtype=getattr(torch, published)).eval()
        ours = load("demo", best)  # type: ignore[arg-type]
        encoded = _encoded(ours, some)
        theirs = {"ifd": _published_ifd, "rds": _published_rds}[method]
        mine, slow = float("inf"), float("inf")
        for _ in range(ROUNDS):
            mine = min(mine, _timed(ours, some, _wants(method), 1)[1])
            slow = min(slow, _seconds(theirs, plain, encoded))
        detail = {"ours": best, "published": published, "rows": len(some), "seconds": [round(mine, 2), round(slow, 2)]}
        figures.append(Figure(f"{method}: times the published way", slow / mine, reach, detail=detail))
    figures.append(_agreement(some[:8]))
    return figures


def _parts(lm: Any, rows: Sequence[Row], method: str, dtype: Any) -> dict[str, float]:
    """Where the time of a pass goes on one core, which is what stands between the share and its aim.

    Shares of the time: the linear maps, attention (its products and softmax), and all else (norms, rotations, sums,
    activations, copies, Python); then the share of one core's matrix rate that the whole pass and its linear maps
    reach. Attention by head is among the linear maps: it calls the same product.
    """
    import torch
    from torch.profiler import ProfilerActivity, profile

    from tamis.lm.engine import Engine
    from tamis.lm.work import Work, gflop

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the profiler does not see the threads that read a batch on each core
    try:
        engine, seconds = _timed(lm, rows, _wants(method))
        rate = _rate(dtype)
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            Engine(lm).observe(rows, _wants(method))
    finally:
        torch.set_num_threads(threads)
    own = {event.key: event.self_cpu_time_total * 1e-6 for event in seen.key_averages()}
    taken = {part: sum(own.get(name, 0.0) for name in names) for part, names in OPERATIONS.items()}
    shares = {part: round(time / sum(own.values()), 3) for part, time in taken.items()}
    maps = Work(tokens=engine.work.tokens, scored=engine.work.scored)
    return shares | {
        "all else": round(1 - sum(shares.values()), 3),
        "rate of the pass": round(gflop(lm, engine.work) / seconds / rate, 3),
        "rate of the linear maps": round(gflop(lm, maps) / taken["linear maps"] / rate, 3),
    }


def _rate(dtype: Any) -> float:
    """The most that the machine multiplies now, in GFLOP/s."""
    from tamis.lm.machine import rates

    rates.cache_clear()
    return max(rate for size in (1024, 2048) for rate in rates(dtype, size=size).values())


def _wants(method: str) -> dict[str, Any]:
    from tamis.lm.observations import Activations, Hidden, Loss

    ifd = {"given": Loss(), "alone": Loss(context="header")}
    ends = {"ended": Loss("answer+end"), "ended alone": Loss("answer+end", "header")}
    rds = {"pooled": Hidden()}
    return {"ifd": ifd, "rds": rds, "five": ifd | ends | rds | {"change": Activations()}}[method]


def _timed(lm: Any, rows: Sequence[Row], wants: dict[str, Any], rounds: int = ROUNDS) -> tuple[Any, float]:
    """The engine of the fastest of some rounds, tokenisation included, and its seconds."""
    from tamis.lm.engine import Engine

    Engine(lm).observe(rows[:2], wants)  # lays the weights out
    best = float("inf")
    for _ in range(rounds):
        engine = Engine(lm)
        best = min(best, _seconds(engine.observe, rows, wants))
    return engine, best


def _seconds(work: Callable[..., Any], *arguments: Any) -> float:
    started = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - started


def _real(engine: Any, rows: Sequence[Row]) -> int:
    """Tokens of the rows themselves."""
    return sum(len(row.ids) for row in engine.encode(rows))


def _encoded(lm: Any, rows: Sequence[Row]) -> list[tuple[Any, Any]]:
    """Each row and its answer alone."""
    from tamis.lm.engine import Engine

    engine = Engine(lm)
    return [(row, engine.encoder().view(row, "header")) for row in engine.encode(rows)]


def _published_ifd(model: Any, encoded: Sequence[tuple[Any, Any]]) -> Any:
    """Two passes of one row each, the library's own loss over all logits."""
    import torch

    from tamis.lm.templates import Kind

    losses = []
    for pair in encoded:
        for text in pair:
            ids = torch.from_numpy(text.ids.astype(np.int64))[None]
            labels = torch.where(torch.from_numpy(text.kinds == Kind.ANSWER)[None], ids, -100)
            with torch.inference_mode():
                losses.append(float(model(input_ids=ids, labels=labels).loss))
    return np.reshape(losses, (-1, 2))


def _published_rds(model: Any, encoded: Sequence[tuple[Any, Any]]) -> Any:
    """One pass of one row each, all hidden states kept and all logits computed, the last state pooled by position."""
    import torch

    pooled = []
    for text, _ in encoded:
        ids = torch.from_numpy(text.ids.astype(np.int64))[None]
        with torch.inference_mode():
            last = model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0].float()
        weights = torch.arange(1, len(last) + 1, dtype=torch.float32)
        pooled.append((weights / weights.sum()) @ last)
    return torch.stack(pooled).numpy()


def _agreement(rows: Sequence[Row]) -> Figure:
    """The largest relative difference between ours and the published way, both in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    from tamis.lm.engine import Engine
    from tamis.lm.load import load, resolve

    lm = load("demo", "float32")
    plain = AutoModelForCausalLM.from_pretrained(resolve("demo"), dtype=torch.float32).eval()
    seen, encoded = Engine(lm).observe(rows, _wants("five")), _encoded(lm, rows)
    losses, pooled = _published_ifd(plain, encoded), _published_rds(plain, encoded)
    off = [
        np.abs(seen["given"] / losses[:, 0] - 1).max(),
        np.abs(seen["alone"] / losses[:, 1] - 1).max(),
        (np.abs(seen["pooled"] - pooled).max(axis=1) / np.abs(pooled).max(axis=1)).max(),
    ]
    return Figure("float32: relative difference to the published way", float(max(off)), 1e-4, True)


def _model_shapes(dtype: Any) -> dict[str, int]:
    """GFLOP/s of the model's own products, the faster way of each: 2048 tokens, inputs x outputs."""
    import torch

    from tamis.lm import dense

    found = {}
    for inputs, outputs in ((576, 576), (576, 192), (576, 1536), (1536, 576)):
        x, weight = torch.ones(2048, inputs, dtype=dtype), torch.ones(outputs, inputs, dtype=dtype)
        packed = dense.pack(weight)
        plain = min(_seconds(torch.nn.functional.linear, x, weight) for _ in range(6))
        seconds = min(plain, *(_seconds(dense.multiply, x, packed, None) for _ in range(6)))
        found[f"{inputs}x{outputs}"] = round(2e-9 * 2048 * inputs * outputs / seconds)
    return found
