"""Hand-computed cases of IRA, NAIT and DSIR, by their numbers in the methods' specification."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_row

from tamis.lm.engine import Engine
from tamis.lm.load import load
from tamis.pool.rows import Row
from tamis.scorers import SCORERS, Scorer
from tamis.scorers.dsir import DSIR, features, log_ratio, weigh
from tamis.scorers.nait import NAIT, capability


def scorer(name: str, **settings: object) -> Scorer:
    return SCORERS[name](SCORERS[name].Settings(**settings))


class Fixed:
    """Observes what it was given, by the row's question."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def observe(self, rows: Sequence[Row], wants: Mapping[str, Any]) -> dict[str, Any]:
        (name,) = wants
        return {name: np.array([self.values[row.text("user")] for row in rows], np.float32)}


def test_11a_difference_of_losses() -> None:
    got = scorer("ira").score({"given": np.array([1.5]), "alone": np.array([3.0])}, {})["ira"]
    assert got == pytest.approx([1.5])
    assert np.exp(-got) == pytest.approx([0.22313], abs=1e-5)


def test_11b_orders_rows_against_the_perplexity_ratio() -> None:
    given, alone = np.random.default_rng(0).uniform(0.1, 5, (2, 50))
    ira = scorer("ira").score({"given": given, "alone": alone}, {})["ira"]
    ifd = scorer("ifd", ratio="perplexity").score({"given": given, "alone": alone}, {})["ifd"]
    assert (np.argsort(ira) == np.argsort(-ifd)).all()


def test_11c_shuffled_answers_are_less_aligned(demo_folder: Path) -> None:
    engine = Engine(load(str(demo_folder)))
    pairs = [
        ("What is the capital of France?", "The capital of France is Paris."),
        ("Name a yellow fruit.", "A banana is a yellow fruit."),
        ("How many legs does a spider have?", "A spider has eight legs."),
        ("What do bees make?", "Bees make honey."),
    ]
    shuffled = [(q, pairs[(i + 1) % 4][1]) for i, (q, _) in enumerate(pairs)]
    method = scorer("ira")
    means = []
    for some in (pairs, shuffled):
        seen = engine.observe([make_row(q, a) for q, a in some], method.observes)
        means.append(method.score(seen, {})["ira"].mean())
    assert means[0] > means[1] + 0.5


LAYERS = {"a": [[1, 0], [0, 2]], "b": [[3, 0], [0, 6]], "y": [[0.5, 9], [7, -0.25]]}


def fitted(values: Mapping[str, Any], *questions: str, **settings: object) -> tuple[Scorer, dict[str, Any]]:
    method = scorer("nait", **settings)
    return method, method.fit(Fixed(values), [make_row(q, "x", source="s") for q in questions], [])


def test_3a_projection_on_the_first_component() -> None:
    method, state = fitted(LAYERS, "a", "b")
    assert state["directions"][0] == pytest.approx(np.array([[1, 0], [0, 1]]))
    got = method.score({"activations": np.array([LAYERS["y"]], np.float32)}, state)
    assert got["nait"] == pytest.approx([0.25])
    negated = {name: (-np.array(v)).tolist() for name, v in LAYERS.items()}
    _, other = fitted(negated, "a", "b")
    assert other["directions"] == pytest.approx(-state["directions"])


def test_3b_an_orthogonal_mean_is_told(caplog: pytest.LogCaptureFixture) -> None:
    deltas = np.array([[[10, 1]], [[10, -1]], [[10, 2]], [[10, -2]]], float)
    with caplog.at_level(logging.WARNING):
        assert capability(deltas, True, "s")[0] == pytest.approx([0, 1])
    assert "nearly orthogonal to the mean" in caplog.text
    caplog.clear()
    assert capability(deltas, False, "s")[0] == pytest.approx([1, 0])
    assert not caplog.text


def test_3c_additive_over_layers_and_linear() -> None:
    method, state = fitted(LAYERS, "a", "b")
    one = np.array([LAYERS["y"]], np.float32)
    total = method.score({"activations": one}, state)["nait"][0]
    scaled = one * np.array([3.0, 1.0], np.float32)[None, :, None]
    assert method.score({"activations": scaled}, state)["nait"][0] == pytest.approx(total + 2 * 0.5)
    normal, same = fitted(LAYERS, "a", "b", normalize=True)
    assert normal.score({"activations": scaled}, same)["nait"] == pytest.approx(
        normal.score({"activations": one}, same)["nait"]
    )


def test_3d_unit_length_towards_the_mean_whatever_the_order() -> None:
    rows = np.random.default_rng(0).normal(1.0, 1.0, (9, 4, 6))
    got = capability(rows, True, "s")
    assert np.linalg.norm(got, axis=1) == pytest.approx(np.ones(4), rel=1e-6)
    assert (np.einsum("lw,lw->l", rows.mean(axis=0), got) >= 0).all()
    assert capability(rows[::-1], True, "s") == pytest.approx(got, abs=1e-5)


@pytest.mark.parametrize("rows", [np.full((3, 1, 2), 4.0), np.full((1, 1, 2), 4.0), np.zeros((2, 1, 2))])
def test_rows_that_do_not_differ_have_a_direction_and_a_warning(rows: Any, caplog: pytest.LogCaptureFixture) -> None:
    got = capability(rows, True, "s")
    expected = [0.70711, 0.70711] if rows.any() else [1.0, 0.0]
    assert got[0] == pytest.approx(expected, abs=1e-5)
    assert "do not differ" in caplog.text


def test_several_capabilities_are_combined_by_z_scores() -> None:
    values = {"a": [[1, 0]], "b": [[3, 0]], "c": [[0, 10]], "d": [[0, 30]], "p": [[1, 0]], "q": [[3, 40]]}
    method = scorer("nait")
    target = [make_row(q, "x", source="one" if q in "ab" else "two") for q in "abcd"]
    state = method.fit(Fixed(values), target, [make_row(q, "x") for q in "pq"])
    got = method.score({"activations": np.array([values["p"], values["q"]], np.float32)}, state)
    assert got["nait_capability"] == pytest.approx(np.array([[1, 0], [3, 40]]))
    assert got["nait"] == pytest.approx([-1.0, 1.0])  # z-scores of -1 and 1 in both


def test_14d_weights_by_hand() -> None:
    ratio = log_ratio(np.array([0.5, 0.5]), np.array([0.25, 0.75]))
    assert ratio == pytest.approx([0.69315, -0.40547], abs=1e-5)
    got = weigh([np.array([2.0, 1.0]), np.array([0.0, 3.0])], ratio)
    assert got == pytest.approx([0.98083, -1.21640], abs=1e-5)


def test_14e_a_target_like_the_pool_weighs_everything_zero() -> None:
    rows = [make_row("What is it?", "A thing."), make_row("Who is it?", "A person.")]
    method = scorer("dsir")
    state = method.fit(Fixed({}), rows, rows)
    got = method.score({"text": np.array([row.text() for row in rows], object)}, state)["dsir"]
    assert got == pytest.approx([0.0, 0.0])


def test_dsir_counts_words_and_pairs_and_prefers_the_target() -> None:
    assert features("The the cat!").sum() == 4 + 3
    assert features("").sum() == 0
    sums = [make_row(f"What is {i} plus 2?", f"It is {i + 2}.") for i in range(5)]
    other = [make_row("Describe the sea.", f"Waves roll {w}.") for w in ("far", "near", "slowly")]
    method = scorer("dsir")
    state = method.fit(Fixed({}), sums[:3], sums + other)
    text = np.array([row.text() for row in [sums[4], *other]], object)
    assert method.score({"text": text}, state)["dsir"].argmax() == 0


def test_dsir_with_laplace_counts_each_bucket_of_the_target_once_more() -> None:
    target, other = make_row("one", "two"), make_row("one", "three")  # each two words and their pair
    for laplace, seen, unseen in (False, 1 / 3, 0.0), (True, 2 / 10_003, 1 / 10_003):
        method = scorer("dsir", laplace=laplace)
        state = method.fit(Fixed({}), [target], [other])
        ratio = state["log_ratio"][[int(features(word).argmax()) for word in ("one", "three")]]
        assert ratio == pytest.approx(np.log(np.array([seen, unseen]) + 1e-8) - np.log(1 / 3 + 1e-8))


def test_the_classes_are_those_that_the_names_stand_for() -> None:
    assert SCORERS["nait"] is NAIT and SCORERS["dsir"] is DSIR
