"""`kill -9` at any moment: the same call goes on, and the result is that of an uninterrupted run, byte for byte."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tamis.errors import UserError
from tamis.pool.prepare import PrepareSettings, prepare
from tamis.store import claim

SHARDS = 24


def write_pool(folder: Path) -> None:
    """Rows of which some are bad, repeated, nearly repeated or contaminated, in several files and kinds."""
    draw = random.Random(0)
    words = [f"word{i}" for i in range(500)]
    folder.mkdir()
    held = [" ".join(draw.choices(words, k=20)) for _ in range(20)]
    (folder.parent / "heldout.jsonl").write_text(
        "".join(json.dumps({"prompt": text, "response": "yes"}) + "\n" for text in held)
    )
    rows = [{"prompt": " ".join(draw.choices(words, k=40)), "response": f"{i}"} for i in range(SHARDS * 100)]
    for i in range(0, len(rows), 50):
        rows[i] = rows[i] | {"response": ""}
        rows[i + 1] = rows[i // 2 + 2]
        rows[i + 2] = rows[i // 3 + 3] | {"response": "another"}
        rows[i + 3] = {"prompt": "Say " + held[i // 50 % 20], "response": "no"}
    lines = [json.dumps(row) for row in rows]
    (folder / "a.jsonl").write_text("\n".join(lines[:1000]) + "\nbroken\n")
    (folder / "b.json").write_text(f"[{','.join(lines[1000:])}]")


def command(folder: Path, out: Path) -> list[str]:
    code = "import sys; from tamis.cli import main; sys.exit(main())"
    options = [f"--set={change}" for change in ("shard_rows=100", "near_duplicates=remove", "contamination=report")]
    given = ["prepare", str(folder / "pool"), "--heldout", str(folder / "heldout.jsonl"), "--out", str(out), *options]
    return [sys.executable, "-c", code, *given]


def content(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def finished(out: Path) -> dict[Path, int]:
    """The shards whose manifest is written, with the time of their last change."""
    return {p: p.stat().st_mtime_ns for p in (out / "pool").glob("*.parquet") if p.with_suffix(".json").exists()}


def kill_and_resume(tmp_path: Path, times: int) -> None:
    write_pool(tmp_path / "pool")
    assert subprocess.run(command(tmp_path, tmp_path / "whole"), capture_output=True).returncode == 0
    whole = content(tmp_path / "whole")
    draw, cut = random.Random(1), 0
    for i in range(times):
        out = tmp_path / f"out-{i}"
        when, later = draw.randrange(SHARDS - 2), draw.random() * 0.02
        process = subprocess.Popen(command(tmp_path, out), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while process.poll() is None and len(list(out.glob("pool/*.json"))) < when:
            time.sleep(0.0005)
        time.sleep(later)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = finished(out)
        cut += not (out / "prepared.json").exists()
        done = subprocess.run(command(tmp_path, out), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert content(out) == whole
        assert kept.items() <= finished(out).items(), "a finished shard was written again"
    assert cut == times, "a run ended before it was killed"


def test_killed_at_3_random_moments(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, 3)


@pytest.mark.slow
def test_killed_at_20_random_moments(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, 20)


def test_of_two_runs_at_once_one_says_who_holds_it(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool")
    with claim(tmp_path / "out", run="the other"):
        done = subprocess.run(command(tmp_path, tmp_path / "out"), capture_output=True, text=True)
    assert done.returncode == 2
    assert f"out is held by run 'the other' on {os.uname().nodename}, process {os.getpid()}" in done.stderr
    given = command(tmp_path, tmp_path / "out")
    runs = [subprocess.Popen(given, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = {run.communicate()[1]: run.returncode for run in runs}
    assert 0 in told.values()
    for error, code in told.items():
        assert code == 0 or (code == 2 and "is held by run 'prepare' on" in error)


def test_what_was_begun_otherwise_is_not_mixed(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool")
    prepare(tmp_path / "pool", tmp_path / "out", options=PrepareSettings(shard_rows=100))
    (tmp_path / "out" / "prepared.json").unlink()
    with pytest.raises(UserError, match=r"shard-00000.parquet was made with settings.shard_rows 100 \(now 200\)"):
        prepare(tmp_path / "pool", tmp_path / "out", options=PrepareSettings(shard_rows=200))
    result = prepare(tmp_path / "pool", tmp_path / "out", options=PrepareSettings(shard_rows=200), overwrite=True)
    assert len(list((tmp_path / "out" / "pool").glob("*.parquet"))) == result["pool"]["shards"] == SHARDS // 2


def test_a_damaged_or_missing_shard_is_made_again(tmp_path: Path) -> None:
    write_pool(tmp_path / "pool")
    options = PrepareSettings(shard_rows=100)
    first = prepare(tmp_path / "pool", tmp_path / "out", options=options)
    whole = content(tmp_path / "out")
    shard = tmp_path / "out" / "pool" / "shard-00003.parquet"
    for damage in (
        shard.with_suffix(".json").unlink,
        shard.unlink,
        lambda: shard.write_bytes(b"from an older run"),
    ):
        damage()
        assert prepare(tmp_path / "pool", tmp_path / "out", options=options) == first
        assert content(tmp_path / "out") == whole
