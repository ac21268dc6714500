"""The score step with a real small model: every row ends as scored or with a reason, old results are never mixed in."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from conftest import make_row

from tamis.errors import TamisError, UserError
from tamis.lm.engine import Engine
from tamis.lm.load import load
from tamis.pool import shards
from tamis.pool.prepare import PrepareSettings, prepare
from tamis.pool.rows import Row
from tamis.scorers import SCORERS, Scorer
from tamis.scorers.base import Array, State
from tamis.scoring import ScoreSettings, Scoring, fit, score
from tamis.scoring.rows import score_rows


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    rows = [{"prompt": f"What comes after {i}?", "response": f"After {i} comes {i + 1}."} for i in range(10)]
    rows.append({"prompt": "very long " * 300, "response": "no"})
    rows.append({"prompt": "One word?", "response": "Yes"})
    (folder / "pool.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    tasks = ["count", "count", "name"]
    target = [{"prompt": f"After {i}?", "response": f"{i + 1}", "source": task} for i, task in enumerate(tasks)]
    (folder / "target.jsonl").write_text("".join(json.dumps(r) + "\n" for r in target))
    options = PrepareSettings(shard_rows=5)
    prepare(folder / "pool.jsonl", folder / "out", target=folder / "target.jsonl", options=options)
    return folder / "out"


def plan(model: Path, *methods: str, **settings: object) -> Scoring:
    return Scoring(methods, str(model), settings=settings, options=ScoreSettings(max_length=128, dtype="float32"))


def read(folder: Path) -> dict[str, dict[str, object]]:
    return {row["id"]: row for shard in shards.shards(folder) for row in shards.load(shard).to_pylist()}


def test_every_row_is_scored_or_has_a_reason(prepared: Path, small_model: Path, tmp_path: Path) -> None:
    scoring = plan(small_model, "ifd", "rds", "length", "superfiltering")
    result = score(prepared / "pool", tmp_path / "s", scoring, target=prepared / "target")
    rows = read(tmp_path / "s")
    assert result["rows"] == len(rows) == 12
    status = [row["status"] for row in rows.values()]
    assert sorted(set(status)) == ["partly", "scored", "unscorable"]
    (long,) = (row for row in rows.values() if row["status"] == "unscorable")
    assert long["ifd_reason"] == "the prompt alone fills the 128 tokens that the model may read"
    assert long["ifd"] is None and long["rds_similarity"] is None and long["length"] is None
    (short,) = (row for row in rows.values() if row["status"] == "partly")
    assert short["superfiltering_reason"] == "no finite value of: alone"  # one token: nothing to average
    assert short["ifd"] == pytest.approx(short["ifd_loss_given"] / short["ifd_loss_alone"])
    for row in rows.values():
        for name in ("ifd", "rds", "length", "superfiltering"):
            assert (row[name] is None) == (row[f"{name}_reason"] is not None)
    assert result["unscorable"]["superfiltering"] == {
        "no finite value of: alone": 1,
        "the prompt alone fills the 128 tokens that the model may read": 1,
    }


def test_a_run_accounts_for_its_work_and_estimates_it_before(
    prepared: Path, small_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = ScoreSettings(max_length=128, dtype="float32", batch_tokens=20)  # so small that a probe is worth it
    scoring = Scoring(["ifd", "ira", "perplexity", "length"], str(small_model), options=options)
    with caplog.at_level("INFO", "tamis"):
        result = score(prepared / "pool", tmp_path / "s", scoring)
    work, methods = result["work"], result["methods"]
    assert work["rows"] == 11 and work["passes_per_row"] == 2  # one row of twelve cannot be read
    assert work["tokens"] == methods["ifd"]["tokens"] == methods["ira"]["tokens"] > methods["perplexity"]["tokens"] > 0
    assert [methods[name]["passes"] for name in methods] == [2, 2, 1, 0]
    assert 0 < work["matrix_share"] < 1.2 and 0 < work["pass_seconds"] <= work["seconds"]
    (estimate,) = (r.getMessage() for r in caplog.records if "device-hours" in r.getMessage())
    assert estimate.startswith("to score: 12 rows, about ") and "in batches of 20:" in estimate


def test_list_columns_name_their_tasks(prepared: Path, small_model: Path, tmp_path: Path) -> None:
    score(prepared / "pool", tmp_path / "s", plan(small_model, "rds"), target=prepared / "target")
    field = pq.read_schema(shards.shards(tmp_path / "s")[0].path).field("rds_similarity")
    assert json.loads(field.metadata[b"tasks"]) == ["count", "count", "name"]


def test_shards_can_be_scored_apart_with_what_was_learned_once(
    prepared: Path, small_model: Path, tmp_path: Path
) -> None:
    scoring = plan(small_model, "rds", "ifd")
    score(prepared / "pool", tmp_path / "whole", scoring, target=prepared / "target")
    assert fit(prepared / "pool", tmp_path / "states", scoring, prepared / "target") == ["rds"]
    for i in (2, 0, 1):
        score(prepared / "pool", tmp_path / f"{i}", scoring, states=tmp_path / "states", indices=[i])
        one, whole = (
            shards.load(shards.Shard(p, 0, shards.file_digest(p), {}))
            for p in (shards.shard_path(tmp_path / f"{i}", i), shards.shard_path(tmp_path / "whole", i))
        )
        assert one.equals(whole)


def test_a_second_run_does_only_what_is_missing(prepared: Path, small_model: Path, tmp_path: Path) -> None:
    scoring = plan(small_model, "ifd")
    score(prepared / "pool", tmp_path / "s", scoring)
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "s").glob("shard-*.parquet")}
    content = shards.shard_path(tmp_path / "s", 1).read_bytes()
    shards.shard_path(tmp_path / "s", 1).with_suffix(".json").unlink()  # as after a crash
    again = score(prepared / "pool", tmp_path / "s", scoring)
    assert again["shards_reused"] == 2
    changed = [n for n, t in kept.items() if (tmp_path / "s" / n).stat().st_mtime_ns != t]
    assert changed == ["shard-00001.parquet"]
    assert shards.shard_path(tmp_path / "s", 1).read_bytes() == content


def test_other_settings_never_mix_with_old_scores(prepared: Path, small_model: Path, tmp_path: Path) -> None:
    score(prepared / "pool", tmp_path / "s", plan(small_model, "ifd"))
    with pytest.raises(UserError, match="methods.ifd.settings.ratio 'loss' \\(now 'perplexity'\\)"):
        score(prepared / "pool", tmp_path / "s", plan(small_model, "ifd", ifd={"ratio": "perplexity"}))
    score(prepared / "pool", tmp_path / "s", plan(small_model, "ifd", ifd={"ratio": "perplexity"}), overwrite=True)


def test_what_another_model_learned_is_refused(
    prepared: Path, small_model: Path, demo_folder: Path, tmp_path: Path
) -> None:
    fit(prepared / "pool", tmp_path / "states", plan(small_model, "rds", "nait"), prepared / "target")
    for method in ("rds", "nait"):
        with pytest.raises(UserError, match=r"was learned with model\.digest"):
            score(prepared / "pool", tmp_path / "s", plan(demo_folder, method), states=tmp_path / "states")
    with pytest.raises(UserError, match="must learn first"):
        score(prepared / "pool", tmp_path / "s", plan(small_model, "rds"), states=tmp_path / "nothing")
    (tmp_path / "states" / "rds.safetensors").write_bytes(b"junk")
    with pytest.raises(UserError, match="is not what a method learned"):
        score(prepared / "pool", tmp_path / "s", plan(small_model, "rds"), states=tmp_path / "states")


def test_a_saved_feature_serves_another_pool(prepared: Path, small_model: Path, tmp_path: Path) -> None:
    """Two capabilities learned once, with a sample of one pool, score another."""
    fit(prepared / "pool", tmp_path / "features", plan(small_model, "nait"), prepared / "target")
    lines = [{"prompt": f"And after {i}?", "response": f"{i + 1}."} for i in range(4)]
    (tmp_path / "other.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    prepare(tmp_path / "other.jsonl", tmp_path / "other")
    score(tmp_path / "other" / "pool", tmp_path / "s", plan(small_model, "nait"), states=tmp_path / "features")
    rows = read(tmp_path / "s").values()
    assert len(rows) == 4 and all(np.isfinite(row["nait"]) and len(row["nait_capability"]) == 2 for row in rows)


def test_target_rows_that_cannot_be_read_are_left_out_unless_they_are_all(
    prepared: Path, small_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"prompt": "very long " * 300, "response": "no"}, {"prompt": "After 7?", "response": "8"}]
    for name, some in {"both": rows, "bad": rows[:1]}.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in some))
        prepare(tmp_path / f"{name}.jsonl", tmp_path / name)
    score(prepared / "pool", tmp_path / "s", plan(small_model, "rds"), target=tmp_path / "both" / "pool")
    assert "1 of 2 target rows are left out: the prompt alone fills the 128 tokens" in caplog.text
    assert [len(row["rds_similarity"]) for row in read(tmp_path / "s").values() if row["rds"] is not None] == [1] * 11
    with pytest.raises(UserError, match="no row of the target can be read: the prompt alone"):
        score(prepared / "pool", tmp_path / "t", plan(small_model, "rds"), target=tmp_path / "bad" / "pool")


def test_nan_in_a_pass_costs_the_row_in_which_it_is(engine: Engine, row: object) -> None:
    """One token of one row has NaN as its embedding; rows beside it in the same pack keep their scores."""
    rows = [row(f"Question {i}?", "word " * (i + 1)) for i in range(4)] + [row("Odd?", "quixotic")]  # type: ignore[operator]
    methods = ("ifd", "perplexity", "nait", "rds")
    scorers = {name: SCORERS[name](SCORERS[name].Settings()) for name in methods}
    learned = {name: (s.fit(engine, rows[:2], rows[:4]), ["test"] * 2) for name, s in scorers.items()}
    healthy = score_rows(rows, scorers, learned, engine).to_pylist()
    table = engine.lm.model.get_input_embeddings()
    weight = table.weight
    sick = weight.detach().clone()
    sick[engine.lm.tokenizer("quixotic", add_special_tokens=False)["input_ids"][0]] = np.nan
    table.weight = torch.nn.Parameter(sick, requires_grad=False)
    try:
        made = score_rows(rows, scorers, learned, engine).to_pylist()
    finally:
        table.weight = weight
    assert [m["status"] for m in made] == ["scored"] * 4 + ["unscorable"]
    for name in methods:
        assert made[4][name] is None and made[4][f"{name}_reason"].startswith("no finite value of: ")
        assert [m[name] for m in made[:4]] == [m[name] for m in healthy[:4]]


def test_a_model_without_the_asked_layer_is_said(small_model: Path) -> None:
    lm = load(str(small_model), "float32")
    for layer in lm.layers:
        layer.mlp = torch.nn.Identity()
    method = SCORERS["nait"](SCORERS["nait"].Settings(site="ffn"))
    with pytest.raises(UserError, match="no down projection that is known; use the setting `site=resid`"):
        Engine(lm).observe([make_row("a", "b")], method.observes)
    del lm.model.model.layers
    with pytest.raises(UserError, match="no decoder layers found"):
        Engine(lm).observe([make_row("a", "b")], SCORERS["nait"](SCORERS["nait"].Settings()).observes)


@pytest.mark.parametrize(
    ("methods", "settings", "message"),
    [
        ([], {}, "no method is named"),
        (["idf"], {}, "no scorer 'idf'; did you mean 'ifd'"),
        (["ifd"], {"ifd": {"ration": "loss"}}, "unknown setting 'ration'; did you mean 'ratio'"),
        (["ifd"], {"rds": {}}, "settings for 'rds', which is not among"),
        (["rds"], {}, "method 'rds' needs a target"),
        (["ifd", "superfiltering-d"], {"superfiltering-d": {"encoder": "./none"}}, "sentence encoder ./none: no such"),
    ],
)
def test_mistakes_are_found_before_a_model_is_loaded(
    prepared: Path, tmp_path: Path, methods: list[str], settings: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        score(prepared / "pool", tmp_path / "s", Scoring(methods, "/no/such/model", settings=settings))


class Sick(Scorer):
    """Gives NaN and infinity for some rows, and columns that it did not declare when asked to."""

    columns = {"sick": "a value"}
    wrong = False

    @property
    def observes(self) -> Mapping[str, object]:
        from tamis.lm.observations import TokenCount

        return {"tokens": TokenCount()}

    def score(self, seen: Mapping[str, Array], state: State) -> dict[str, Array]:
        values = seen["tokens"].copy()
        values[0], values[1] = np.nan, np.inf
        return {"other" if self.wrong else "sick": values}


@pytest.fixture(scope="module")
def engine(small_model: Path) -> Engine:
    return plan(small_model, "ifd").engine()


def test_nan_and_infinity_are_never_scores(engine: object, row: object) -> None:
    rows: Sequence[Row] = [row(f"q{i}", "a b c") for i in range(4)]  # type: ignore[operator]
    table = score_rows(rows, {"sick": Sick(None)}, {"sick": ({}, [])}, engine).to_pylist()
    assert [r["sick"] is None for r in table] == [r["sick_reason"] is not None for r in table]
    assert sum(r["sick"] is None for r in table) == 2
    assert [r["id"] for r in table] == [r.id for r in rows]
    Sick.wrong = True
    with pytest.raises(TamisError, match="not those that it declares"):
        score_rows(rows, {"sick": Sick(None)}, {"sick": ({}, [])}, engine)
