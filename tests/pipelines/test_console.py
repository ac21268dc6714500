"""What a local run shows and what it keeps."""

import sys
from pathlib import Path

import pytest
from tamis.pipelines.console import last_error, quiet, shown


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("23:30:42.258 - INFO - Executing task \x1b[96m'prepare'\x1b[0m", "23:30:42  Executing task 'prepare'"),
        (
            "23:30:44.0 - INFO - Task 'fit' finished with status \x1b[92mSUCCESS\x1b[0m",
            "23:30:44  Task 'fit' finished with status SUCCESS",
        ),
        ("    [KFP Executor 2026-11-24 23:31:54,585 INFO]: scored 19 of 800 rows", "23:31:54  scored 19 of 800 rows"),
        ("        step 4/40: loss 1.2345", "          step 4/40: loss 1.2345"),
        ("    [KFP Executor 2026-11-24 23:30:44,077 INFO]: Got executor_input:", None),
        ('        "inputs": {', None),
    ],
)
def test_only_what_tells_something_is_shown(line: str, seen: str | None) -> None:
    assert shown(line) == seen


def test_all_is_kept_and_the_failing_step_has_the_last_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "run.log"
    with quiet(log):
        print("10:00:00.1 - INFO - Executing task \x1b[96m'score'\x1b[0m")
        print("    noise")
        print("    Traceback (most recent call last):", file=sys.stderr)
        print("    tamis.errors.UserError: runs/pool: no such file or folder", file=sys.stderr)
    assert capsys.readouterr().out == "10:00:00  Executing task 'score'\n"
    assert log.read_text().splitlines()[:2] == ["10:00:00.1 - INFO - Executing task 'score'", "    noise"]
    assert last_error(log) == "runs/pool: no such file or folder"
