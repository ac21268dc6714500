"""What a kill leaves: complete shards, which the next run keeps; and two runs that want the same folder."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import make_row

from tamis import store
from tamis.errors import UserError
from tamis.evaluate import EvaluationSettings, evaluate
from tamis.pool import shards
from tamis.pool.rows import to_table
from tamis.scoring import ScoreSettings, Scoring, fit, score
from tamis.selecting import select

SHARDS = 24


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    for i in range(SHARDS):
        rows = [make_row(f"Which number is {i} times {j}?", f"{i} times {j} is {i * j}.") for j in range(3)]
        shards.write_shard(folder, i, to_table(rows), {})
    return folder


@pytest.fixture(scope="module")
def whole(pool: Path, small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run that nobody interrupts writes."""
    out = tmp_path_factory.mktemp("whole") / "scores"
    options = ScoreSettings(max_length=128, dtype="float32")
    score(pool, out, Scoring(["ifd"], str(small_model), options=options))
    return out


def tables(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("shard-*.parquet"))}


def complete(out: Path) -> dict[str, int]:
    """The complete shards, and when each was written."""
    paths = [path for path in out.glob("shard-*.parquet") if path.with_suffix(".json").exists()]
    return {path.name: path.stat().st_mtime_ns for path in paths}


def command(pool: Path, small_model: Path, out: Path) -> list[str]:
    reading = ["--model", str(small_model), "--dtype", "float32", "--max-length", "128"]
    return [
        *(sys.executable, "-m", "tamis.cli", "score", str(pool), "--method", "ifd"),
        *reading,
        *("--out", str(out)),
    ]


def kill_at(moment: Callable[[], bool], run: list[str], delay: float) -> bool:
    """Starts a run and kills it some time after a moment; whether it was still running then."""
    with subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not moment():
            time.sleep(0.001)
        time.sleep(delay)
        running = process.poll() is None
        process.send_signal(signal.SIGKILL)
        error = process.communicate()[1].decode()
    assert running or process.returncode == 0, error
    return running


def killed_and_resumed(pool: Path, small_model: Path, whole: Path, folder: Path, kills: int) -> int:
    """Kills so often, each time a little further on; returns how many of the folders were finished."""
    draw, done, finished, out = random.Random(kills), 0, 0, folder / "0"
    while done < kills:
        before = complete(out)
        wanted = draw.randrange(len(before), min(len(before) + 8, SHARDS + 1))
        done += kill_at(
            lambda out=out, wanted=wanted: len(complete(out)) >= wanted and out.exists(),  # type: ignore[misc]
            command(pool, small_model, out),
            draw.random() * 0.05,
        )
        assert {name: at for name, at in complete(out).items() if name in before} == before  # nothing done twice
        if len(complete(out)) == SHARDS:
            finished, out = finished + 1, folder / str(finished + 1)
    for path in folder.iterdir():
        if path.is_dir():
            before = complete(path)
            options = ScoreSettings(max_length=128, dtype="float32")
            result = score(pool, path, Scoring(["ifd"], str(small_model), options=options))
            assert result["shards_reused"] == len(before)
            assert {name: at for name, at in complete(path).items() if name in before} == before
            assert tables(path) == tables(whole)
    return finished


def test_a_killed_run_is_continued_to_the_same_bytes(
    pool: Path, small_model: Path, whole: Path, tmp_path: Path
) -> None:
    killed_and_resumed(pool, small_model, whole, tmp_path, kills=2)


@pytest.mark.slow
def test_twenty_kills(pool: Path, small_model: Path, whole: Path, tmp_path: Path) -> None:
    killed_and_resumed(pool, small_model, whole, tmp_path, kills=20)


def test_of_two_runs_on_one_folder_the_other_says_who_holds_it(
    pool: Path, small_model: Path, whole: Path, tmp_path: Path
) -> None:
    scoring = Scoring(["ifd"], str(small_model))
    steps: dict[str, Callable[[Path], object]] = {
        "fit": lambda out: fit(pool, out, scoring),
        "score": lambda out: score(pool, out, scoring),
        "select": lambda out: select(pool, [whole], out, methods=["ifd"]),
        "evaluate": lambda out: evaluate(
            str(small_model), out, EvaluationSettings(), heldout=pool, template="chat", arm="base"
        ),
    }
    for name, step in steps.items():
        out = tmp_path / name
        with store.claim(out, run=name), pytest.raises(UserError, match=f"is held by run '{name}' on .* since"):
            step(out)
        assert not list(out.rglob("*.*"))


def test_overwrite_does_everything_again(pool: Path, small_model: Path, tmp_path: Path) -> None:
    told = {"heldout": pool, "template": "chat", "arm": "base"}
    settings = EvaluationSettings(max_length=64)
    evaluate(str(small_model), tmp_path / "e", settings, **told)  # type: ignore[arg-type]
    first = (tmp_path / "e" / "heldout.parquet").stat().st_mtime_ns
    evaluate(str(small_model), tmp_path / "e", settings, **told)  # type: ignore[arg-type]
    assert (tmp_path / "e" / "heldout.parquet").stat().st_mtime_ns == first
    with pytest.raises(UserError, match="--overwrite it"):
        evaluate(str(small_model), tmp_path / "e", EvaluationSettings(max_length=65), **told)  # type: ignore[arg-type]
    evaluate(str(small_model), tmp_path / "e", EvaluationSettings(max_length=65), **told, overwrite=True)  # type: ignore[arg-type]
    assert (tmp_path / "e" / "heldout.parquet").stat().st_mtime_ns > first
