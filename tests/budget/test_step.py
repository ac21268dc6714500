"""A budget of auto from end to end: measured with a real model, kept, and turned into rows of every arm."""

import json
from pathlib import Path

import pytest

from tamis.budget import AdviceSettings, rows_for
from tamis.budget.step import advise_budget, advised_rows
from tamis.cli import main
from tamis.errors import UserError
from tamis.report.figures import _json
from tamis.report.page import html
from tamis.scoring import ScoreSettings, Scoring
from tamis.selecting import check_arms, select

SMALL = AdviceSettings(labelled=3, tokens=3, rank=4, rows=6)


def rows(folder: Path, name: str, start: int, stop: int) -> Path:
    lines = [{"prompt": f"What comes after {i}?", "response": f"After {i} comes {i + 1}."} for i in range(start, stop)]
    (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / name


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("auto")
    given = [str(rows(folder, "pool.jsonl", 0, 12)), "--target", str(rows(folder, "target.jsonl", 20, 25))]
    assert main(["prepare", *given, "--out", str(folder / "prepared")]) == 0
    return folder / "prepared"


def test_one_advice_serves_every_share(prepared: Path, small_model: Path, tmp_path: Path) -> None:
    scoring = Scoring([], str(small_model), options=ScoreSettings(dtype="float32"))
    file = tmp_path / "advice.json"
    made = advise_budget(prepared / "pool", file, "auto:0.5", scoring, SMALL, prepared / "target")
    assert made is not None and made.share == 0.5 and len(made.drawn) == 3
    wanted, content = advised_rows("auto:0.2", file)
    assert wanted == rows_for(0.2, made.efficiency) < made.rows
    assert content["of"] == "the target" and content["model"]["digest"]
    arms = select(prepared / "pool", [], tmp_path / "s", methods=[], random_seeds=[0], budget="auto:0.02", advice=file)
    arm = _json(tmp_path / "s" / arms[0] / "arm.json", "select")
    assert arm["selected"] == arm["wanted"] == min(12, rows_for(0.02, made.efficiency))
    assert arm["budget"] == "auto:0.02" and arm["advised"]["efficiency"] == pytest.approx(made.efficiency)
    figures = {
        "verdict": [],
        "measures": [],
        "random_arms": [],
        "histograms": {},
        "rows": {},
        "pool": {"unchecked": {}},
    }
    evaluation = {"model": {}, "settings": {}, "training": None, "work": {}}
    arm_figures = {"measures": {}, "selection": arm, "evaluation": evaluation}
    figures["pool"]["pool"] = {
        "rows": 12,
        "read": 12,
        "digest": "d",
        "rejected": {},
        "flagged": {},
        "sources": {"pool": 12},
    }
    assert "predicted data efficiency" in html(figures | {"arms": {"random-0": arm_figures}, "scoring": []})


def test_a_sample_of_the_pool_stands_in_for_a_target(prepared: Path, small_model: Path, tmp_path: Path) -> None:
    scoring = Scoring([], str(small_model), options=ScoreSettings(dtype="float32"))
    advise_budget(prepared / "pool", tmp_path / "a.json", "auto", scoring, SMALL)
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["of"] == "a sample of the pool" and content["advice"]["share"] == 0.9


def test_another_budget_measures_nothing(prepared: Path, tmp_path: Path) -> None:
    nothing = Scoring([], "/no/such/model")
    assert advise_budget(prepared / "pool", tmp_path / "a.json", "10%", nothing, SMALL) is None
    with pytest.raises(UserError, match="holds no advice"):
        advised_rows("auto:0.9", tmp_path / "a.json")
    with pytest.raises(UserError, match="give it with --advice"):
        advised_rows("auto", None)
    with pytest.raises(UserError, match="both slope and intercept"):
        advise_budget(prepared / "pool", tmp_path / "a.json", "auto", nothing, AdviceSettings(slope=1.0))
    assert check_arms(methods=["ifd"], budget="auto:0.8") == ["ifd"]
    with pytest.raises(UserError, match="write auto:0.9"):
        check_arms(methods=["ifd"], budget="auto:8")


def test_on_the_command_line(
    prepared: Path, small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = [a for name in ("labelled=3", "tokens=3", "rank=4") for a in ("--set", name)]
    advise = ["advise", str(prepared), "--model", str(small_model), *quick, "--out", str(tmp_path / "a")]
    assert main(advise) == 0
    assert "rows for 90% of what 5,000 rows would bring" in capsys.readouterr().out
    scores = ["--scores", str(tmp_path / "scores"), "--method", "length"]
    assert main(["score", str(prepared), *scores[2:], "--model", str(small_model), "--out", scores[1]]) == 0
    chosen = ["select", str(prepared), *scores, "--budget", "auto:0.05", "--out", str(tmp_path / "s")]
    assert main(chosen) == 2
    assert "needs an advice" in capsys.readouterr().err
    assert main([*chosen, "--advice", str(tmp_path / "a")]) == 0
    assert json.loads((tmp_path / "s" / "selection.json").read_text())["advised"]["advice"]["cosine"] <= 1
    assert main([*advise, "--budget", "10%"]) == 2
    assert "needs no advice" in capsys.readouterr().err
