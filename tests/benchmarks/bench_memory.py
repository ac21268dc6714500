"""Memory of scoring must not grow with the pool, and `tamis --help` must not import anything heavy.

python -m tests.benchmarks memory help
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.figures import Figure, rows_of

SHARD_ROWS = 32
ROUNDS = 3

SCORE = """
import json, sys
from pathlib import Path
from tamis.scoring import ScoreSettings, Scoring, score
scoring = Scoring(["ifd", "perplexity"], "demo", options=ScoreSettings(max_length=256))
print(json.dumps(score(Path(sys.argv[1]), Path(sys.argv[2]), scoring)["work"]))
"""


def run(data: Path) -> list[Figure]:
    """Peak memory of the score step on two shards and on eight, each in processes of its own, the least of `ROUNDS`.

    The peak of one process varies by a tenth either way: by what the allocator happens to keep.
    """
    from tamis.pool.rows import to_table
    from tamis.pool.shards import write_shard

    rows = rows_of(data, 4 * SHARD_ROWS)
    peaks: dict[int, list[int]] = {2: [], 8: []}
    with tempfile.TemporaryDirectory() as made:
        for shards in peaks:
            for i in range(shards):
                # The same lengths in every shard: what is compared is the number of rows.
                write_shard(Path(made, f"pool-{shards}"), i, to_table(rows[i % 4 :: 4][:SHARD_ROWS]), {})
        for turn in range(ROUNDS):
            for shards, peak in peaks.items():
                command = [sys.executable, "-c", SCORE, f"{made}/pool-{shards}", f"{made}/scores-{shards}-{turn}"]
                out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                peak.append(json.loads(out.splitlines()[-1])["peak_memory_mib"])
    ratio = min(peaks[8]) / min(peaks[2])
    return [Figure("scoring: memory for four times the pool", ratio, 1.05, True, {"peak_mib": peaks})]


def run_help() -> list[Figure]:
    """Seconds of `tamis --help`, the fastest of five."""
    command = [str(Path(sys.executable).with_name("tamis")), "--help"]
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    return [Figure("tamis --help: seconds", min(seconds), 0.3, True)]
