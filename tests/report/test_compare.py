"""The statistics behind the verdict."""

import numpy as np
import pytest

from tamis.report.compare import Estimate, Measured, against, estimate, verdict


def measured(values: list[float], weights: list[float] | None = None) -> Measured:
    return Measured(np.array(values, float), np.array(weights or [1.0] * len(values)))


def test_a_figure_is_the_sum_of_totals_by_the_sum_of_weights() -> None:
    assert estimate(measured([6.0, 2.0], [3.0, 1.0])).value == 2.0


def test_the_interval_of_a_mean_is_the_textbook_one() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, 400)
    got = estimate(Measured(values, np.ones(400)))
    half = 1.96 * values.std(ddof=1) / 20
    assert got.low == pytest.approx(values.mean() - half, abs=0.03)
    assert got.high == pytest.approx(values.mean() + half, abs=0.03)


def test_pairs_see_a_small_constant_difference_that_unpaired_intervals_hide() -> None:
    hard = np.random.default_rng(1).normal(3.0, 1.0, 200)
    arm, other = Measured(hard - 0.05, np.ones(200)), Measured(hard, np.ones(200))
    assert estimate(arm).high > estimate(other).low
    got = against(arm, [other])
    assert (got.value, got.low, got.high) == pytest.approx((-0.05, -0.05, -0.05))
    assert verdict(got, lower_is_better=True) == "better"
    assert verdict(got, lower_is_better=False) == "worse"


def test_random_arms_that_differ_widen_the_interval() -> None:
    base = np.random.default_rng(2).normal(3.0, 0.1, 300)
    arm = Measured(base - 0.05, np.ones(300))
    agree = [Measured(base, np.ones(300)), Measured(base, np.ones(300))]
    differ = [Measured(base - 0.2, np.ones(300)), Measured(base + 0.2, np.ones(300))]
    assert verdict(against(arm, agree), True) == "better"
    assert verdict(against(arm, differ), True) == "not better"
    assert against(arm, differ).value == pytest.approx(-0.05)


def test_under_no_difference_the_verdict_is_wrong_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    wrong = 0
    for i in range(100):
        rows = random.normal(0, 1, (2, 80))
        got = against(measured(list(rows[0])), [measured(list(rows[1]))], seed=i)
        wrong += verdict(got, True) != "not better"
    assert wrong <= 13  # 5 expected; 13 or more would happen once in 1,500 tries


def test_arms_with_other_items_are_refused() -> None:
    with pytest.raises(ValueError, match="same items"):
        against(measured([1.0]), [measured([1.0, 2.0])])


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(-2, -1, "better"), (1, 2, "worse"), (-1, 1, "not better"), (0, 1, "not better")]
)
def test_an_interval_that_holds_zero_is_not_better(low: float, high: float, expected: str) -> None:
    assert verdict(Estimate(0.0, low, high), lower_is_better=True) == expected
