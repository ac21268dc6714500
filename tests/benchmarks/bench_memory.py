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

SCORE = """
import json, sys
from pathlib import Path
from tamis.scoring import ScoreSettings, Scoring, score
scoring = Scoring(["ifd", "perplexity"], "demo", options=ScoreSettings(max_length=256))
print(json.dumps(score(Path(sys.argv[1]), Path(sys.argv[2]), scoring)["work"]))
"""


def run(data: Path) -> list[Figure]:
    """Peak memory of the score step on four shards and on sixteen, each in a process of its own.

    Four are about a dozen batches: so many it takes until the allocator holds all that a batch needs.
    """
    from tamis.pool.rows import to_table
    from tamis.pool.shards import write_shard

    rows = rows_of(data, 4 * SHARD_ROWS)
    peak = []
    with tempfile.TemporaryDirectory() as made:
        for shards in (4, 16):
            pool = Path(made, f"pool-{shards}")
            for i in range(shards):
                # The same lengths in every four shards: what is compared is the number of rows.
                write_shard(pool, i, to_table(rows[i % 4 :: 4][:SHARD_ROWS]), {})
            command = [sys.executable, "-c", SCORE, str(pool), str(Path(made, f"scores-{shards}"))]
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            peak.append(json.loads(out.splitlines()[-1])["peak_memory_mib"])
    return [Figure("scoring: memory for four times the pool", peak[1] / peak[0], 1.05, True, {"peak_mib": peak})]


def run_help() -> list[Figure]:
    """Seconds of `tamis --help`, the fastest of five."""
    command = [str(Path(sys.executable).with_name("tamis")), "--help"]
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    return [Figure("tamis --help: seconds", min(seconds), 0.3, True)]
