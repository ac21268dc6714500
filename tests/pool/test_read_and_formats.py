"""Files and formats: what is read, and what is refused with which reason."""

import csv
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamis.errors import UserError
from tamis.pool.formats import Rejected, check_format, detect, to_messages
from tamis.pool.read import files, records
from tamis.pool.rows import Message

ALPACA = {"instruction": "Add.", "input": "1 and 2", "output": "3"}


def read(path: Path) -> list[object]:
    return [record for _, record in records(path)]


def test_the_same_records_come_from_every_kind_of_file(tmp_path: Path) -> None:
    plain = json.dumps(ALPACA)
    (tmp_path / "a.jsonl").write_text(f"{plain}\n\n{plain}\n")
    (tmp_path / "a.json").write_text(f"[{plain}, {plain}]")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(f"{plain}\n{plain}\n".encode()))
    with pa.output_stream(str(tmp_path / "a.jsonl.zst"), compression="zstd") as out:
        out.write(f"{plain}\n{plain}\n".encode())
    pq.write_table(pa.Table.from_pylist([ALPACA, ALPACA]), tmp_path / "a.parquet")
    with (tmp_path / "a.csv").open("w", newline="") as out:
        writer = csv.DictWriter(out, list(ALPACA))
        writer.writeheader()
        writer.writerows([ALPACA, ALPACA])
    found = files(tmp_path)
    assert len(found) == 6
    for path in found:
        assert read(path) == [ALPACA, ALPACA], path


def test_line_numbers_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n\nnot json\n[1]\n\xff\xfe\n{"a": 2}\n')
    got = list(records(path))
    assert [line for line, _ in got] == [1, 3, 4, 5, 6]
    assert [str(r) if isinstance(r, Rejected) else r["a"] for _, r in got] == [
        1,
        "the line is not JSON",
        "the line is not a JSON object",
        "the line is not UTF-8",
        2,
    ]


@pytest.mark.parametrize(
    ("record", "name"),
    [
        (ALPACA, "alpaca"),
        (
            {"messages": [{"role": "user", "content": "Add. 1 and 2"}, {"role": "assistant", "content": "3"}]},
            "messages",
        ),
        ({"conversations": [{"from": "human", "value": "1+2?"}, {"from": "gpt", "value": "3"}]}, "sharegpt"),
        ({"prompt": "1+2?", "completion": "3"}, "prompt-completion"),
        ({"prompt": "1+2?", "response": "3"}, "prompt-response"),
    ],
)
def test_formats_are_recognised_by_their_fields(record: dict[str, object], name: str) -> None:
    assert detect(record) == name
    turns = to_messages(record, name)
    assert [turn.role for turn in turns] == ["user", "assistant"]
    assert turns[-1].content == "3"


def test_alpaca_joins_instruction_and_input() -> None:
    assert to_messages(ALPACA, "alpaca") == [Message("user", "Add.\n\n1 and 2"), Message("assistant", "3")]
    assert to_messages(ALPACA | {"input": "  "}, "alpaca")[0].content == "Add."
    assert to_messages(ALPACA | {"input": None}, "alpaca")[0].content == "Add."


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (ALPACA | {"output": " \n"}, "the answer is empty"),
        (ALPACA | {"output": None}, "'output' is not text"),
        (ALPACA | {"output": 3}, "'output' is not text"),
        (ALPACA | {"instruction": "", "input": ""}, "there is no question"),
        (ALPACA | {"output": "a\x00b"}, "U+0000, a control character"),
        (ALPACA | {"output": "a\ud800b"}, "U+D800, a lone surrogate"),
        ({"messages": "hello"}, "not a list of objects"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "unknown role 'robot'"),
        ({"messages": [{"role": "user", "content": "x"}]}, "there is no answer"),
        ({"title": "x"}, "no known format has the fields title"),
    ],
)
def test_a_bad_record_is_rejected_with_its_reason(record: dict[str, object], reason: str) -> None:
    with pytest.raises(Rejected, match=reason.replace("+", r"\+")):
        to_messages(record, detect(record))


def test_what_nobody_answers_is_left_out() -> None:
    turns = [("user", "1+1?"), ("assistant", "2"), ("user", "thanks")]
    record = {"messages": [{"role": role, "content": text} for role, text in turns]}
    assert [turn.content for turn in to_messages(record, "messages")] == ["1+1?", "2"]


def test_clear_errors_for_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        files(tmp_path / "missing.jsonl")
    with pytest.raises(UserError, match="no file there that ends in"):
        files(tmp_path)
    (tmp_path / "a.xlsx").write_text("x")
    with pytest.raises(UserError, match="not a kind that is read"):
        files(tmp_path / "a.xlsx")
    for name, content in {"b.parquet": b"PAR1 no", "b.jsonl.gz": b"not gzip", "b.json": b"{", "c.json": b"3"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name):
            read(tmp_path / name)
    with pytest.raises(UserError, match="did you mean 'alpaca'"):
        check_format("alpacca")


def test_a_short_csv_row_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,response\nq,a\nonly\nq,a,extra\n")
    got = read(tmp_path / "a.csv")
    assert got[0] == {"prompt": "q", "response": "a"}
    assert all(isinstance(record, Rejected) for record in got[1:])
