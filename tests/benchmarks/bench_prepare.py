"""Rows a second and peak memory of `prepare` on a pool of any size, made from real rows.

    python tests/benchmarks/bench_prepare.py DATA WORK --rows 250000 --rows 1000000 [--set near_duplicates=report]

DATA is a folder with `pools/*.jsonl.gz`; the pool is made of their rows, again and again, each time with a third of
the words changed so that no two rows are alike, and left in WORK for the next time. `--heldout` also gives
`evals/gsm8k_test.jsonl.gz` as held-out rows. Each size runs in a process of its own, whose peak memory is printed.
"""

import argparse
import gzip
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path


def make_pool(data: Path, path: Path, rows: int) -> None:
    """Writes that many distinct rows."""
    real = []
    for file in sorted((data / "pools").glob("*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            real += [json.loads(line) | {"source": file.name.split(".")[0]} for line in lines]
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as out:
        for i in range(rows):
            turn, row = i // len(real), real[i % len(real)]
            if turn:
                row = row | {name: changed(row[name], turn) for name in ("instruction", "input", "output")}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    os.replace(part, path)


def changed(text: str, turn: int) -> str:
    """The text with a third of its words, other ones each time, given a number."""
    places = itertools.count(turn)
    return re.sub(r"\w+", lambda word: f"{word[0]}{turn}" if next(places) * 7919 % 3 == 0 else word[0], text)


def heldout_rows(data: Path, path: Path) -> None:
    """The test questions of GSM8K as rows."""
    with gzip.open(data / "evals" / "gsm8k_test.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [{"prompt": row["question"], "response": row["answer"]} for row in map(json.loads, lines)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    """Makes what is missing, runs each size and prints a line of JSON for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--rows", type=int, action="append", required=True)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--heldout", action="store_true")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    given = [f"--set={change}" for change in args.set]
    if args.heldout:
        heldout_rows(args.data, args.work / "heldout.jsonl")
        given += ["--heldout", str(args.work / "heldout.jsonl")]
    for rows in args.rows:
        pool, out = args.work / f"pool-{rows}.jsonl", args.work / "prepared"
        if not pool.exists():
            make_pool(args.data, pool, rows)
        shutil.rmtree(out, ignore_errors=True)
        code = "import sys; from tamis.cli import main; sys.exit(main())"
        command = [sys.executable, "-c", code, "prepare", str(pool), "--out", str(out), *given]
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        if status:
            sys.exit(f"prepare ended with {status}")
        part = json.loads((out / "prepared.json").read_text())["pool"]
        print(
            json.dumps(
                {
                    "rows": rows,
                    "kept": part["rows"],
                    "rejected": part["rejected"],
                    "flagged": part["flagged"],
                    "megabytes": round(pool.stat().st_size / 1e6),
                    "seconds": round(seconds, 1),
                    "rows_per_second": round(rows / seconds),
                    "peak_mib": used.ru_maxrss // 1024,
                    "settings": given,
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
