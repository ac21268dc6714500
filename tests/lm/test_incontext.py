"""In-context losses against the model's own pass over the whole text, whatever the packs look like."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tamis.lm.encode import Encoded
from tamis.lm.engine import Engine
from tamis.lm.incontext import _common_start, _packs, answer_losses, answer_tail
from tamis.lm.load import load
from tamis.lm.observations import Loss
from tamis.lm.templates import Kind
from tamis.pool.rows import Row

Rows = Callable[..., Row]


@pytest.fixture(scope="module")
def engine(small_model: Path) -> Engine:
    return Engine(load(str(small_model), "float32"))


@pytest.fixture
def rows(engine: Engine, row: Rows) -> list[Encoded]:
    pairs = [("What is 2 + 2?", "4"), ("Name a colour of the sky.", "Blue, or grey."), ("Say it again.", "It. " * 30)]
    encoded = engine.encode([row(*pair) for pair in pairs])
    return [answer_tail(e, 0) for e in encoded if isinstance(e, Encoded)]


def contexts(engine: Engine) -> list[np.ndarray]:
    texts = ["", "The sky is blue.\n\n\n", "Two and two are four. " * 20 + "\n\n\n", "The sky is blue.\n\n\n"]
    return [np.array(engine.lm.tokenizer(t, add_special_tokens=False)["input_ids"], np.int32) for t in texts]


def by_hand(engine: Engine, context: np.ndarray, row: Encoded) -> float:
    """One plain pass of the model over context and row, mean over the answer's tokens."""
    ids = torch.from_numpy(np.concatenate([context, row.ids])).long()
    engine.lm.model.set_attn_implementation("eager")
    try:
        with torch.inference_mode():
            scores = engine.lm.model(input_ids=ids[None], use_cache=False).logits[0].log_softmax(-1)
    finally:
        engine.lm.model.set_attn_implementation("tamis-packed")
    at = len(context) + np.flatnonzero(row.kinds == Kind.ANSWER)
    return float(-scores[at - 1, ids[at]].mean())


@pytest.mark.parametrize("tokens", [1, 200, 100_000])
def test_losses_are_those_of_a_plain_pass(engine: Engine, rows: list[Encoded], tokens: int) -> None:
    given = contexts(engine)
    losses = answer_losses(Engine(engine.lm, batch_tokens=tokens), given, rows)
    wanted = [[by_hand(engine, context, row) for row in rows] for context in given]
    np.testing.assert_allclose(losses, wanted, atol=2e-5)
    assert (losses[1] == losses[3]).all()  # equal contexts, equal numbers to the last bit


def test_4e_an_answer_of_one_token_counts_and_no_context_is_an_empty_one(
    engine: Engine, rows: list[Encoded], row: Rows
) -> None:
    assert (rows[0].kinds == Kind.ANSWER).sum() == 1
    nothing = np.zeros(0, np.int32)
    losses = answer_losses(engine, [nothing], rows)
    questions = [row("What is 2 + 2?", "4"), row("Name a colour of the sky.", "Blue, or grey.")]
    alone = engine.observe(questions, {"loss": Loss()})["loss"]  # the usual pass, the same mask
    np.testing.assert_allclose(losses[0, :2], alone, atol=2e-5)


def test_a_context_is_read_once_for_all_its_rows(engine: Engine, rows: list[Encoded]) -> None:
    given = contexts(engine)[1:3]
    own = Engine(engine.lm, batch_tokens=100_000)
    answer_losses(own, given, rows)
    shared = _common_start(rows)
    assert shared > 20  # the system prompt of the chat template, and the user's header
    heads = sum(len(c) + shared for c in given)
    assert own.work.tokens == heads + len(given) * sum(len(r.ids) - shared for r in rows)
    assert own.work.batches <= len(given)  # one, or one on each core


def test_what_all_rows_begin_with_ends_before_any_answer(rows: list[Encoded]) -> None:
    first = int(np.flatnonzero(rows[0].kinds == Kind.ANSWER)[0])
    assert _common_start([rows[0]]) == first - 1  # a token is left that predicts the first of the answer
    assert _common_start([rows[0], rows[0]]) == first - 1
    other = Encoded(rows[0].ids[::-1].copy(), rows[0].kinds, 0)
    assert _common_start([rows[0], other]) == 0


def test_packs_hold_every_pair_once_within_their_budget() -> None:
    heads, tails = [10, 0, 70, 10, 10], [20, 5, 30, 100]
    for budget in (1, 60, 100, 170, 400, 10_000):
        packs = list(_packs(heads, tails, budget))
        pairs = [(c, r) for group in packs for c, members in group for r in members]
        assert pairs == [(c, r) for c in range(5) for r in range(4)]
        for group in packs:
            assert all(members for _, members in group)
            size = sum(heads[c] + sum(tails[r] for r in members) for c, members in group)
            assert size <= budget or sum(len(members) for _, members in group) == 1
    assert [len(group) for group in _packs(heads, tails, 400)] == [2, 2, 1]  # no context is begun that does not fit
    assert len(list(_packs(heads, tails, 10_000))) == 1


def test_no_context_at_all_gives_no_numbers(engine: Engine, rows: list[Encoded]) -> None:
    assert answer_losses(engine, [], rows).shape == (0, 3)


def test_the_tail_of_a_row_ends_with_its_last_answer(engine: Engine, row: Rows) -> None:
    (whole,) = engine.encode([row("Q?", "A b c")])
    assert isinstance(whole, Encoded) and whole.kinds[-1] == Kind.END
    tail = answer_tail(whole, 1)
    assert tail.kinds[-1] == Kind.ANSWER and tail.ids[0] == whole.ids[1]
