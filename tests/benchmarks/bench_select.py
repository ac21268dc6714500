"""Selection from score shards on disk: seconds and peak memory, each case in its own process.

    python -m tests.benchmarks.bench_select [case ...]

Prints one JSON line a case: name, seconds, peak_mib (resident memory of the process, Arrow and NumPy included), rows,
selected. The shards are synthetic: ids are 32 hex digits, similarities float32 with a common part, so that tasks partly
agree about rows, as real ones do.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tamis.pool.shards import shards, write_shard

ROWS = 5_800_000
SHARD_ROWS = 100_000


def write(folder: Path, rows: int, width: int) -> Path:
    """Score shards with `ifd` (double), `near` (a list of so many floats) and its tasks, one for each entry."""
    random = np.random.default_rng(0)
    for index, start in enumerate(range(0, rows, SHARD_ROWS)):
        n = min(SHARD_ROWS, rows - start)
        text = np.frombuffer(random.bytes(16 * n).hex().encode(), "S32")
        near = 0.7 * random.standard_normal((n, 1), np.float32) + 0.7 * random.standard_normal((n, width), np.float32)
        ifd = random.random(n)
        missing = pa.array(random.random(n) < 0.01)
        tasks = {"tasks": json.dumps([f"task {i}" for i in range(width)])}
        lists = pa.FixedSizeListArray.from_arrays(near.ravel(), width, mask=missing)
        schema = pa.schema(
            [
                ("id", pa.string()),
                ("source", pa.string()),
                ("status", pa.string()),
                ("ifd", pa.float64()),
                pa.field("near", lists.type, metadata=tasks),
            ]
        )
        columns = [
            pa.array(text.astype(str), pa.string()),
            pa.array(random.choice(["flan", "dolly", "code"], n), pa.string()),
            pa.array(["scored"] * n),
            pa.array(ifd),
            lists,
        ]
        write_shard(folder, index, pa.Table.from_arrays(columns, schema=schema), {})
    return folder


def choose(folder: Path, name: str, k: int, column: str | None, keep: str | None = None, **settings: Any) -> int:
    """Opens the shards (digests are checked) and selects; how many rows it chose."""
    from tamis.selectors import SELECTORS, Candidates, Scores

    kind = SELECTORS[name]
    candidates = Candidates(Scores(shards(folder)), column, keep)
    return len(kind(kind.Settings(**settings)).select(candidates, k, 0))


LARGE, WIDE = (ROWS, 7), (200_000, 64)
CASES: dict[str, tuple[tuple[int, int], Callable[[Path], int]]] = {
    "round robin, 7 tasks, 2.5 M of 5.8 M": (LARGE, lambda f: choose(f, "round-robin", 2_500_000, "near")),
    "round robin next_best, 7 tasks, 2.5 M of 5.8 M": (
        LARGE,
        lambda f: choose(f, "round-robin", 2_500_000, "near", on_duplicate="next_best"),
    ),
    "top 10 % of 5.8 M": (LARGE, lambda f: choose(f, "top", ROWS // 10, "ifd")),
    "top 10 % of 5.8 M, ifd < 0.9": (LARGE, lambda f: choose(f, "top", ROWS // 10, "ifd", "ifd < 0.9")),
    "random 10 % of 5.8 M": (LARGE, lambda f: choose(f, "random", ROWS // 10, None)),
    "balanced random 10 % of 5.8 M": (LARGE, lambda f: choose(f, "balanced-random", ROWS // 10, None)),
    "round robin, 64 target rows, 20 k of 200 k": (
        WIDE,
        lambda f: choose(f, "round-robin", 20_000, "near", over="rows"),
    ),
    "round robin next_best, 64 target rows, 20 k of 200 k": (
        WIDE,
        lambda f: choose(f, "round-robin", 20_000, "near", over="rows", on_duplicate="next_best"),
    ),
}


def measure(name: str, folder: Path) -> None:
    """Runs one case in this process and prints its line."""
    started = time.perf_counter()
    selected = CASES[name][1](folder)
    line = {
        "name": name,
        "seconds": round(time.perf_counter() - started, 2),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "rows": CASES[name][0][0],
        "selected": selected,
    }
    print(json.dumps(line), flush=True)


def main(wanted: list[str]) -> None:
    """Writes the shards that the cases need, then starts a process for each case."""
    with tempfile.TemporaryDirectory() as made:
        folders: dict[tuple[int, int], Path] = {}
        for name, (shape, _) in CASES.items():
            if wanted and not any(word in name for word in wanted):
                continue
            if shape not in folders:
                folders[shape] = write(Path(made, "x".join(map(str, shape))), *shape)
            subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.bench_select", "--one", name, folders[shape]], check=True
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        measure(sys.argv[2], Path(sys.argv[3]))
    else:
        main(sys.argv[1:])
