"""Facility location and k-center: exact on one part, close to it on several."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tamis.selectors import SELECTORS, Candidates, Scores, parts
from tamis.selectors.facility_location import cover
from tamis.selectors.k_center import centres
from tamis.testing import make_scores

CASE_8B = np.array([[1, 0.8, 0.1], [0.8, 1, 0.2], [0.1, 0.2, 1]], np.float32)


def clusters(rows: int, seed: int = 0, width: int = 16) -> Any:
    random = np.random.default_rng(seed)
    middle = random.standard_normal((20, width))
    vectors = middle[random.integers(0, 20, rows)] + 0.6 * random.standard_normal((rows, width))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def coverage(vectors: Any, chosen: Any) -> float:
    return float(np.maximum(vectors @ vectors[chosen].T, 0).max(axis=1).sum())


def radius(vectors: Any, chosen: Any) -> float:
    return float((1 - vectors @ vectors[chosen].T).min(axis=1).max())


def choose(scores: Scores, name: str, k: int, **settings: Any) -> list[int]:
    kind = SELECTORS[name]
    return kind(kind.Settings(**settings)).select(Candidates(scores, "v"), k, 0).tolist()


def test_8b_the_first_covers_most_and_the_second_adds_most() -> None:
    assert cover(CASE_8B, np.ones(3), 3)[0].tolist() == [1, 2, 0]


def test_a_row_that_stands_for_more_counts_for_more() -> None:
    assert cover(CASE_8B, np.array([1.0, 2, 10]), 2)[0].tolist() == [2, 1]


@pytest.mark.parametrize("seed", range(3))
def test_facility_location_is_the_plain_greedy_choice_and_gains_never_grow(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tamis.selectors.facility_location.BLOCK", 13)
    vectors = clusters(80, seed).astype(np.float32)
    similarity = np.maximum(vectors @ vectors.T, 0)
    weights = np.random.default_rng(seed).integers(1, 4, 80).astype(float)
    chosen, gained = cover(similarity, weights, 30)
    nearest, largest = np.zeros(80), []
    for row in chosen:
        gain = (weights[:, None] * np.maximum(similarity - nearest[:, None], 0)).sum(axis=0)  # of each column
        largest.append(gain.max())
        assert gain[row] > largest[-1] - 1e-5  # two rows that only stand for each other gain the same
        nearest = np.maximum(nearest, similarity[:, row])
    np.testing.assert_allclose(gained, largest, atol=1e-5)
    assert np.all(np.diff(largest) <= 1e-9)


def test_k_center_takes_the_farthest() -> None:
    angles = np.deg2rad([0, 10, 20, 90, 200])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    # The mean points to about 22 degrees; from 20 the farthest is 200, then 90, then 0.
    assert centres(vectors, np.ones(5), 5)[0].tolist() == [2, 4, 3, 0, 1]


@pytest.mark.parametrize("memory", [1 << 27, 300 * 16])
@pytest.mark.parametrize("name", ["facility-location", "k-center"])
def test_parts_lose_little_against_the_exact_choice(
    tmp_path: Path, name: str, memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "NUMBERS", memory)
    monkeypatch.setattr(parts, "SAMPLE", 50)
    vectors = clusters(1500)
    scores = make_scores(tmp_path, {"v": vectors}, sizes=[700, 800])
    lots = np.random.default_rng(1)
    for k in (20, 300):
        exact, near = (choose(scores, name, k, part_rows=size) for size in (1500, 200))
        assert exact != near
        random = lots.permutation(1500)[:k]
        if name == "facility-location":
            best, reached, chance = (coverage(vectors, c) for c in (exact, near, random))
            assert reached > best - 0.25 * (best - chance)
        else:
            best, reached, chance = (radius(vectors, c) for c in (exact, near, random))
            assert reached < best + 0.5 * (chance - best)


@pytest.mark.parametrize("name", ["facility-location", "k-center"])
def test_parts_are_the_same_however_little_memory_there_is(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = make_scores(tmp_path, {"v": clusters(300)})
    at_once = choose(scores, name, 100, part_rows=40)
    monkeypatch.setattr(parts, "NUMBERS", 40 * 16 * 2)
    assert choose(scores, name, 100, part_rows=40) == at_once


def test_a_few_rows_of_many_parts_are_not_all_alike(tmp_path: Path) -> None:
    """Twenty clusters, more parts than rows to choose: each cluster gets its row."""
    random = np.random.default_rng(0)
    middle = np.linalg.qr(random.standard_normal((20, 20)))[0]
    cluster = random.integers(0, 20, 1000)
    scores = make_scores(tmp_path, {"v": middle[cluster] + 0.02 * random.standard_normal((1000, 20))})
    for name in ("facility-location", "k-center"):
        assert len(set(cluster[choose(scores, name, 20, part_rows=30 * 8)])) == 20


def test_a_vector_of_zeros_covers_nothing_and_is_chosen_last(tmp_path: Path) -> None:
    scores = make_scores(tmp_path, {"v": np.vstack([np.zeros(16), clusters(9)])})
    assert choose(scores, "facility-location", 10)[-1] == 0


@pytest.mark.parametrize("name", ["facility-location", "k-center"])
def test_vectors_that_are_all_the_same(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "NUMBERS", 20)
    scores = make_scores(tmp_path, {"v": np.ones((30, 4))})
    for k in (3, 30):
        chosen = choose(scores, name, k, part_rows=4)
        assert len(chosen) == len(set(chosen)) == k
