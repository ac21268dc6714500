"""RICo: the cases computed by hand (numbered as in the specification), then the real parts together."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tamis.errors import UserError
from tamis.lm.engine import Engine
from tamis.lm.load import load
from tamis.lm.observations import Loss
from tamis.pool import shards
from tamis.pool.prepare import PrepareSettings, prepare
from tamis.pool.rows import Row
from tamis.scorers import rico
from tamis.scorers.rico import RICo, measure, random_text, significance, summary, task_score
from tamis.scoring import ScoreSettings, Scoring, fit, score
from tamis.scoring.fit import load_state
from tamis.settings import parse

Rows = Callable[..., Row]
Settings = RICo.Settings

QUESTIONS = [
    ("What is the cat of my aunt called?", "Her cat is called Maurice."),
    ("Name the largest planet of the sun.", "Jupiter is the largest planet."),
    ("What is 12 + 7?", "19"),
    ("Which gas do plants take in?", "Plants take in carbon dioxide and give off oxygen."),
    ("Who wrote the play Hamlet?", "William Shakespeare wrote Hamlet, about the year 1600."),
]


@pytest.fixture(scope="module")
def engine(small_model: Path) -> Engine:
    return Engine(load(str(small_model), "float32"))


@pytest.fixture
def rows(row: Rows) -> list[Row]:
    return [row(*pair) for pair in QUESTIONS]


def test_4a_task_score() -> None:
    assert task_score(10.0, 8.0, 11.0) == pytest.approx(0.3, abs=1e-6)


def test_4b_significance() -> None:
    assert significance([0.01, 0.0713, 0.1387]) == pytest.approx([0.24492, 0.94496, 0.99806], abs=1e-5)
    assert list(significance([0.6, -0.6, 0.0])) == [1.0, -1.0, 0.0]
    assert np.isnan(significance(np.nan))


def test_the_summary_of_task_scores() -> None:
    made = summary(np.array([[0.6, -0.2, 0.2, np.nan], [np.nan] * 4]))
    assert made["global"][0] == pytest.approx(0.2)
    assert made["consistency"][0] == pytest.approx(2 / 3)
    assert made["stability"][0] == pytest.approx((0.16 + 0.16 + 0.0) / 3)
    assert made["coverage"][0] == pytest.approx(1 / 3)
    assert list(made["anchors"]) == [3, 0]
    assert np.isnan(made["global"][1]) and np.isnan(made["significance"][1])


@pytest.mark.parametrize("control", ["per-candidate", "per-pair"])
def test_4c_a_row_that_is_its_own_random_text_contributes_nothing(
    engine: Engine, rows: list[Row], control: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In the bare template this row's text is its question, a newline and its answer.
    candidate = rows[0]
    text = candidate.messages[0].content + "\n" + candidate.messages[1].content
    monkeypatch.setattr(rico, "random_text", lambda characters, key: {len(text): text}[characters])
    bare = replace(engine, template="plain")
    # Tokenised in one piece and in two this text has the same tokens, or the case would say nothing.
    pieces = [text, candidate.messages[0].content + "\n", candidate.messages[1].content]
    one, *two = engine.lm.tokenizer(pieces, add_special_tokens=False)["input_ids"]
    assert one == two[0] + two[1]
    tasks = measure(bare, [candidate], rows[1:], Settings(control=control)).tasks
    assert tasks.shape == (1, 4)
    assert (tasks == 0).all() if control == "per-candidate" else np.abs(tasks).max() < 1e-5  # read apart for each pair


def test_4c_a_model_that_ignores_its_context_finds_no_contribution(small_model: Path, rows: list[Row]) -> None:
    lm = load(str(small_model), "float32")
    lm.model.model.layers = torch.nn.ModuleList()  # nothing but embeddings and the head: no token sees another
    measured = measure(Engine(lm), rows[:2], rows[2:], Settings())
    assert (measured.tasks == 0).all()
    assert np.isfinite(measured.alone).all()


def test_4d_a_candidate_that_is_the_anchor_helps_it_most(demo_folder: Path, rows: list[Row]) -> None:
    measured = measure(Engine(load(str(demo_folder), "float32")), rows, rows, Settings(anchors=5))
    own = measured.tasks[:, [measured.anchors.index(row.id) for row in rows]]
    assert (own.argmax(axis=1) == np.arange(5)).all()  # in the candidate's row
    assert (own.argmax(axis=0) == np.arange(5)).all()  # and among the candidates, for the anchor
    assert (np.diag(own) > 0).all()


def test_4e_short_answers_are_scored_and_no_context_is_an_empty_one(engine: Engine, row: Rows) -> None:
    anchors = [row("Is 7 a prime number?", "Yes"), row("Say more.", "One thing, then another thing.")]
    measured = measure(engine, [row("What is 2 + 2?", "4")], anchors, Settings())
    assert np.isfinite(measured.tasks).all()
    by_id = dict(zip(measured.anchors, measured.alone, strict=True))
    usual = np.exp(engine.observe(anchors, {"loss": Loss()})["loss"])
    assert [by_id[a.id] for a in anchors] == pytest.approx(usual, rel=1e-4)


def test_a_score_does_not_depend_on_company_batches_or_order(engine: Engine, rows: list[Row], row: Rows) -> None:
    anchors = [row("What is 3 + 4?", "It is 7."), row("Name a river.", "The Nile is a river.")]
    whole = measure(engine, rows + rows[:1], anchors, Settings())
    assert whole.tasks[0].tolist() == whole.tasks[5].tolist()  # a duplicate, to the last bit
    turned = measure(replace(engine, batch_tokens=1), rows[::-1], anchors[::-1], Settings())
    assert turned.anchors == whole.anchors
    np.testing.assert_allclose(turned.tasks[::-1], whole.tasks[:5], atol=1e-4)
    alone = measure(engine, rows[2:3], anchors[:1], Settings())
    np.testing.assert_allclose(alone.tasks[0, 0], whole.tasks[2, whole.anchors.index(anchors[0].id)], atol=1e-4)


def test_the_control_is_as_long_as_the_row_and_drawn_from_the_seed(engine: Engine, rows: list[Row]) -> None:
    text = random_text(5000, "0/abc")
    assert len(text) == 5000 and set(text) == set(rico.ALPHABET)
    assert text == random_text(5000, "0/abc") and text[:50] != random_text(50, "1/abc")
    assert random_text(8, "0/abc") == text[:8]
    made = measure(engine, rows, rows[:1], Settings()).table
    ratio = made["control_tokens"].to_numpy() / made["tokens"].to_numpy()
    assert (ratio > 1.5).all()  # as many characters are more tokens, for random text
    other = measure(engine, rows, rows[:1], Settings(seed=1)).table
    assert made["global"].to_numpy() != pytest.approx(other["global"].to_numpy(), rel=1e-3)


def test_a_control_for_each_pair_differs_by_anchor(engine: Engine, rows: list[Row]) -> None:
    pair = measure(engine, rows[:2], rows[2:], Settings(control="per-pair"))
    one = measure(engine, rows[:2], rows[2:], Settings())
    assert pair.anchors == one.anchors and np.isfinite(pair.tasks).all()
    assert (pair.tasks != one.tasks).all()
    np.testing.assert_allclose(pair.tasks, one.tasks, atol=1.0)  # another draw of the same thing


def test_what_cannot_be_read_has_its_reason_and_stops_nobody(engine: Engine, rows: list[Row], row: Rows) -> None:
    empty = row("Nothing?", "")
    measured = measure(engine, [rows[0], empty, rows[1]], [rows[2], empty], Settings())
    assert measured.table["reason"].to_pylist() == [None, "the answer is empty", None]
    assert measured.table["global"].null_count == 1 and measured.anchors == [rows[2].id]
    with pytest.raises(UserError, match="no row of the target can be read"):
        measure(engine, rows, [empty], Settings())
    with pytest.raises(UserError, match="no row of the target can be read"):
        measure(engine, rows, [], Settings())


def test_a_long_candidate_is_cut_and_the_whole_fits_the_window(small_model: Path, rows: list[Row], row: Rows) -> None:
    lm = replace(load(str(small_model), "float32"), window=200)
    long = row("Repeat. " * 100, "word " * 200)
    measured = measure(Engine(lm), [long, rows[0]], [row("More? " * 20, "yes " * 90)], Settings())
    made = measured.table.to_pylist()
    assert made[0]["cut"] > 300 and made[0]["control_cut"] > 300 and made[1]["cut"] == 0
    assert made[0]["tokens"] + 1 + 100 <= 200  # with the separator, and half the window for the anchor
    assert np.isfinite(measured.tasks).all()
    short = measure(Engine(lm), [rows[0]], [rows[1]], Settings(context_tokens=5)).table.to_pylist()
    assert short[0]["tokens"] == 5 and short[0]["cut"] > 5


def test_settings_are_checked() -> None:
    with pytest.raises(UserError, match="did you mean 'anchors'"):
        parse(Settings, {"anchor": 5}, "settings of rico")
    with pytest.raises(UserError, match="share"):
        parse(Settings, {"share": 1.0}, "settings of rico")


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared pool of 24 rows and a target of 3."""
    folder = tmp_path_factory.mktemp("rico")
    pool = [{"prompt": f"What is {i} plus 1?", "response": f"{i} plus 1 is {i + 1}."} for i in range(12)]
    pool += [{"prompt": f"Name thing number {i}.", "response": "A thing. " * i} for i in range(1, 13)]
    target = [{"prompt": f"What is {i} plus 2?", "response": f"{i} plus 2 is {i + 2}."} for i in range(3)]
    for name, rows in {"pool": pool, "target": target}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    prepare(folder / "pool.jsonl", folder / "out", target=folder / "target.jsonl", options=PrepareSettings())
    return folder / "out"


def plan(model: Path, **options: object) -> Scoring:
    settings = {"rico": {"candidates": 16, "share": 0.25, "epochs": 2, "learning_rate": 1e-3} | options}
    return Scoring(("rico", "ifd"), str(model), settings=settings, options=ScoreSettings(dtype="float32"))


def test_a_selector_is_learned_kept_and_scores_a_pool(pools: Path, small_model: Path, tmp_path: Path) -> None:
    assert fit(pools / "pool", tmp_path / "states", plan(small_model), pools / "target") == ["rico"]
    scorer = plan(small_model).scorers["rico"]
    engine = plan(small_model).engine()
    state, _ = load_state(tmp_path / "states" / "rico.safetensors", "rico", scorer, engine)
    made = pq.read_table(tmp_path / "states" / "rico.parquet").to_pylist()
    assert scorer.measured(state).to_pylist() == made
    assert [row["label"] for row in made].count(1) == 4 and len(made) == 16
    best = sorted(made, key=lambda row: -row["global"])[:4]
    assert all(row["label"] == 1 for row in best)
    assert all(0 <= row["consistency"] <= 1 and row["anchors"] == 3 for row in made)
    assert 0 <= state["classifier_auc"][0] <= 1 or np.isnan(state["classifier_auc"][0])

    score(pools / "pool", tmp_path / "scores", plan(small_model), states=tmp_path / "states")
    table = [row for shard in shards.shards(tmp_path / "scores") for row in shards.load(shard).to_pylist()]
    assert len(table) == 24 and all(0 < row["rico"] < 1 and row["status"] == "scored" for row in table)
    assert len({row["rico"] for row in table}) > 12
    assert {row["id"] for row in made} <= {row["id"] for row in table}
    assert all(row["ifd"] > 0 for row in table)  # the pass beside it is the model's own, without the adapters


def test_a_selector_of_other_settings_or_another_model_is_refused(
    pools: Path, small_model: Path, tmp_path: Path
) -> None:
    fit(pools / "pool", tmp_path, plan(small_model), pools / "target")
    path = tmp_path / "rico.safetensors"
    with pytest.raises(UserError, match="share"):
        load_state(path, "rico", plan(small_model, share=0.5).scorers["rico"], plan(small_model).engine())
    other = plan(small_model).engine()
    other.lm = replace(other.lm, identity=other.lm.identity | {"digest": "another"})
    with pytest.raises(UserError, match="digest"):
        load_state(path, "rico", plan(small_model).scorers["rico"], other)


def test_too_little_to_learn_from_is_said(engine: Engine, rows: list[Row], row: Rows) -> None:
    scorer = RICo(Settings(share=0.1))
    with pytest.raises(UserError, match="1 of 2 candidates have a score"):
        scorer.fit(engine, rows, [rows[0], row("Nothing?", "")])
    with pytest.raises(UserError, match="no row of the target"):
        scorer.fit(engine, [], rows)
