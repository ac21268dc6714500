"""The DAG with real parts: it runs on this machine, adds up from end to end, and its cache never gives old results."""

import json
from pathlib import Path

import pytest
import yaml

from tamis.cli import main
from tamis.config import read_config
from tamis.preflight import check, fingerprint

ROOT = Path(__file__).parents[2]
PIPELINE = ROOT / "pipelines" / "select_and_finetune"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, small_model: Path) -> Path:
    folder = tmp_path_factory.mktemp("run")

    def lines(name: str, start: int, stop: int) -> str:
        rows = [
            {"prompt": f"What comes after {i}?", "response": f"After {i} comes {i + 1}."} for i in range(start, stop)
        ]
        (folder / name).write_text("".join(json.dumps(r) + "\n" for r in rows))
        return str(folder / name)

    values = {
        "pool": lines("pool.jsonl", 0, 12),
        "target": lines("target.jsonl", 20, 22),
        "heldout": lines("heldout.jsonl", 30, 36),
        "model": str(small_model),
        "methods": ["length", "rds"],
        "budget": "3",
        "random_seeds": [0],
        "preparation": {"shard_rows": 8},
        "training": {"max_steps": 1, "batch_size": 2},
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_the_whole_path_and_its_cache(config: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["run", str(config), "--out", str(out)]) == 0
    printed = capfd.readouterr().out
    assert "| base |" in printed and "| rds | 3 |" in printed and "| random-0 | 3 |" in printed
    figures = json.loads((out / "report.json").read_text())
    assert set(figures["arms"]) == {"base", "random-0", "length", "rds"}
    assert figures["pool"]["pool"]["rows"] == 12 == sum(part["rows"] for part in figures["scoring"])
    for arm in figures["arms"].values():
        assert arm["measures"]["heldout"]["items"] == 6
    for arm in ("random-0", "length", "rds"):
        chosen = figures["arms"][arm]["selection"]
        assert sum(chosen["reasons"].values()) == 12 and chosen["selected"] == 3

    # The same again only looks whether it is the same.
    before = {path.name for path in (out / "artifacts").iterdir()}
    assert main(["run", str(config), "--out", str(out)]) == 0
    fresh = [path for path in (out / "artifacts").iterdir() if path.name not in before]
    assert {path.parent.name for folder in fresh for path in folder.rglob("executor_output.json")} == {"preflight"}


@pytest.mark.parametrize(
    "path", [PIPELINE / "quickstart" / "run.yaml", *sorted((PIPELINE / "examples").glob("*.yaml"))]
)
def test_every_shipped_configuration_is_valid(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = read_config(path, [])
    monkeypatch.chdir(ROOT)
    if "quickstart" in path.parts:
        check(values)
        assert len(fingerprint(values)) == 32
        return
    for name in ("pool", "target", "heldout"):  # made by a script from data that is not shipped
        (tmp_path / f"{name}.jsonl").write_text("{}\n")
        values = values.model_copy(update={name: str(tmp_path / f"{name}.jsonl")})
    check(values)
