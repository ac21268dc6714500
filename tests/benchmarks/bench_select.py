"""Selection from score shards on disk: seconds and peak memory, each case in its own process.

    python -m tests.benchmarks.bench_select [part of a case's name ...]
    python -m tests.benchmarks.bench_select --exactly NAME ...

Prints one JSON line a case: name, seconds, cpu_seconds (of the process, imports included), peak_mib (its resident
memory, Arrow and NumPy included), rows, selected; for the approximate forms also what they reach beside the exact
choice and a random one, and how much they lose. The shards are synthetic: ids are 32 hex digits; similarities have a
common part, so that tasks partly agree about rows; vectors lie in clusters of unequal size.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tamis.pool.rows import SCHEMA
from tamis.pool.shards import shards, write_shard
from tamis.selectors import SELECTORS, Candidates, Scores

SHARD_ROWS = 100_000


def write_scores(folder: Path, rows: int, width: int, clusters: int) -> None:
    """Score shards with `ifd` (a double) and `near` (a list of so many floats), and their pool."""
    random = np.random.default_rng(0)
    middles = random.standard_normal((max(clusters, 1), width), np.float32)
    for index, start in enumerate(range(0, rows, SHARD_ROWS)):
        n = min(SHARD_ROWS, rows - start)
        ids = pa.array(np.frombuffer(random.bytes(16 * n).hex().encode(), "S32").astype(str), pa.string())
        sources = pa.array(random.choice(["flan", "dolly", "code"], n), pa.string())
        common = random.standard_normal((n, 1), np.float32)
        if clusters:
            common = 2 * middles[(clusters * random.random(n) ** 3).astype(int)]  # the first clusters are large
        near = common + random.standard_normal((n, width), np.float32)
        lists = pa.FixedSizeListArray.from_arrays(near.ravel(), width, mask=pa.array(random.random(n) < 0.01))
        tasks = {"tasks": json.dumps([f"task {i}" for i in range(width)])}
        fields = [("id", pa.string()), ("source", pa.string()), ("ifd", pa.float64())]
        schema = pa.schema([*fields, pa.field("near", lists.type, metadata=tasks)])
        table = pa.Table.from_arrays([ids, sources, pa.array(random.random(n)), lists], schema=schema)
        write_shard(folder / "scores", index, table, {})
        turns = pa.array([[{"role": "user", "content": "q" * 200}, {"role": "assistant", "content": "a" * 400}]])
        messages = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), turns).dictionary_decode()
        columns = [ids, messages.cast(SCHEMA.field("messages").type), sources, pa.array(["{}"] * n, pa.string())]
        write_shard(folder / "pool", index, pa.Table.from_arrays(columns, schema=SCHEMA), {})


def choose(
    folder: Path, name: str, k: int, column: str | None, keep: str | None = None, **settings: Any
) -> tuple[Candidates, NDArray[np.int64]]:
    """Opens the shards (digests are checked) and selects."""
    candidates = Candidates(Scores(shards(folder / "scores")), column, keep)
    kind = SELECTORS[name]
    return candidates, kind(kind.Settings(**settings)).select(candidates, k, 0)


def plain(name: str, k: int, column: str | None, keep: str | None = None, **settings: Any) -> "Case":
    """A case that only selects."""
    return lambda folder: {"selected": len(choose(folder, name, k, column, keep, **settings)[1])}


def against_exact(name: str, k: int, part_rows: int) -> "Case":
    """A case that selects in parts, and measures it beside the exact choice and a random one."""

    def run(folder: Path) -> dict[str, Any]:
        started = time.perf_counter()
        candidates, chosen = choose(folder, name, k, "near", part_rows=part_rows)
        seconds = time.perf_counter() - started
        _, exact = choose(folder, name, k, "near", part_rows=candidates.rows)
        exact_seconds = time.perf_counter() - started - seconds
        vectors = np.concatenate([block for _, block in candidates.blocks()])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        rows = np.flatnonzero(candidates.eligible)
        random = np.random.default_rng(0).permutation(rows)[:k]
        nearest = [np.maximum(vectors[rows] @ vectors[some].T, 0).max(axis=1) for some in (chosen, exact, random)]
        of = {"facility-location": lambda one: one.sum(dtype=float), "k-center": lambda one: float(1 - one.min())}[name]
        reached, best, chance = map(of, nearest)
        return {
            "selected": len(chosen),
            "measure": "coverage" if name == "facility-location" else "radius",
            "reached": round(reached, 4),
            "exact": round(best, 4),
            "random": round(chance, 4),
            "loss_percent": round(100 * (best - reached) / best * (1 if name == "facility-location" else -1), 2),
            "seconds": round(seconds, 2),
            "seconds_exact": round(exact_seconds, 2),
        }

    return run


def whole_step(folder: Path) -> dict[str, Any]:
    """The select step with its files: scores matched to the pool, three arms, a reason for every row."""
    from tamis.selecting import select

    arms = {"random_seeds": [0], "extra_arms": ["full"]}
    select(folder / "pool", [folder / "scores"], folder / "out", methods=["ifd"], budget="10%", **arms)
    return {"selected": json.loads((folder / "out" / "ifd" / "arm.json").read_text())["selected"]}


Case = Callable[[Path], dict[str, Any]]
# Rows, length of the lists, clusters of the vectors.
LARGE, WIDE, MILLION = (5_800_000, 7, 0), (200_000, 64, 0), (1_000_000, 1, 0)
VECTORS, MORE = (16_384, 384, 400), (100_000, 384, 400)
CASES: dict[str, tuple[tuple[int, int, int], Case]] = {
    "round robin, 7 tasks, 2.5 M of 5.8 M": (LARGE, plain("round-robin", 2_500_000, "near")),
    "round robin next_best, 7 tasks, 2.5 M of 5.8 M": (
        LARGE,
        plain("round-robin", 2_500_000, "near", on_duplicate="next_best"),
    ),
    "top 10 % of 5.8 M": (LARGE, plain("top", 580_000, "ifd")),
    "top 10 % of 5.8 M, ifd < 0.9": (LARGE, plain("top", 580_000, "ifd", "ifd < 0.9")),
    "random 10 % of 5.8 M": (LARGE, plain("random", 580_000, None)),
    "balanced random 10 % of 5.8 M": (LARGE, plain("balanced-random", 580_000, None)),
    "gumbel 10 % of 5.8 M": (LARGE, plain("gumbel-top-k", 580_000, "ifd")),
    "round robin, 64 target rows, 20 k of 200 k": (WIDE, plain("round-robin", 20_000, "near", over="rows")),
    "round robin next_best, 64 target rows, 20 k of 200 k": (
        WIDE,
        plain("round-robin", 20_000, "near", over="rows", on_duplicate="next_best"),
    ),
    "facility location, 1638 of 16 k, parts of 2048": (VECTORS, against_exact("facility-location", 1638, 2048)),
    "facility location, 256 of 16 k, parts of 2048": (VECTORS, against_exact("facility-location", 256, 2048)),
    "k-center, 1638 of 16 k, parts of 2048": (VECTORS, against_exact("k-center", 1638, 2048)),
    "k-center, 256 of 16 k, parts of 2048": (VECTORS, against_exact("k-center", 256, 2048)),
    "facility location, 10 k of 100 k, parts of 8192": (MORE, plain("facility-location", 10_000, "near")),
    "k-center, 10 k of 100 k, parts of 8192": (MORE, plain("k-center", 10_000, "near")),
    "select step, 3 arms, pool of 1 M": (MILLION, whole_step),
}


def peak_mib() -> int:
    """Peak resident memory of this process; `ru_maxrss` would count that of the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def measure(name: str, folder: Path) -> None:
    """Runs one case in this process and prints its line."""
    started = time.perf_counter()
    found = CASES[name][1](folder)
    line = {
        "name": name,
        "seconds": round(time.perf_counter() - started, 2),
        "cpu_seconds": round(time.process_time(), 2),
        "peak_mib": peak_mib(),
        "rows": CASES[name][0][0],
    }
    print(json.dumps(line | found), flush=True)


def main(wanted: list[str]) -> None:
    """Writes the shards that the cases need, then starts a process for each case."""
    exactly = wanted[:1] == ["--exactly"]
    with tempfile.TemporaryDirectory() as made:
        for name, (shape, _) in CASES.items():
            if wanted and not (name in wanted if exactly else any(word in name for word in wanted)):
                continue
            folder = Path(made, "x".join(map(str, shape)))
            if not folder.exists():
                write_scores(folder, *shape)
            command = [sys.executable, "-m", "tests.benchmarks.bench_select", "--one", name, str(folder)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        measure(sys.argv[2], Path(sys.argv[3]))
    else:
        main(sys.argv[1:])
