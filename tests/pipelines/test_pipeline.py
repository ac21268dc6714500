"""The DAG with real parts: it runs on this machine, adds up from end to end, and its cache never gives old results."""

import json
from pathlib import Path

import numpy as np
import pytest
from tamis.pipelines.build import generated

from tamis import store
from tamis.cli import main
from tamis.config import read_config
from tamis.lm.load import resolve
from tamis.preflight import check, fingerprint
from tamis.store import Connection

ROOT = Path(__file__).parents[2]
PIPELINE = ROOT / "pipelines" / "select_and_finetune"


def test_the_whole_path_from_the_store_and_back(
    config: Path,
    bucket: str,
    s3: Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_planted")
    out = tmp_path / "out"
    assert main(["run", str(config), "--out", str(out)]) == 0
    told = capfd.readouterr()
    printed = told.out
    assert "| base |" in printed and "| rds | 3 |" in printed and "| random-0 | 3 |" in printed
    figures = json.loads((out / "report.json").read_text())
    assert set(figures["arms"]) == {"base", "random-0", "length", "rds"}
    assert figures["pool"]["pool"]["rows"] == 12 == sum(part["rows"] for part in figures["scoring"])
    for arm in figures["arms"].values():
        assert arm["measures"]["heldout"]["items"] == 6
        assert arm["evaluation"]["work"]["heldout"]["seconds"] > 0
        assert (arm["evaluation"]["training"] is None) == (arm["selection"] is None)
    for arm in ("random-0", "length", "rds"):
        chosen = figures["arms"][arm]["selection"]
        assert sum(chosen["reasons"].values()) == 12 and chosen["selected"] == 3
    works = [json.loads(path.read_text()) for path in (out / "artifacts").rglob("work") if path.is_file()]
    for name in ("passes_per_row", "final_loss", "heldout_nats_per_token"):  # of score, finetune and evaluate
        assert all(np.isfinite(list(work.values())).all() for work in works) and any(name in work for work in works)

    # The tuned models are in the workspace and nowhere else; the release is a model by its URI.
    release = f"{bucket}/work/releases/numbers/1"
    assert f"Release: {release}" in printed
    assert not list(out.rglob("*.safetensors")) or {p.parent.name for p in out.rglob("*.safetensors")} == {"states"}
    about = store.read_manifest(release).about
    assert about["arm"] == "rds" and about["lineage"]["model"]["uri"].startswith(f"{bucket}/work/models/")
    assert (Path(resolve(f"{release}/model")) / "training.json").exists()

    # No key got into what people see, what is kept here or what is kept there.
    secrets = [s3.secret_key.encode(), s3.access_key.encode(), b"hf_planted"]
    kept = [path for path in out.rglob("*") if path.is_file()]
    there = [name for name, _ in store.list_keys(bucket) if not name.endswith(".safetensors")]
    texts = [path.read_bytes() for path in kept] + [store.read_bytes(f"{bucket}/{name}") for name in there]
    texts += [text.encode() for text in (told.out, told.err, *generated().values())]
    assert len(kept) > 20 and len(there) > 20
    assert not [text[:200] for text in texts for secret in secrets if secret in text]

    # The same again only looks whether it is the same, and whether the release is there.
    before = {path.name for path in (out / "artifacts").iterdir()}
    assert main(["run", str(config), "--out", str(out)]) == 0
    fresh = [path for path in (out / "artifacts").iterdir() if path.name not in before]
    ran = {path.parent.name for folder in fresh for path in folder.rglob("executor_output.json")}
    assert ran == {"preflight", "publish"}


def test_a_wrong_key_is_said_before_anything_runs_and_not_shown(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret")
    assert main(["run", str(config), "--out", str(tmp_path / "out")]) == 2
    told = capfd.readouterr().err
    assert "the secret key does not fit the access key" in told and "planted" not in told
    assert not (tmp_path / "out").exists()


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
