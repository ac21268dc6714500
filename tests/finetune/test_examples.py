"""What of a selection is learned, and what cannot be."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from tamis.errors import UserError
from tamis.finetune.examples import encode_selection, learned, read_encoded, read_selection, write_encoded
from tamis.lm.encode import Encoded, Encoder
from tamis.lm.templates import get_template
from tamis.pool.rows import Message, Row, row_id, to_table


@pytest.fixture(scope="module")
def encoder(small_model: Path) -> Encoder:
    tokenizer = AutoTokenizer.from_pretrained(small_model)
    return Encoder(tokenizer, get_template("chat", tokenizer), 64)


def test_answers_and_their_ends_are_learned(encoder: Encoder, row: Callable[..., Row]) -> None:
    (encoded,) = encode_selection([row("What is 2 + 2?", "It is 4.")], encoder).rows
    assert encoder.tokenizer.decode(encoded.ids[learned(encoded)]) == "It is 4.<|im_end|>"


def test_every_answer_of_a_conversation_is_learned(encoder: Encoder) -> None:
    turns = (Message("user", "Hi"), Message("assistant", "One."), Message("user", "And?"), Message("assistant", "Two."))
    (encoded,) = encode_selection([Row(row_id(turns), turns, "", {})], encoder).rows
    assert encoder.tokenizer.decode(encoded.ids[learned(encoded)]) == "One.<|im_end|>Two.<|im_end|>"


def test_a_first_token_cannot_be_learned() -> None:
    assert learned(Encoded(np.arange(4, dtype=np.int32), np.array([1, 1, 0, 2], np.int8))).tolist() == [1, 3]


def test_rows_that_cannot_be_learned_from_are_counted_by_reason(encoder: Encoder, row: Callable[..., Row]) -> None:
    rows = [row("Say it.", "Yes."), row("word " * 90, "Yes."), row("Say it.", ""), row("Go on.", "word " * 90)]
    examples = encode_selection(rows, encoder)
    assert len(examples.rows) == 2
    assert examples.cut == 1
    assert examples.skipped == {
        "the answer is empty": 1,
        "the prompt alone fills the 64 tokens that the model may read": 1,
    }


def test_encoded_rows_are_kept_as_they_are(encoder: Encoder, row: Callable[..., Row], tmp_path: Path) -> None:
    rows = encode_selection([row("a", "b"), row("Longer question", "longer answer")], encoder).rows
    write_encoded(tmp_path / "rows.parquet", rows)
    again = read_encoded(tmp_path / "rows.parquet")
    assert [(r.ids.tolist(), r.kinds.tolist()) for r in again] == [(r.ids.tolist(), r.kinds.tolist()) for r in rows]


def test_a_selection_is_read_from_its_folder_or_file(row: Callable[..., Row], tmp_path: Path) -> None:
    rows = [row("a", "b"), row("c", "d")]
    pq.write_table(to_table(rows), tmp_path / "selected.parquet")
    assert read_selection(tmp_path) == read_selection(tmp_path / "selected.parquet") == rows


@pytest.mark.parametrize("what", ["missing", "text", "other columns", "broken original"])
def test_what_is_no_selection_is_refused(what: str, row: Callable[..., Row], tmp_path: Path) -> None:
    file = tmp_path / "selected.parquet"
    if what == "text":
        file.write_text("id,messages\n")
    elif what == "other columns":
        pq.write_table(pa.table({"id": ["a"]}), file)
    elif what == "broken original":
        table = to_table([row("a", "b")])
        pq.write_table(table.set_column(3, "original", pa.array(["{"])), file)
    with pytest.raises(UserError, match="tamis select"):
        read_selection(tmp_path)
