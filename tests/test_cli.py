"""The command line: what a person sees, above all when something is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tamis.cli import main

ROOT = Path(__file__).parents[1]


def tamis(*args: object) -> int:
    return main([str(a) for a in args])


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    path = tmp_path / "pool.jsonl"
    rows = [{"prompt": f"What comes after {i}?", "response": f"After {i} comes {i + 1}."} for i in range(12)]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows) + "garbage\n")
    return path


def test_prepare_score_select_finetune_evaluate_report(
    pool: Path, small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, heldout = tmp_path / "target.jsonl", tmp_path / "heldout.jsonl"
    target.write_text(json.dumps({"prompt": "After 5?", "response": "6"}) + "\n")
    heldout.write_text(
        "".join(json.dumps({"prompt": f"Next to {i}?", "response": f"{i + 1}"}) + "\n" for i in range(4))
    )
    work = tmp_path / "work"
    assert tamis("prepare", pool, "--target", target, "--heldout", heldout, "--out", work / "prepared") == 0
    assert "pool: 12 rows of 13 read" in capsys.readouterr().out
    methods = ["--method", "ifd", "--method", "rds"]
    reading = ["--model", small_model, "--dtype", "float32"]
    assert (
        tamis("score", work / "prepared", *methods, *reading, "--out", work / "scores", "--set", "ifd.ratio=loss") == 0
    )
    assert "12 rows in 1 shards" in capsys.readouterr().out
    chosen = ["--budget", "3", "--random-seed", "0", "--out", work / "selections"]
    assert tamis("select", work / "prepared", "--scores", work / "scores", *methods, *chosen) == 0
    decisions = pq.read_table(work / "selections" / "rds" / "decisions.parquet").to_pylist()
    assert len(decisions) == 12 and all(d["reason"] for d in decisions)
    assert sum(d["selected"] for d in decisions) == 3
    for arm in ("rds", "random-0"):
        tuned = work / f"tuned-{arm}"
        quick = ["--set", "max_steps=1", "--set", "batch_size=2"]
        assert tamis("finetune", work / "selections" / arm, "--model", small_model, "--out", tuned, *quick) == 0
        told = ["--arm", arm, "--heldout", work / "prepared", "--out", work / f"evaluated-{arm}"]
        assert tamis("evaluate", tuned, *told) == 0
    folders = [work / "evaluated-rds", work / "evaluated-random-0"]
    given = ["--prepared", work / "prepared", "--scores", work / "scores", "--selections", work / "selections"]
    assert tamis("report", *folders, *given, "--out", work / "report") == 0
    out = capsys.readouterr().out
    assert "| rds | 3 |" in out
    page = (work / "report" / "report.html").read_text()
    assert "<script" not in page and "rds is" in page


def test_score_reads_a_plain_file(pool: Path, small_model: Path, tmp_path: Path) -> None:
    assert tamis("score", pool, "--method", "length", "--model", small_model, "--out", tmp_path / "s") == 0
    table = pq.read_table(tmp_path / "s" / "shard-00000.parquet")
    assert table.num_rows == 12 and {"id", "status", "length"} <= set(table.column_names)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["prepare", "missing.jsonl", "--out", "o"], "missing.jsonl: no such file or folder"),
        (["prepare", "{pool}", "--out", "o", "--set", "shard_row=3"], "did you mean 'shard_rows'"),
        (["score", "{pool}", "--method", "idf", "--out", "o"], "no scorer 'idf'; did you mean 'ifd'?"),
        (["score", "{pool}", "--method", "rds", "--out", "o"], "method 'rds' needs a target"),
        (["score", "{pool}", "--method", "ifd", "--model", "./none", "--out", "o"], "./none: no such folder"),
        (["score", "{pool}", "--method", "ifd", "--model", "{empty}", "--out", "o"], "no config.json there"),
        (["score", "{pool}", "--method", "ifd", "--model", "{bare}", "--out", "o"], "has no tokenizer"),
        (["select", "{empty}", "--scores", "{empty}", "--method", "ifd", "--out", "o"], "no shards there"),
        (["evaluate", "demo", "--out", "o"], "nothing to evaluate on"),
        (["run", "missing.yaml"], "missing.yaml cannot be read"),
        (["methods", "rsd"], "no scorer 'rsd'; did you mean 'rds'?"),
    ],
)
def test_mistakes_take_one_line_and_exit_with_2(
    args: list[str],
    message: str,
    pool: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text("{}")
    names = {"{pool}": pool, "{empty}": tmp_path / "empty", "{bare}": tmp_path / "bare"}
    assert tamis(*[names.get(a, a) for a in args]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) <= 2 and message in error[-1]
    assert not list(tmp_path.glob("o/**/shard-*.parquet")) or "prepared" in str(list(tmp_path.glob("o/*")))


def test_results_go_to_a_folder_of_this_machine(pool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        tamis("prepare", pool, "--out", "s3://bucket/prepared")
    assert ended.value.code == 2
    assert "s3://bucket/prepared is a URI; results are written to a folder" in capsys.readouterr().err


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="no such file"):
        tamis("--debug", "prepare", tmp_path / "missing", "--out", tmp_path / "o")


def test_a_full_disk_ends_in_one_line_and_leaves_nothing_that_looks_whole(pool: Path, tmp_path: Path) -> None:
    """The system refuses to write more, here by a limit on the size of files."""
    out = tmp_path / "o"
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))\n"
        "from tamis.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "prepare", str(pool), "--out", str(out)]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(command, capture_output=True, text=True, env=plain)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1 and "cannot be written" in done.stderr
    assert not (out / "prepared.json").exists() and not list(out.glob("**/shard-*.json"))


def test_methods_lists_every_method_with_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    from tamis.scorers import SCORERS

    assert tamis("methods") == 0
    out = capsys.readouterr().out
    for name in SCORERS.names():
        assert f"\n{name}\n" in f"\n{out}"
    assert out.count("paper: ") == out.count("cost: ") == out.count("columns: ") == len(SCORERS.names())
    assert tamis("methods", "ifd") == 0
    shown = capsys.readouterr().out
    for line in (
        "Paper: Li et al. 2024, arXiv 2308.12032",
        "Needs: only the pool",
        "Selects by: top of ifd, where ifd < 1",
    ):
        assert f"\n{line}\n" in shown
    assert "\n  ratio = 'loss': Ratio of mean losses" in shown
    assert tamis("methods", "rico") == 0
    assert "\nNeeds: target rows, a sample of the pool, gradients\n" in capsys.readouterr().out


def test_compiled_files_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert tamis("compile", "--check") == 0, capsys.readouterr().err
