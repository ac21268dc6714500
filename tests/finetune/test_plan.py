"""Which rows are read in which step."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.finetune.plan import plan, share
from tamis.finetune.settings import TrainingSettings


def rows_of(steps: list[list[list[int]]]) -> list[int]:
    return [i for step in steps for batch in step for i in batch]


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 500), min_size=1, max_size=60),
    batch=st.integers(1, 5),
    accumulation=st.integers(1, 3),
    processes=st.integers(1, 3),
    epochs=st.integers(1, 3),
)
def test_every_row_is_read_once_an_epoch(
    lengths: list[int], batch: int, accumulation: int, processes: int, epochs: int
) -> None:
    chosen = TrainingSettings(batch_size=batch, accumulation=accumulation, epochs=epochs)
    steps = plan(lengths, chosen, processes)
    assert Counter(rows_of(steps)) == dict.fromkeys(range(len(lengths)), epochs)
    assert all(len(step) == accumulation * processes for step in steps)
    assert all(len(part) <= batch for step in steps for part in step)
    shares = [share(steps, p, processes) for p in range(processes)]
    assert {len(batches) for batches in shares} == {accumulation * len(steps)}  # nobody waits for a missing batch
    assert sorted(i for batches in shares for part in batches for i in part) == sorted(rows_of(steps))


def test_steps_by_number_go_on_into_further_epochs() -> None:
    steps = plan([5] * 6, TrainingSettings(batch_size=4, max_steps=5), 1)
    assert [len(rows_of([step])) for step in steps] == [4, 2, 4, 2, 4]
    assert sorted(rows_of(steps[:2])) == sorted(rows_of(steps[2:4])) == list(range(6))


@pytest.mark.parametrize(("epochs", "expected"), [(1.0, 4), (0.5, 2), (0.01, 1), (2.25, 9)])
def test_epochs_may_be_parts(epochs: float, expected: int) -> None:
    assert len(plan([3] * 16, TrainingSettings(batch_size=4, epochs=epochs), 1)) == expected


def test_the_seed_alone_decides_the_order() -> None:
    lengths = [3 + i % 7 for i in range(40)]
    one, again, other = (plan(lengths, TrainingSettings(seed=seed, epochs=2), 2) for seed in (1, 1, 2))
    assert one == again
    assert one != other
    assert rows_of(one)[:40] != rows_of(one)[40:]  # each epoch has its own order


def test_the_step_with_most_tokens_comes_first_and_rows_are_dealt_by_length() -> None:
    lengths = [10, 10, 10, 10, 10, 10, 900, 10]
    steps = plan(lengths, TrainingSettings(batch_size=1, accumulation=2), 2)
    assert 6 in steps[0][0]
    # Four rows of lengths 40, 30, 20, 10 over two batches: 40 + 20 and 30 + 10.
    (only,) = plan([10, 40, 20, 30], TrainingSettings(batch_size=2), 2)
    assert only == [[1, 2], [3, 0]]
    # Batch a * processes + p is the process p's a-th.
    (both,) = plan([10, 40, 20, 30], TrainingSettings(batch_size=1, accumulation=2), 2)
    assert (share([both], 0, 2), share([both], 1, 2)) == ([[1], [2]], [[3], [0]])
