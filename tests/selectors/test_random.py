from collections import Counter
from pathlib import Path

import numpy as np

from tamis.selectors import Candidates, Scores
from tamis.selectors.gumbel import GumbelTopK
from tamis.selectors.order import shuffled
from tamis.selectors.random import BalancedRandom, Random
from tamis.testing import make_scores


def draw(scores: Scores, k: int, seed: int, balanced: bool = False) -> list[int]:
    kind = BalancedRandom if balanced else Random
    return kind(kind.Settings()).select(Candidates(scores), k, seed).tolist()


def test_every_row_has_the_same_chance(tmp_path: Path) -> None:
    scores = make_scores(tmp_path, {"s": np.zeros(20)})
    counts = Counter(i for seed in range(2000) for i in draw(scores, 5, seed))
    # Binomial(2000, 1/4): mean 500, standard deviation 19.4.
    assert sorted(counts) == list(range(20))
    assert all(abs(count - 500) < 4 * 19.4 for count in counts.values())


def test_a_larger_budget_draws_more_and_another_seed_others(tmp_path: Path) -> None:
    scores = make_scores(tmp_path, {"s": np.zeros(200)})
    assert draw(scores, 50, 3)[:20] == draw(scores, 20, 3)
    assert len(set(draw(scores, 20, 3)) & set(draw(scores, 20, 4))) < 10


def test_sources_take_turns_until_they_are_used_up(tmp_path: Path) -> None:
    sources = ["z"] * 10 + ["a"] * 2 + ["m"] * 4
    scores = make_scores(tmp_path, {"s": np.zeros(16)}, sources=sources)
    drawn = [sources[i] for i in draw(scores, 12, 0, balanced=True)]
    assert drawn == list("amzamzmzmzzz")
    assert draw(scores, 12, 0, balanced=True) != draw(scores, 12, 1, balanced=True)


def test_lots_are_distinct_and_independent_by_stream() -> None:
    keys = np.arange(10_000, dtype=np.uint64)
    lots = shuffled(keys, 0)
    assert len(np.unique(lots)) == len(keys)
    for other in (shuffled(keys, 1), shuffled(keys, 0, stream=1)):
        assert abs(np.corrcoef(lots.astype(float), other.astype(float))[0, 1]) < 0.03
    assert (shuffled(keys, 2**64) == lots).all()


def weighted(candidates: Candidates, k: int, seed: int) -> list[int]:
    return GumbelTopK(GumbelTopK.Settings()).select(candidates, k, seed).tolist()


def test_14e_equal_weights_draw_uniformly(tmp_path: Path) -> None:
    scores = make_scores(tmp_path, {"s": np.zeros(20)})
    candidates = Candidates(scores, "s")
    counts = Counter(i for seed in range(2000) for i in weighted(candidates, 5, seed))
    assert sorted(counts) == list(range(20))
    assert all(abs(count - 500) < 4 * 19.4 for count in counts.values())
    # The draw is not that of the random arm of the same seed: two draws of 5 of 20 share 1.25 rows on average.
    shared = [len(set(weighted(candidates, 5, seed)) & set(draw(scores, 5, seed))) for seed in range(500)]
    assert 1.0 < np.mean(shared) < 1.5


def test_a_log_weight_is_a_chance(tmp_path: Path) -> None:
    candidates = Candidates(make_scores(tmp_path, {"s": np.log([1.0, 2.0, 5.0])}), "s")
    counts = Counter(weighted(candidates, 1, seed)[0] for seed in range(4000))
    np.testing.assert_allclose([counts[i] / 4000 for i in range(3)], [0.125, 0.25, 0.625], atol=0.03)
