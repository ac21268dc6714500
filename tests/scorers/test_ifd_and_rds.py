"""Hand-computed cases of IFD, Superfiltering, RDS+ and perplexity, by their numbers in the methods' specification."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_row

from tamis.lm.engine import Engine, _pool
from tamis.lm.load import load
from tamis.lm.pack import Span
from tamis.scorers import SCORERS, Scorer
from tamis.scorers.base import unit
from tamis.selectors import SELECTORS, Candidates
from tamis.testing import make_scores


def scorer(name: str, **settings: object) -> Scorer:
    return SCORERS[name](SCORERS[name].Settings(**settings))


def ifd(given: list[float], alone: list[float], ratio: str = "loss") -> np.ndarray:
    return scorer("ifd", ratio=ratio).score({"given": np.array(given), "alone": np.array(alone)}, {})["ifd"]


def test_1a_the_two_ratios_order_rows_differently_and_filter_the_same() -> None:
    loss, perplexity = (ifd([1.5, 0.2], [3.0, 0.5], ratio) for ratio in ("loss", "perplexity"))
    assert loss == pytest.approx([0.5, 0.4])
    assert perplexity == pytest.approx([0.22313, 0.74082], abs=1e-5)
    assert ((loss < 1) == (perplexity < 1)).all()


def test_1b_published_rows() -> None:
    given, alone = [1.7149, 1.2194], [2.0396, 2.0119]
    assert ifd(given, alone) == pytest.approx([0.8408, 0.6061], abs=1e-4)
    assert ifd(given, alone, "perplexity") == pytest.approx([0.7228, 0.4527], abs=1e-4)


def test_1c_signs_agree() -> None:
    given, alone = np.random.default_rng(0).uniform(0.1, 5, (2, 200))
    side = np.sign(given - alone)
    assert (np.sign(ifd(given, alone) - 1) == side).all()
    assert (np.sign(ifd(given, alone, "perplexity") - 1) == side).all()


def test_1c_only_the_given_loss_sees_the_prompt(small_model: Path) -> None:
    engine = Engine(load(str(small_model), "float32"))
    rows = [make_row("Name a river.", "The Danube."), make_row("Something else altogether", "The Danube.")]
    seen = engine.observe(rows, scorer("ifd").observes)
    assert seen["alone"][0] == pytest.approx(seen["alone"][1], rel=1e-5)
    assert abs(seen["given"][0] - seen["given"][1]) > 1e-3


def test_1c_a_model_that_ignores_context_gives_one(small_model: Path) -> None:
    lm = load(str(small_model), "float32")
    with torch.no_grad():
        lm.model.model.norm.weight.zero_()  # the same logits everywhere: a unigram model
    engine = Engine(lm)
    rows = [make_row("a", "One two three."), make_row("long " * 30, "x")]
    got = scorer("ifd").score(engine.observe(rows, scorer("ifd").observes), {})["ifd"]
    assert got == pytest.approx([1.0, 1.0], rel=1e-6)


def test_superfiltering_has_no_score_for_an_answer_of_one_token(small_model: Path) -> None:
    engine = Engine(load(str(small_model), "float32"))
    method = scorer("superfiltering")
    rows = [make_row("Yes or no?", "Yes"), make_row("Say more.", "Yes, of course.")]
    got = method.score(engine.observe(rows, method.observes), {})["superfiltering"]
    assert np.isnan(got[0]) and np.isfinite(got[1])
    assert method.selection.keep == "superfiltering < 1"


def test_superfiltering_d_covers_the_hardest_below_one(small_model: Path, tmp_path: Path) -> None:
    """Six rows of two subjects and one that is easier: of the three hardest, the two that differ most."""
    method = scorer("superfiltering-d", among=50)
    assert method.selection.keep == "superfiltering_d < 1 and superfiltering_d top 50%"
    same = scorer("superfiltering")
    engine = Engine(load(str(small_model), "float32"))
    rows = [make_row(f"What is {i} plus {i}?", f"It is {2 * i}, of course.") for i in range(3)]
    seen = engine.observe(rows, method.observes)
    made, plain = method.score(seen, {}), same.score(seen, {})
    assert {
        n.replace("superfiltering_d", "superfiltering"): v.tolist() for n, v in made.items() if "vector" not in n
    } == {n: v.tolist() for n, v in plain.items()}
    assert np.linalg.norm(made["superfiltering_d_vector"], axis=1) == pytest.approx(np.ones(3), abs=1e-5)

    vectors = np.eye(3)[[0, 0, 1, 2, 2, 2]]
    ratios = [0.9, 0.8, 0.7, 0.5, 0.4, 1.2]
    scores = make_scores(tmp_path, {"superfiltering_d": ratios, "superfiltering_d_vector": vectors})
    usual = method.selection
    kind = SELECTORS[usual.selector]
    candidates = Candidates(scores, usual.column, usual.keep)
    chosen = kind(kind.Settings()).select(candidates, 2, 0).tolist()
    assert set(np.flatnonzero(candidates.eligible)) == {0, 1, 2}
    assert len(set(chosen) & {0, 1}) == 1 and 2 in chosen


def test_ifd_is_never_finite_where_it_means_nothing() -> None:
    got = ifd([np.nan, 1.0, 1.0, np.inf], [1.0, np.nan, 0.0, 1.0])
    assert not np.isfinite(got).any()


def test_2a_position_weighted_mean() -> None:
    hidden = torch.tensor([[9.0, 9.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    pooled = _pool(hidden, Span(1, 4), "position")
    assert pooled.tolist() == pytest.approx([4 / 6, 5 / 6])
    assert unit(pooled.numpy()[None])[0] == pytest.approx([0.62470, 0.78087], abs=1e-5)
    for other in ("mean", "last"):
        assert unit(_pool(hidden, Span(1, 4), other).numpy()[None])[0] == pytest.approx([0.70711, 0.70711], abs=1e-5)


def test_2c_2d_a_row_is_most_like_itself_whatever_stands_beside_it(small_model: Path) -> None:
    engine = Engine(load(str(small_model), "float32"), batch_tokens=100)
    rows = [make_row(f"Question {i}?" * (i + 1), f"Answer {i}. " * (5 - i)) for i in range(5)]
    method = scorer("rds")
    state = method.fit(engine, rows[:2], [])
    got = method.score(engine.observe(rows[::-1], method.observes), state)
    similarity = got["rds_similarity"][::-1]
    assert similarity.shape == (5, 2)
    assert [similarity[0, 0], similarity[1, 1]] == pytest.approx([1.0, 1.0], abs=1e-5)
    assert similarity.argmax(axis=0).tolist() == [0, 1]
    assert (got["rds"] == got["rds_similarity"].max(axis=1)).all()


def test_14f_low_and_top_select_from_opposite_ends() -> None:
    low, middle, top = (scorer("perplexity", select=s).selection for s in ("low", "middle", "top"))
    assert (low.selector, low.settings["order"]) == ("top", "lowest")
    assert (top.selector, top.settings["order"]) == ("top", "highest")
    assert middle.selector == "middle"
    got = scorer("perplexity").score({"loss": np.array([0.0, np.log(8.0)])}, {})
    assert got["perplexity"] == pytest.approx([1.0, 8.0])


def test_zero_vectors_are_like_nothing() -> None:
    got = unit(np.array([[0.0, 0.0], [3.0, 4.0], [np.nan, 1.0]], np.float32))
    assert np.isnan(got[0]).all() and np.isnan(got[2]).all()
    assert got[1] == pytest.approx([0.6, 0.8])
