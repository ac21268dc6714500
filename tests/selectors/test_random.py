from collections import Counter
from pathlib import Path

import numpy as np

from tamis.selectors import Candidates, Scores
from tamis.selectors.contract import make_scores
from tamis.selectors.order import shuffled
from tamis.selectors.random import BalancedRandom, Random


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
