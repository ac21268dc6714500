"""Round robin against the hand cases 2b to 2e of the specification and against plain Python."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tamis.selectors import Candidates, round_robin
from tamis.selectors.round_robin import RoundRobin
from tamis.testing import make_scores

CASE_2B = np.array([[0.9, 0.8, 0.1, 0.2], [0.95, 0.3, 0.7, 0.6]]).T


def choose(folder: Path, similarity: Any, k: int, tasks: Sequence[str] | None = None, **settings: Any) -> list[int]:
    scores = make_scores(folder, {"s": similarity}, tasks=tasks, sizes=[1, len(similarity) - 1])
    return RoundRobin(RoundRobin.Settings(**settings)).select(Candidates(scores, "s"), k, 0).tolist()


def test_2b_a_taken_row_spends_the_turn_or_gives_way_to_the_next_best(tmp_path: Path) -> None:
    assert set(choose(tmp_path, CASE_2B, 2)) == {0, 1}
    assert set(choose(tmp_path, CASE_2B, 2, on_duplicate="next_best")) == {0, 2}
    assert choose(tmp_path, CASE_2B, 3) == [0, 1, 2]
    assert choose(tmp_path, CASE_2B, 3, on_duplicate="next_best") == [0, 2, 1]


@pytest.mark.parametrize("on_duplicate", ["spend_turn", "next_best"])
def test_2c_copies_of_the_target_come_first(tmp_path: Path, on_duplicate: str) -> None:
    random = np.random.default_rng(0)
    pool = random.standard_normal((200, 16))
    pool /= np.linalg.norm(pool, axis=1, keepdims=True)
    copies = [150, 3, 77, 42]
    chosen = choose(tmp_path, pool @ pool[copies].T, 10, on_duplicate=on_duplicate)
    assert chosen[:4] == copies


@pytest.mark.parametrize("on_duplicate", ["spend_turn", "next_best"])
def test_2d_as_many_as_there_are_is_a_permutation(tmp_path: Path, on_duplicate: str) -> None:
    similarity = np.random.default_rng(0).random((50, 3))
    assert sorted(choose(tmp_path, similarity, 50, on_duplicate=on_duplicate)) == list(range(50))


def test_2e_over_one_task_it_is_the_highest_similarity(tmp_path: Path) -> None:
    assert choose(tmp_path, CASE_2B, 4, ["gsm", "gsm"], over="tasks") == [0, 1, 2, 3]
    assert choose(tmp_path, CASE_2B, 4, ["gsm", "gsm"], over="rows") == [0, 1, 2, 3]
    assert choose(tmp_path, CASE_2B, 3, ["gsm", "gsm"], over="tasks", on_duplicate="next_best") == [0, 1, 2]


def test_auto_takes_turns_over_rows_of_one_task_and_over_several_tasks(tmp_path: Path) -> None:
    similarity = np.array([[0.9, 0.8, 0.0], [0.8, 0.0, 0.1], [0.0, 0.7, 0.2], [0.1, 0.1, 0.9]])
    assert choose(tmp_path, similarity, 3, ["a", "a", "a"]) == [0, 3, 1]
    # Tasks in the target's order: a has the maxima .9 .8 .7 .1, b has 0 .1 .2 .9.
    assert choose(tmp_path, similarity, 4, ["a", "a", "b"]) == [0, 3, 1, 2]
    # The entries of a task need not stand together: a has .9 .8 .2 .9, b has .8 0 .7 .1.
    assert choose(tmp_path, similarity[[0, 1, 2]], 3, ["a", "b", "a"]) == [0, 1, 2]


def test_negative_zero_is_zero(tmp_path: Path) -> None:
    similarity = np.array([[-0.0], [0.0], [-1.0], [-2.0], [1.0]], np.float32)
    zeros = choose(tmp_path, similarity, 5)[1:3]
    assert zeros == choose(tmp_path, -np.abs(similarity) + np.array([[0], [0], [0], [0], [2]]), 5)[1:3]
    assert choose(tmp_path, similarity, 5)[3:] == [2, 3]


def reference(similarity: Any, keys: Any, k: int, spend: bool) -> list[int]:
    """The published loop: every query owns its sorted list, turns go round."""
    lists = [list(np.lexsort((keys, -column))) for column in similarity.T]
    chosen: list[int] = []
    while len(chosen) < min(k, len(similarity)):
        for mine in lists:
            while not spend and mine and mine[0] in chosen:
                mine.pop(0)
            if mine and mine[0] not in chosen:
                chosen.append(int(mine.pop(0)))
            elif mine:
                mine.pop(0)
    return chosen[:k]


@pytest.mark.parametrize("memory", [1, 7, 40, round_robin.MEMORY])
@pytest.mark.parametrize("alike", [0.0, 0.8, 1.0])
@pytest.mark.parametrize("spend", [True, False])
def test_equals_the_published_loop_however_little_memory_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: int, alike: float, spend: bool
) -> None:
    monkeypatch.setattr(round_robin, "MEMORY", memory)
    random = np.random.default_rng(int(10 * alike))
    rows, queries = 120, 5
    similarity = (1 - alike) * random.standard_normal((rows, queries)) + alike * random.standard_normal((rows, 1))
    similarity = similarity.round(1).astype(np.float32)  # many are equal
    scores = make_scores(tmp_path, {"s": similarity}, sizes=[50, 70])
    selector = RoundRobin(RoundRobin.Settings(on_duplicate="spend_turn" if spend else "next_best"))
    for k in (1, 4, 5, 6, 33, 120):
        chosen = selector.select(Candidates(scores, "s"), k, 0).tolist()
        assert chosen == reference(similarity, scores.keys, k, spend)
