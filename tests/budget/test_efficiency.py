"""The metric, the curve and the line, against the numbers computed by hand (numbered as in the specification)."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.budget import (
    COEFFICIENTS,
    Coefficients,
    Measurement,
    data_efficiency,
    exponent,
    fit_coefficients,
    learning_curve,
    predict_efficiency,
    read_auto,
    rows_for,
    share_at,
)
from tamis.budget.efficiency import BUDGETS
from tamis.errors import UserError


def test_5b_missing_budgets_count_as_no_progress() -> None:
    assert data_efficiency({0: 0.4, 50: 0.6, 5000: 0.8}) == pytest.approx(0.4055, abs=5e-5)
    # The same curve without filling would stand at .5203: the straight line from 50 to 5,000 rows.
    x = math.log2(50) / math.log2(5000)
    assert x * 0.25 + (1 - x) * 0.75 == pytest.approx(0.5203, abs=5e-5)


def test_a_curve_is_scaled_to_people_where_they_do_better() -> None:
    curve = {0: 0.4, 50: 0.6, 5000: 0.8}
    assert data_efficiency(curve, human=1.2) == pytest.approx(data_efficiency(curve) / 2)
    assert data_efficiency(curve, human=0.7) == data_efficiency(curve)
    assert data_efficiency({n: 2 * p + 3 for n, p in curve.items()} | {0: 3.8}) == pytest.approx(0.4055, abs=5e-5)


def test_few_rows_are_left_out_and_losses_count_as_none() -> None:
    curve = dict(zip(BUDGETS, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8), strict=True))
    assert data_efficiency(curve | {10: 0.8}) == data_efficiency(curve)
    worse = curve | {500: 0.2}  # below the best before it
    assert data_efficiency(worse) == data_efficiency(curve | {500: 0.4})
    assert data_efficiency(curve | {750: 0.55}) != data_efficiency(curve)  # another size is a point of the curve


def test_bounds_of_the_metric() -> None:
    at_once = dict.fromkeys(BUDGETS, 1.0) | {0: 0.0}
    assert data_efficiency(at_once) == pytest.approx(1 - math.log2(50) / math.log2(5000) / 2)
    assert math.isnan(data_efficiency({0: 0.5, 5000: 0.5}))
    assert data_efficiency({0: 0.0, 5000: 0.0}, human=1.0) == 0.0


@pytest.mark.parametrize(
    ("curve", "why"),
    [({}, "empty"), ({6000: 0.5}, "6000 rows"), ({-1: 0.5}, "-1 rows"), ({50: float("nan")}, "at 50 rows is nan")],
)
def test_what_is_no_curve_is_refused(curve: dict[int, float], why: str) -> None:
    with pytest.raises(UserError, match=why):
        data_efficiency(curve)


def test_5c_rows_for_a_share() -> None:
    assert exponent(0.661) == pytest.approx(0.51286, abs=5e-6)
    assert 0.9 ** (1 / exponent(0.661)) == pytest.approx(0.81429, abs=1e-5)
    assert rows_for(0.9, 0.661) == 1028
    assert rows_for(1.0, 0.661) == 5000


@given(st.floats(0.05, 0.95))
def test_5e_the_area_of_the_curve_is_the_efficiency(efficiency: float) -> None:
    p = exponent(efficiency)
    steps = 20_000  # midpoints in n^(1/4), because n^p is steep near 0
    area = sum(((i + 0.5) / steps) ** (4 * p) * 4 * ((i + 0.5) / steps) ** 3 for i in range(steps)) / steps
    assert area == pytest.approx(efficiency, rel=1e-3)


@given(st.floats(0.05, 0.95), st.floats(0.01, 1.0))
def test_rows_and_share_are_each_others_inverse(efficiency: float, share: float) -> None:
    rows = rows_for(share, efficiency)
    assert 1 <= rows <= 5000
    assert share_at(max(0, rows - 1), efficiency) <= share + 1e-9
    assert share_at(rows + 1, efficiency) >= share - 1e-9


def test_the_learning_curve_rises_to_one() -> None:
    curve = learning_curve(0.661)
    assert list(curve) == list(BUDGETS) and curve[0] == 0.0 and curve[5000] == 1.0
    assert list(curve.values()) == sorted(curve.values())
    assert share_at(9000, 0.661) == 1.0


@pytest.mark.parametrize("efficiency", [0.0, 1.0, -0.2, float("nan")])
def test_an_efficiency_out_of_range_is_refused(efficiency: float) -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        rows_for(0.9, efficiency)


@pytest.mark.parametrize("share", [0.0, 1.1, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(UserError, match="at most 1"):
        rows_for(share, 0.5)


def test_predictions_are_the_published_lines() -> None:
    assert predict_efficiency(0.65) == pytest.approx(0.54 * 0.65 + 0.31)
    assert predict_efficiency(0.65, COEFFICIENTS["llama-3.1-8b"]) == pytest.approx(0.66425)
    assert predict_efficiency(1.0, COEFFICIENTS["mistral-7b"]) == 0.99  # its line passes 1
    assert predict_efficiency(-1.0) == 0.01


def test_a_line_is_found_again_and_its_error_is_that_of_unseen_tasks() -> None:
    exact = [Measurement(str(i), c, 0.5 * c + 0.3) for i, c in enumerate((0.1, 0.2, 0.4, 0.8))]
    fit = fit_coefficients(exact)
    assert (fit.coefficients.slope, fit.coefficients.intercept) == pytest.approx((0.5, 0.3))
    assert fit.error == pytest.approx(0) and fit.spread == Coefficients(pytest.approx(0), pytest.approx(0))
    # Three tasks by hand: without the last, the line through (0, .2) and (1, .4) gives .6 at 2, which is .7.
    fit = fit_coefficients([Measurement("a", 0, 0.2), Measurement("b", 1, 0.4), Measurement("c", 2, 0.7)])
    assert fit.errors == pytest.approx({"a": 0.1, "b": 0.05, "c": 0.1})
    assert fit.error == pytest.approx(0.25 / 3)
    # Least squares over all three: slope (.7 - .2) / 2, through the mean (1, 1.3 / 3).
    assert (fit.coefficients.slope, fit.coefficients.intercept) == pytest.approx((0.25, 11 / 60))


def test_measurements_of_one_task_are_left_out_together() -> None:
    draw = random.Random(0)
    measured = [Measurement(str(i % 5), draw.random(), draw.random()) for i in range(15)]
    fit = fit_coefficients(measured)
    assert len(fit.errors) == 5
    line = fit_coefficients([m for m in measured if m.task != "0"]).coefficients
    own = [abs(predict_efficiency(m.cosine, line) - m.efficiency) for m in measured if m.task == "0"]
    assert fit.errors["0"] == pytest.approx(sum(own) / len(own))


def test_what_no_line_goes_through_is_refused() -> None:
    with pytest.raises(UserError, match="at least 3 measured tasks; there are 2"):
        fit_coefficients([Measurement("a", 0, 0), Measurement("b", 1, 1), Measurement("b", 1, 1)])
    with pytest.raises(UserError, match="same cosine"):
        fit_coefficients([Measurement(t, 0.5, 0.5) for t in "abc"])
    with pytest.raises(UserError, match="task 'b'"):
        fit_coefficients([Measurement("a", 0, 0), Measurement("b", math.nan, 1), Measurement("c", 1, 1)])


def test_automatic_budgets_are_read() -> None:
    assert read_auto("auto:0.8") == 0.8 and read_auto("auto") == 0.9
    assert read_auto("10%") is None and read_auto("500") is None
    for wrong in ("auto:1.5", "auto:0", "auto:x", "auto:nan"):
        with pytest.raises(UserError, match="auto:0.9"):
            read_auto(wrong)
