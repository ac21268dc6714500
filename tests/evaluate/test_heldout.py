"""Held-out rows: every row's negative log-likelihood, and every row accounted for."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tamis.evaluate.heldout import SCHEMA, score_heldout, summarise
from tamis.lm.encode import Encoded
from tamis.lm.engine import Engine
from tamis.lm.load import load
from tamis.lm.templates import Kind
from tamis.pool.rows import Row


@pytest.fixture(scope="module")
def engine(small_model: Path) -> Engine:
    return Engine(load(str(small_model), "float32"), "chat", 128)


def test_each_row_equals_a_plain_forward(engine: Engine, small_model: Path, row: Callable[..., Row]) -> None:
    rows = [
        row("What is 2 + 2?", "It is 4."),
        row("Name a colour, " * 8, "Blue — très bleu."),
        row("Hi", "Hello " * 20),
    ]
    table = score_heldout(rows, engine)
    plain = AutoModelForCausalLM.from_pretrained(small_model, dtype=torch.float32, attn_implementation="eager")
    total = 0.0
    for line, encoded in zip(table.to_pylist(), engine.encode(rows), strict=True):
        assert isinstance(encoded, Encoded)
        ids = torch.from_numpy(encoded.ids.astype("int64"))
        with torch.no_grad():
            each = plain(input_ids=ids[None]).logits[0, :-1].log_softmax(-1)
        answer = torch.from_numpy(encoded.kinds[1:]) == Kind.ANSWER
        expected = -each[torch.arange(len(ids) - 1), ids[1:]][answer].sum().item()
        assert line["nll"] == pytest.approx(expected, rel=1e-4)
        assert line["tokens"] == int(answer.sum())
        total += expected
    assert table.schema == SCHEMA
    assert table.column("id").to_pylist() == [r.id for r in rows]
    assert table.column("bytes").to_pylist() == [8, len("Blue — très bleu.".encode()), 120]
    figures = summarise(table)
    assert figures["nll_per_token"] == pytest.approx(total / sum(table.column("tokens").to_pylist()), rel=1e-4)
    assert figures["nll_per_byte"] == pytest.approx(total / sum(table.column("bytes").to_pylist()), rel=1e-4)


def test_rows_that_cannot_be_read_whole_have_a_reason(engine: Engine, row: Callable[..., Row]) -> None:
    rows = [row("Hi", "Hello"), row("Hi", "word " * 200), row("word " * 200, "Hello"), row("Hi", "")]
    table = score_heldout(rows, engine)
    assert table.column("status").to_pylist() == ["scored", "unscored", "unscored", "unscored"]
    assert table.column("nll").null_count == 3
    figures = summarise(table)
    assert (figures["rows"], figures["scored"]) == (4, 1)
    assert figures["unscored"] == {
        "it is longer than the 128 tokens that the model may read": 1,
        "the prompt alone fills the 128 tokens that the model may read": 1,
        "the answer is empty": 1,
    }
    assert figures["tokens"] == table.column("tokens")[0].as_py()  # what is not scored counts nowhere


def test_no_row_that_can_be_scored_is_no_figure(engine: Engine, row: Callable[..., Row]) -> None:
    figures = summarise(score_heldout([row("Hi", "")], engine))
    assert figures["nll_per_token"] is figures["nll_per_byte"] is None
