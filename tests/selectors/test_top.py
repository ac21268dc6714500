from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tamis.errors import UserError
from tamis.selectors import SELECTORS, Candidates
from tamis.settings import parse
from tamis.testing import make_scores


def choose(name: str, folder: Path, values: Any, k: int, **settings: Any) -> list[int]:
    kind = SELECTORS[name]
    candidates = Candidates(make_scores(folder, {"s": values}), "s")
    return kind(parse(kind.Settings, settings, name)).select(candidates, k, 0).tolist()


def test_top_takes_the_ends(tmp_path: Path) -> None:
    values = [0.1, np.nan, 0.9, np.inf, 0.5, -np.inf, 0.7]
    assert choose("top", tmp_path, values, 3) == [2, 6, 4]
    assert choose("top", tmp_path, values, 3, order="lowest") == [0, 4, 6]


@pytest.mark.parametrize("rows", [4, 5, 40, 41])
def test_14f_lowest_and_highest_are_disjoint(tmp_path: Path, rows: int) -> None:
    values = np.random.default_rng(rows).random(rows).round(1)
    low = choose("top", tmp_path, values, rows // 2, order="lowest")
    assert not set(low) & set(choose("top", tmp_path, values, rows // 2))


def test_14a_a_threshold_includes_its_bounds(tmp_path: Path) -> None:
    ratings = [4.5, 4.0, 5.0, 4.4999, np.nan]
    assert choose("threshold", tmp_path, ratings, 9, at_least=4.5) == [2, 0]
    assert choose("threshold", tmp_path, ratings, 9, at_least=4.0, at_most=4.5, order="lowest") == [1, 3, 0]
    assert choose("threshold", tmp_path, ratings, 1, at_most=4.5) == [0]
    with pytest.raises(UserError, match="at_least, at_most or both"):
        choose("threshold", tmp_path, ratings, 1)


def test_the_middle_starts_at_a_third_of_the_descending_order(tmp_path: Path) -> None:
    values = np.arange(12.0)  # descending: 11 10 9 8 | 7 6 5 4 3 2 1 0
    assert choose("middle", tmp_path, values, 3) == [7, 6, 5]
    assert choose("middle", tmp_path, values, 10) == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
