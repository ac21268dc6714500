"""Pre-experience with a real model and a real training: which rows, which model scores, and what is never mixed."""

import json
from pathlib import Path

import numpy as np
import pytest

from tamis.errors import UserError
from tamis.pool import shards
from tamis.pool.prepare import PrepareSettings, prepare
from tamis.scoring import ScoreSettings, Scoring, fit, score
from tamis.scoring.experience import varied


def test_rows_come_from_all_clusters_and_from_their_middles() -> None:
    random = np.random.default_rng(0)
    cluster = np.arange(120) % 3
    vectors = (np.eye(3)[cluster] + 0.01 * random.standard_normal((120, 3))).astype(np.float32)
    losses = random.random(120)
    vectors[7], losses[8] = np.nan, np.nan
    chosen = varied(vectors, losses, 30)
    assert len(chosen) == len(set(chosen)) == 30 and not {7, 8} & set(chosen)
    for one in range(3):
        mine = [i for i in range(120) if cluster[i] == one and i not in (7, 8)]
        low, high = np.percentile(losses[mine], [25, 75])
        taken = [i for i in chosen if cluster[i] == one]
        middle = [i for i in mine if low <= losses[i] <= high]
        assert taken == middle[:: len(middle) // 10][:10]
    assert len(varied(vectors[:5], losses[:5], 30)) <= 5
    with pytest.raises(UserError, match="no row of the sample"):
        varied(vectors[7:8], losses[7:8], 30)


def plan(model: Path, rows: int, *methods: str) -> Scoring:
    options = ScoreSettings(dtype="float32", max_length=64, pre_experience=rows)
    return Scoring(methods, str(model), options=options)


def test_all_methods_score_with_the_trained_model(small_model: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"What comes after {i}?", "response": f"After {i} comes {i + 1}."} for i in range(30)]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "target.jsonl").write_text(json.dumps({"prompt": "After 50?", "response": "51"}) + "\n")
    prepare(tmp_path / "pool.jsonl", tmp_path, target=tmp_path / "target.jsonl", options=PrepareSettings())
    pool, states = tmp_path / "pool", tmp_path / "states"
    with pytest.raises(UserError, match="must gain experience first"):
        score(pool, tmp_path / "s", plan(small_model, 10, "ifd"), states=states)
    assert fit(pool, states, plan(small_model, 10, "ifd", "rds"), tmp_path / "target") == ["rds"]
    trained = json.loads((states / "experienced" / "training.json").read_text())
    assert trained["rows"] == 10 and trained["steps"] == 2
    before = (states / "experienced" / "training.json").stat().st_mtime_ns
    result = score(pool, tmp_path / "s", plan(small_model, 10, "ifd", "rds"), states=states)
    fit(pool, states, plan(small_model, 10, "ifd", "rds"), tmp_path / "target")
    assert (states / "experienced" / "training.json").stat().st_mtime_ns == before  # nothing is trained again
    assert result["model"]["model"].endswith("after pre-experience on 10 rows")

    score(pool, tmp_path / "plain", plan(small_model, 0, "ifd"))
    one, other = (
        shards.load(shards.shards(tmp_path / f)[0]).column("ifd_loss_given").to_pylist() for f in ("s", "plain")
    )
    assert np.mean(one) < np.mean(other)  # it has learned how such answers are written
    with pytest.raises(UserError, match=r"rows 10 \(now 20\)"):
        fit(pool, states, plan(small_model, 20, "ifd"))
    with pytest.raises(UserError, match=r"model\.digest"):  # what the trained model learned is not the plain one's
        score(pool, tmp_path / "t", plan(small_model, 0, "rds"), states=states)
