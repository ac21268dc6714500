"""Files and formats: what is read, and what is refused with which reason."""

import csv
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamis.errors import UserError
from tamis.pool import read as reading
from tamis.pool.formats import check_format, detect, to_messages
from tamis.pool.inputs import digest, files
from tamis.pool.read import records
from tamis.pool.rows import Message, Rejected

ALPACA = {"instruction": "Add.", "input": "1 and 2", "output": "3"}


def numbered(path: Path) -> list[tuple[int, object]]:
    (file,) = files(path)
    return list(records(file))


def read(path: Path) -> list[object]:
    return [record for _, record in numbered(path)]


def write_all(folder: Path, rows: list[dict[str, str]]) -> None:
    """The rows in every kind of file, plain and compressed."""
    folder.mkdir(exist_ok=True)
    text = [json.dumps(row) for row in rows]
    (folder / "a.jsonl").write_text("\n\n".join(text) + "\n")
    (folder / "a.json").write_text(f"[{', '.join(text)}]")
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
    with (folder / "a.csv").open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for path in list(folder.iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        with pa.output_stream(str(path.with_name(f"{path.name}.zst")), compression="zstd") as out:
            out.write(path.read_bytes())


def test_the_same_records_come_from_every_kind_of_file(tmp_path: Path) -> None:
    rows = [ALPACA, ALPACA | {"output": 'a\n"b", c'}]
    write_all(tmp_path / "all", rows)
    found = files(tmp_path / "all")
    assert len(found) == 12
    for file in found:
        assert [record for _, record in records(file)] == rows, file
    assert len({digest([file]) for file in found}) == 12


def test_a_damaged_compressed_file_is_refused_not_cut_short(tmp_path: Path) -> None:
    write_all(tmp_path / "all", [ALPACA | {"id": str(i)} for i in range(2000)])
    for file in files(tmp_path / "all"):
        path = Path(file.uri)
        if path.suffix in (".gz", ".zst"):
            path.write_bytes(path.read_bytes()[:-5])
            with pytest.raises(UserError, match="cannot be read"):
                list(records(file))


def test_a_parquet_file_with_a_name_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"instruction": ["a"], "output": ["b"]}), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"instruction", b"\xffnstruction"))
    with pytest.raises(UserError, match=r"a\.parquet cannot be read"):
        numbered(path)


def test_members_of_gzip_and_frames_of_zstd_follow_each_other(tmp_path: Path) -> None:
    for i in range(2):
        write_all(tmp_path / str(i), [ALPACA | {"id": str(i)}])
    for name in ("a.jsonl.gz", "a.jsonl.zst"):
        path = tmp_path / name
        path.write_bytes(b"".join((tmp_path / str(i) / name).read_bytes() for i in range(2)))
        assert [record["id"] for record in read(path)] == ["0", "1"]  # type: ignore[index]


@pytest.mark.parametrize("chunk", [1, 7, 1 << 16])
def test_a_json_list_is_read_item_by_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(reading, "_CHUNK", chunk)
    path = tmp_path / "a.json"
    good = [ALPACA, {"a": [1, {"b": "]},"}], "c": 1.5e300}, 12345, "x", None, {}]
    path.write_bytes(b"\xef\xbb\xbf \n[" + b" ,\n".join(json.dumps(x).encode() for x in good) + b', {"a": "\xff"}] \n')
    got = numbered(path)
    assert [number for number, _ in got] == list(range(1, 8))
    assert [r for _, r in got if isinstance(r, dict)] == [x for x in good if isinstance(x, dict)]
    assert str(got[-1][1]) == "the item is not UTF-8"
    for text in ("[1,]", "[", '[{"a": 1}', "[1 2]", "[1] 2", "[,1]", '[{"a" 1}]', "[1,,2]", '["a'):
        path.write_text(text)
        with pytest.raises(UserError, match=r"a\.json is not JSON: after item \d"):
            read(path)
    path.write_text("[]")
    assert read(path) == []


def test_no_record_may_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LIMIT", 100)
    monkeypatch.setattr(reading, "_CHUNK", 10)
    long = json.dumps({"prompt": "x" * 200})
    (tmp_path / "a.jsonl").write_text(f'{{"a": 1}}\n{long}\n{{"a": 2}}\n')
    got = numbered(tmp_path / "a.jsonl")
    assert [line for line, _ in got] == [1, 2, 3] and isinstance(got[1][1], Rejected)
    for name, text in {"b.json": f"[{long}]", "c.json": long, "d.csv": f'prompt\n"{"x" * 200}"\n'}.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match=name):
            read(tmp_path / name)


def test_one_bad_row_does_not_end_a_csv_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'prompt,response\n"two\nlines",a\n\n\xff,a\n"x"y,a\nq,b\n')
    got = numbered(path)
    assert [(line, str(r) if isinstance(r, Rejected) else r["prompt"]) for line, r in got] == [  # type: ignore[index]
        (2, "two\nlines"),
        (5, "the row is not UTF-8"),
        (6, "the row has text beside its quotes"),
        (7, "q"),
    ]
    path.write_text('prompt,response\nq,a\n"q,a\nq,a\n')
    with pytest.raises(UserError, match="the quote that opens in line 3 is not closed"):
        read(path)
    path.write_text("prompt,prompt\nq,a\n")
    with pytest.raises(UserError, match="names a column twice"):
        read(path)


def test_one_bad_value_does_not_end_a_parquet_file(tmp_path: Path) -> None:
    text = pa.array([b"a", b"\xff", b"c"]).cast(pa.binary()).view(pa.string())
    when = pa.array([0, 0, 2**40], pa.timestamp("s"))
    pq.write_table(pa.table({"prompt": text, "when": when}), tmp_path / "a.parquet")
    first, *bad = read(tmp_path / "a.parquet")
    assert first["prompt"] == "a"  # type: ignore[index]
    assert [str(r) for r in bad] == ["the row is not UTF-8", "the row has a value that cannot be read"]


def test_folders_patterns_and_what_is_not_read(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b/c.jsonl", "b/d.csv", ".hidden/e.jsonl", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}\n")

    def names(where: object) -> list[str]:
        return [file.name for file in files(str(where))]

    assert names(tmp_path) == ["a.jsonl", "b/c.jsonl", "b/d.csv"]
    assert names(tmp_path / "*.jsonl") == ["a.jsonl", "b/c.jsonl"]
    assert names(tmp_path / "b" / "c*") == ["c.jsonl"]
    (tmp_path / "star*.jsonl").write_text("{}\n")
    assert names(tmp_path / "star*.jsonl") == ["star*.jsonl"]  # a file that is called so
    with pytest.raises(UserError, match="no file there"):
        files(tmp_path / "*.parquet")


def test_line_numbers_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n\nnot json\n[1]\n\xff\xfe\n{"a": 2}\n')
    got = numbered(path)
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
        ({"two\nlines": "x"}, r"no known format has the fields 'two\\nlines'"),
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


def test_a_hub_data_set_needs_the_hub() -> None:
    for uri in ("hf://datasets/org/name", "hf://datasets/org/name@main/data/*train*"):
        with pytest.raises(UserError, match="hf://datasets/org/name.* needs the hub, but HF_HUB_OFFLINE is set"):
            files(uri)
    with pytest.raises(UserError, match="is a model; a data set is"):
        files("hf://org/name")


def test_a_short_csv_row_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,response\nq,a\nonly\nq,a,extra\n")
    got = read(tmp_path / "a.csv")
    assert got[0] == {"prompt": "q", "response": "a"}
    assert all(isinstance(record, Rejected) for record in got[1:])
