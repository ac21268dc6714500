"""The benchmarks start: they find their rows, record what they measure, and say what is missing."""

import gzip
import json
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import main
from tests.benchmarks.figures import rows_of


def test_rows_are_spread_over_the_pool(tmp_path: Path) -> None:
    (tmp_path / "pools").mkdir()
    with gzip.open(tmp_path / "pools" / "dolly.jsonl.gz", "wt") as out:
        for i in range(10):
            out.write(json.dumps({"instruction": f"Say {i}.", "input": "", "output": str(i) if i % 5 else ""}) + "\n")
    assert [row.text("assistant") for row in rows_of(tmp_path, 4)] == ["1", "3", "6", "8"]


def test_a_part_is_measured_shown_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.chdir(tmp_path)
    assert main(["help"]) == 0
    assert "| tamis --help: seconds | " in capsys.readouterr().out
    (record,) = (tmp_path / "runs" / "bench").glob("*.json")
    (figure,) = json.loads(record.read_text())["figures"]
    assert 0 < figure["value"] < 30 and figure["reach"] == 0.3


def test_unknown_parts_and_missing_data_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TAMIS_DATA", str(tmp_path))
    assert (main(["speed"]), main(["score"])) == (2, 2)
    told = capsys.readouterr().err
    assert "no part speed; there are score" in told and "set TAMIS_DATA" in told
