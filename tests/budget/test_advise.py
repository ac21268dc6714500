"""CoS-Low with a real small model, and its parts against numbers computed by hand."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tamis.budget import AdviceSettings, advise, predict_efficiency, rows_for
from tamis.budget.advise import _prompt, confidence, least_confident, median_cosine
from tamis.errors import UserError
from tamis.lm.encode import Encoded
from tamis.lm.engine import Engine
from tamis.lm.generate import Continuation, continue_greedily
from tamis.lm.load import load
from tamis.pool.rows import Message, Row, row_id

Rows = Callable[..., Row]
SMALL = AdviceSettings(labelled=4, tokens=4, rank=8, lowest=0.5)


@pytest.fixture(scope="module")
def engine(small_model: Path) -> Engine:
    return Engine(load(str(small_model), "float32"))


@pytest.fixture
def task(row: Rows) -> list[Row]:
    return [row(f"What is {i} plus {i}?", f"It is {2 * i}.") for i in range(10)]


def test_5d_the_median_of_the_cosines() -> None:
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [0.7071, 0.7071]]) * [[2.0], [3.0], [0.5]]
    assert median_cosine(vectors @ vectors.T) == pytest.approx(0.7071, abs=1e-4)  # the mean is .4714
    with_zero = np.vstack([vectors, [0.0, 0.0]])
    assert median_cosine(with_zero @ with_zero.T) == pytest.approx(0.7071, abs=1e-4)
    with pytest.raises(UserError, match="1 of 2 rows have a gradient"):
        median_cosine(np.diag([1.0, 0.0]))


def test_5f_identical_rows_have_a_cosine_of_one(engine: Engine, row: Rows) -> None:
    same = [row("What is 2 plus 2?", "It is 4.", number=i) for i in range(4)]
    advice = advise(engine, same, 0.9, SMALL)
    assert advice.cosine == pytest.approx(1.0, abs=1e-6)
    assert advice.efficiency == predict_efficiency(advice.cosine) == pytest.approx(0.85)
    assert advice.rows == rows_for(0.9, advice.efficiency)


def test_advice_is_the_same_whatever_the_order_and_the_batches(engine: Engine, task: list[Row]) -> None:
    one = advise(engine, task, 0.9, SMALL)
    two = advise(replace(engine, batch_tokens=1), task[::-1], 0.9, SMALL)
    assert one.drawn == two.drawn and len(one.drawn) == 4
    assert two.cosine == pytest.approx(one.cosine, abs=1e-4) and -1 <= one.cosine < 1
    assert one.rows == two.rows and one.curve[5000] == 1.0
    assert one.cost["tokens"] > 0 and one.left_out == {}
    other = advise(engine, task, 0.9, SMALL.model_copy(update={"seed": 1}))
    assert other.drawn != one.drawn


def test_rows_are_drawn_from_the_least_confident(engine: Engine, task: list[Row]) -> None:
    few = SMALL.model_copy(update={"lowest": 0.2, "labelled": 2})
    advice = advise(engine, task, 0.9, few)
    prompts = [_prompt(e) for e in engine.encode(task) if isinstance(e, Encoded)]
    sure = [confidence(engine, made) for made in continue_greedily(engine, prompts, 4)]
    lowest = sorted(range(10), key=lambda i: sure[i])[:2]
    assert set(advice.drawn) == {task[i].id for i in lowest}
    assert advice.confidence["mean"] == pytest.approx(np.mean(sure))
    assert advice.confidence["highest_drawn_from"] == pytest.approx(sure[lowest[1]])


def test_a_row_that_cannot_be_read_is_counted_and_stops_nobody(engine: Engine, task: list[Row], row: Rows) -> None:
    advice = advise(engine, [*task, row("Nothing?", "")], 0.9, SMALL)
    assert advice.left_out == {"the model cannot read it": 1}
    for few in ([], task[:1], [row("Nothing?", "")]):
        with pytest.raises(UserError, match="at least 2 are needed"):
            advise(engine, few, 0.9, SMALL)


def test_what_to_doubt_is_said(engine: Engine, task: list[Row]) -> None:
    borrowed, widened = advise(engine, task, 0.9, SMALL.model_copy(update={"lowest": 0.1})).warnings
    assert "borrowed" in borrowed and "lowest 10% of 10 rows are fewer than 4" in widened
    own = SMALL.model_copy(update={"slope": 0.5, "intercept": 0.3, "labelled": 20})
    (noisy,) = advise(engine, task, 0.9, own).warnings
    assert noisy.startswith("10 rows were compared instead of 20")
    with pytest.raises(UserError, match="both slope and intercept"):
        advise(engine, task, 0.9, AdviceSettings(slope=0.5))
    with pytest.raises(UserError, match="at most 1"):
        advise(engine, task, 1.5, SMALL)


def test_confidence_passes_over_markers_and_white_space(engine: Engine) -> None:
    ids = engine.lm.tokenizer("\n\n word \n")["input_ids"] + [engine.lm.tokenizer.eos_token_id]
    texts = [engine.lm.tokenizer.decode([i]) for i in ids]
    chances = np.linspace(0.1, 0.9, len(ids)).astype(np.float32)
    words = [i for i, text in enumerate(texts[:-1]) if text.strip()]
    assert 0 < len(words) < len(ids) - 1
    made = Continuation(np.array(ids), chances)
    assert confidence(engine, made) == pytest.approx(chances[words].mean())
    assert np.isnan(confidence(engine, Continuation(np.array(ids[-1:]), chances[:1])))


def test_the_least_confident_rows() -> None:
    sure = np.array([0.9, np.nan, 0.1, 0.5, 0.1, 0.7, 0.6, 0.8, 0.95, 0.99, 0.3])
    assert least_confident(sure, 0.1, 1) == [2, 4]  # ten rows have one, and two share the lowest
    assert least_confident(sure, 0.1, 4) == [2, 4, 10, 3]
    assert least_confident(sure, 0.1, 99) == [2, 4, 10, 3, 6, 5, 7, 0, 8, 9]
    assert least_confident(np.full(3, np.nan), 0.1, 4) == []
    assert len(least_confident(np.random.default_rng(0).random(2500), 0.1, 32)) == 250  # as pandas.qcut has it


def test_the_prompt_ends_where_the_last_answer_begins(engine: Engine) -> None:
    turns = tuple(Message(*m) for m in [("user", "One?"), ("assistant", "1"), ("user", "Two?"), ("assistant", "2 and")])
    (encoded,) = engine.encode([Row(row_id(turns), turns, "test", {})])
    assert isinstance(encoded, Encoded)
    text = engine.lm.tokenizer.decode(_prompt(encoded))
    assert text.endswith("Two?<|im_end|>\n<|im_start|>assistant\n")
