"""Measures what the project promises of its speed, prints a table and keeps it.

    python -m tests.benchmarks [part ...]      (make bench)

Parts: score, incontext, gradients, select, memory, help; all if none is named. Each runs in a process of its own. Real
rows come from the folder in TAMIS_DATA (default ../shared/data). The table also shows the last recorded figures, in
`runs/bench`. Nothing else should run meanwhile.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.figures import Figure, show

RECORDS = Path("runs/bench")
SELECT = {
    "round robin, 7 tasks, 2.5 M of 5.8 M": (60.0, 4096.0),
    "top 10 % of 5.8 M": (5.0, 1024.0),
}


def score(data: Path) -> list[Figure]:
    from tests.benchmarks import bench_score

    return bench_score.run(data)


def incontext(data: Path) -> list[Figure]:
    from tests.benchmarks import bench_incontext

    *_, ratio = bench_incontext.run(data / "pools" / "dolly.jsonl.gz")
    reach = round(0.85 * ratio["fewer_tokens"], 2)
    return [Figure("RICo: times without reuse of the context", ratio["faster_than_no_reuse"], reach, detail=ratio)]


def gradients(data: Path) -> list[Figure]:
    from tests.benchmarks import bench_gradients

    *cases, ratio = bench_gradients.run(data / "pools" / "dolly.jsonl.gz")
    detail = ratio | {case["case"]: case for case in cases}
    return [Figure("LoRA gradients of rows: times one row at a time", ratio["faster"], 2.0, detail=detail)]


def select(data: Path) -> list[Figure]:
    figures = []
    command = [sys.executable, "-m", "tests.benchmarks.bench_select", "--exactly", *SELECT]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in map(json.loads, out.splitlines()):
        seconds, mib = SELECT[line["name"]]
        figures.append(Figure(f"{line['name']}: seconds", line["seconds"], seconds, True, line))
        figures.append(Figure(f"{line['name']}: MiB", line["peak_mib"], mib, True))
    return figures


def memory(data: Path) -> list[Figure]:
    from tests.benchmarks import bench_memory

    return bench_memory.run(data)


def help(data: Path) -> list[Figure]:
    from tests.benchmarks import bench_memory

    return bench_memory.run_help()


PARTS: dict[str, Callable[[Path], list[Figure]]] = {
    part.__name__: part for part in (score, incontext, gradients, select, memory, help)
}
NEED_DATA = {"score", "incontext", "gradients", "memory"}


def last_record() -> dict[str, float]:
    """Figures by name, each from the latest record that has it."""
    known: dict[str, float] = {}
    for path in sorted(RECORDS.glob("*.json")):
        known |= {figure["name"]: figure["value"] for figure in json.loads(path.read_text())["figures"]}
    return known


def table(figures: list[Figure], before: dict[str, float]) -> str:
    lines = ["| figure | measured | reach | met | last |", "|---|--:|--:|---|--:|"]
    for f in figures:
        reach = "" if f.reach is None else f"{'≤' if f.at_most else '≥'} {f.reach:g}"
        met = "" if f.met is None else "yes" if f.met else "NO"
        last = f"{before[f.name]:.3g}" if f.name in before else ""
        lines.append(f"| {f.name} | {f.value:.3g} | {reach} | {met} | {last} |")
    return "\n".join(lines)


def main(wanted: list[str]) -> int:
    unknown = [name for name in wanted if name not in PARTS]
    if unknown:
        print(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    names = wanted or list(PARTS)
    data = Path(os.environ.get("TAMIS_DATA", "../shared/data"))
    if NEED_DATA & set(names) and not (data / "pools" / "dolly.jsonl.gz").exists():
        print(f"no pools/dolly.jsonl.gz in {data}; set TAMIS_DATA to the folder with the real rows", file=sys.stderr)
        return 2
    before, figures, seconds = last_record(), [], {}
    for name in names:
        started = time.perf_counter()
        command = [sys.executable, "-m", "tests.benchmarks", "--one", name, str(data)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            print(f"part {name} failed; its error is above", file=sys.stderr)
            return 1
        mine = [Figure(**json.loads(line)) for line in done.stdout.splitlines() if line.startswith('{"name"')]
        seconds[name] = round(time.perf_counter() - started, 1)
        print(table(mine, before), flush=True)
        figures += mine
    RECORDS.mkdir(parents=True, exist_ok=True)
    path = RECORDS / time.strftime("%Y-%m-%dT%H-%M-%S.json")
    content = {"seconds": seconds, "figures": [vars(f) | {"met": f.met} for f in figures]}
    path.write_text(json.dumps(content, indent=1) + "\n")
    missed = sum(f.met is False for f in figures)
    print(f"\n{len(figures)} figures, {missed} missed, in {sum(seconds.values()):.0f} s; details in {path}")
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        show(PARTS[sys.argv[2]](Path(sys.argv[3])))
    else:
        sys.exit(main(sys.argv[1:]))
