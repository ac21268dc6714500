"""The prepare step: counts add up, every row left out has a reason, nothing half-done is taken for whole."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tamis.errors import TamisError, UserError
from tamis.pool import duplicates, shards
from tamis.pool.contamination import Overlap, words
from tamis.pool.duplicates import Near
from tamis.pool.prepare import PrepareSettings, prepare
from tamis.pool.rows import from_table


def lines(path: Path, records: list[Any]) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records))
    return path


def alpaca(i: int) -> dict[str, str]:
    return {"instruction": f"What is {i} plus {i}?", "input": "", "output": f"It is {2 * i}.", "id": f"own-{i}"}


def rows_of(folder: Path) -> list[Any]:
    return [row for shard in shards.shards(folder) for row in from_table(shards.load(shard))]


def test_counts_add_up_and_every_reason_is_kept(tmp_path: Path) -> None:
    bad = ["garbage", alpaca(1), alpaca(2) | {"output": ""}, alpaca(3) | {"output": "It is 6. "}]
    pool = lines(tmp_path / "mine.jsonl", [alpaca(i) for i in range(10)] + bad)
    result = prepare(pool, tmp_path / "out", options=PrepareSettings(shard_rows=4))
    part = result["pool"]
    assert (part["read"], part["rows"], part["shards"]) == (14, 10, 3)
    assert part["rejected"] == {
        "the line is not JSON": 1,
        "exact duplicate of an earlier row": 2,  # blanks around an answer make no difference
        "the answer is empty": 1,
    }
    left_out = pq.read_table(tmp_path / "out" / "rejected.parquet").to_pylist()
    assert sorted(r["line"] for r in left_out) == [11, 12, 13, 14]
    assert {r["file"] for r in left_out} == {"mine.jsonl"}
    rows = rows_of(tmp_path / "out" / "pool")
    assert [row.original["id"] for row in rows] == [f"own-{i}" for i in range(10)]
    assert {row.source for row in rows} == {"mine"}
    assert len({row.id for row in rows}) == 10


def test_ids_name_the_content_not_the_place(tmp_path: Path) -> None:
    records = [alpaca(i) for i in range(20)]
    shuffled = random.Random(0).sample(records, 20)
    a = prepare(lines(tmp_path / "a.jsonl", records), tmp_path / "a")
    b = prepare(lines(tmp_path / "b.jsonl", shuffled), tmp_path / "b")
    by_own = [{r.original["id"]: r.id for r in rows_of(tmp_path / name / "pool")} for name in "ab"]
    assert by_own[0] == by_own[1]
    assert a["pool"]["digest"] != b["pool"]["digest"]


def test_kept_duplicates_have_ids_of_their_own(tmp_path: Path) -> None:
    pool = lines(tmp_path / "a.jsonl", [alpaca(1), alpaca(1), alpaca(1)])
    prepare(pool, tmp_path / "out", options=PrepareSettings(duplicates="keep"))
    first, second, third = (row.id for row in rows_of(tmp_path / "out" / "pool"))
    assert (second, third) == (f"{first}-2", f"{first}-3")


def test_rows_that_overlap_with_held_out_ones_are_left_out(tmp_path: Path) -> None:
    long = "one two three four five six seven eight nine ten eleven twelve thirteen"
    pool = lines(
        tmp_path / "p.jsonl",
        [
            {"prompt": f"Count. {long.upper()}!", "response": "Done."},  # the 13 words, in capitals
            {"prompt": f"Count. {long.removesuffix(' thirteen')} stop", "response": "Done."},  # 12 of them
            alpaca(4),
        ],
    )
    heldout = lines(tmp_path / "h.jsonl", [{"prompt": f"Say: {long}", "response": "fourteen"}])
    result = prepare(pool, tmp_path / "out", heldout=heldout)
    assert result["pool"]["contaminated"] == {"a held-out row": 1}
    assert result["pool"]["rejected"] == {"shares 13 words in a row with a held-out row": 1}
    assert result["heldout"]["rows"] == 1
    reported = prepare(pool, tmp_path / "r", heldout=heldout, options=PrepareSettings(contamination="report"))["pool"]
    assert (reported["rows"], reported["flagged"]) == (3, {"shares 13 words in a row with a held-out row": 1})
    (flagged,) = pq.read_table(tmp_path / "r" / "flagged.parquet").to_pylist()
    assert (flagged["file"], flagged["line"]) == ("p.jsonl", 1)
    assert flagged["id"] == rows_of(tmp_path / "r" / "pool")[0].id


def shares(text: str, *evaluated: str) -> set[str]:
    overlap = Overlap()
    for i, one in enumerate(evaluated):
        overlap.add(str(i), [one])
    return overlap.labels(words(text))


def test_a_short_evaluation_text_must_stand_whole() -> None:
    assert shares("Tell me: what is two plus two, please", "What is two plus two?") == {"0"}
    assert not shares("what is two plus three", "What is two plus two?")
    assert not shares("yes", "yes")  # fewer than four words say nothing
    assert shares("is it so? what is two plus two", "say nothing of it", "What is two plus two?") == {"1"}


def test_words_without_blanks_between_them_are_words_too() -> None:
    question = "请问世界上最高的山是哪一座山峰"
    assert words("Hello, 世界! 한국어 text") == ["hello", "世", "界", "한국어", "text"]
    assert shares(f"回答：{question}？", question) == {"0"}
    assert not shares("请问世界上最高的楼是哪一座山峰", question)


WORDS = [f"w{i}" for i in range(300)]


def prompts(tmp_path: Path, texts: list[str]) -> Path:
    return lines(tmp_path / "p.jsonl", [{"prompt": text, "response": "Done."} for text in texts])


def test_near_duplicates_are_removed_or_flagged_and_the_first_is_kept(tmp_path: Path) -> None:
    draw = random.Random(0)
    texts = [draw.choices(WORDS, k=100) for _ in range(200)]
    near = [[*text[:50], "other", *text[51:]] for text in texts[:40]]  # 3 of 100 runs differ: Jaccard 0.94
    far = [text[:50] + draw.choices(WORDS, k=50) for text in texts[40:80]]  # half of the runs: 0.33
    pool = prompts(tmp_path, [" ".join(text) for text in texts + near + far])
    removed = prepare(pool, tmp_path / "a", options=PrepareSettings(near_duplicates="remove"))["pool"]
    assert removed["rejected"] == {"near duplicate of an earlier row": 40}
    left_out = pq.read_table(tmp_path / "a" / "rejected.parquet").to_pylist()
    assert [r["line"] for r in left_out] == list(range(201, 241))
    flagged = prepare(pool, tmp_path / "b", options=PrepareSettings(near_duplicates="report"))["pool"]
    assert (flagged["rows"], flagged["flagged"]) == (280, {"near duplicate of an earlier row": 40})
    strict = prepare(pool, tmp_path / "c", options=PrepareSettings(near_duplicates="remove", near_threshold=1))
    assert strict["pool"]["rows"] == 280
    off = prepare(pool, tmp_path / "d")["pool"]
    assert (off["rows"], off["flagged"]) == (280, {})


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
def test_nine_of_ten_pairs_above_the_threshold_are_found(threshold: float) -> None:
    """Sets of 400 runs with a Jaccard similarity a little above the threshold, then far below."""
    draw = random.Random(1)
    for similarity, least, most in ((min(1, threshold + 0.06), 0.9, 1.0), (threshold - 0.2, 0.0, 0.02)):
        near, found = Near(threshold), 0
        for pair in range(100):
            common = round(402 * 2 * similarity / (1 + similarity))  # of the words of each, at its beginning
            start = [f"{pair}-{draw.random()}" for _ in range(common)]
            one, other = (start + [f"{pair}-{draw.random()}" for _ in range(402 - common)] for _ in range(2))
            assert near.first([one]) == [True]
            found += near.first([other]) == [False]
        assert least <= found / 100 <= most


def test_exact_duplicates_are_found_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_NEW", 64)
    draw, exact, seen = random.Random(2), duplicates.Exact(), set()
    for _ in range(200):
        block = [draw.randrange(5000).to_bytes(16, "little") for _ in range(50)]  # many end in NUL
        expected = []
        for digest in block:
            expected.append(digest not in seen)
            seen.add(digest)
        assert exact.first(block) == expected


def test_rows_that_are_too_long_or_not_unicode_are_left_out(tmp_path: Path) -> None:
    records = [alpaca(1), alpaca(2) | {"output": "x" * 90}, alpaca(3) | {"source": "\ud800"}]
    part = prepare(lines(tmp_path / "a.jsonl", records), tmp_path / "o", options=PrepareSettings(max_characters=100))
    assert part["pool"]["rejected"] == {"longer than 100 characters": 1, "its source is not valid Unicode": 1}


def test_shards_of_long_rows_are_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tamis.pool.prepare._SHARD_CHARACTERS", 2000)
    pool = lines(tmp_path / "a.jsonl", [alpaca(i) | {"output": f"{i}" * 400} for i in range(10, 15)])
    part = prepare(pool, tmp_path / "out")["pool"]
    assert (part["rows"], part["shards"]) == (5, 3)
    assert [row.original["id"] for row in rows_of(tmp_path / "out" / "pool")] == [f"own-{i}" for i in range(10, 15)]


def test_a_second_run_is_free_and_another_one_is_refused(tmp_path: Path) -> None:
    pool = lines(tmp_path / "a.jsonl", [alpaca(i) for i in range(3)])
    first = prepare(pool, tmp_path / "out")
    stamp = (tmp_path / "out" / "pool" / "shard-00000.parquet").stat().st_mtime_ns
    assert prepare(pool, tmp_path / "out") == first
    assert (tmp_path / "out" / "pool" / "shard-00000.parquet").stat().st_mtime_ns == stamp
    lines(pool, [alpaca(i) for i in range(4)])
    with pytest.raises(UserError, match="was prepared with pool"):
        prepare(pool, tmp_path / "out")
    assert prepare(pool, tmp_path / "out", overwrite=True)["pool"]["rows"] == 4


def test_a_run_that_died_is_done_again(tmp_path: Path) -> None:
    pool = lines(tmp_path / "a.jsonl", [alpaca(i) for i in range(9)])
    options = PrepareSettings(shard_rows=2)
    whole = prepare(pool, tmp_path / "whole", options=options)
    prepare(pool, tmp_path / "out", options=options)
    (tmp_path / "out" / "prepared.json").unlink()
    (tmp_path / "out" / "pool" / "shard-00004.json").unlink()
    (tmp_path / "out" / "pool" / "shard-00007.parquet").write_text("from an older run")
    assert prepare(pool, tmp_path / "out", options=options) == whole
    for a in sorted((tmp_path / "whole" / "pool").iterdir()):
        assert a.read_bytes() == (tmp_path / "out" / "pool" / a.name).read_bytes()
    assert len(list((tmp_path / "out" / "pool").iterdir())) == 10


def test_a_pool_without_a_usable_row_is_refused(tmp_path: Path) -> None:
    pool = lines(tmp_path / "a.jsonl", ["x", "y", alpaca(1) | {"output": ""}])
    with pytest.raises(UserError, match="no row can be used \\(2 x the line is not JSON; 1 x the answer is empty"):
        prepare(pool, tmp_path / "out")
    assert not (tmp_path / "out" / "prepared.json").exists()


def test_hostile_fields_survive(tmp_path: Path) -> None:
    row = alpaca(1) | {"note": "\ud800", "nested": {"a": [1, None]}}
    prepare(lines(tmp_path / "a.jsonl", [row]), tmp_path / "out")
    assert rows_of(tmp_path / "out" / "pool")[0].original["nested"] == {"a": [1, None]}


def test_shards_notice_changed_bytes_and_other_makers(tmp_path: Path) -> None:
    prepare(lines(tmp_path / "a.jsonl", [alpaca(1)]), tmp_path / "out")
    folder = tmp_path / "out" / "pool"
    (shard,) = shards.shards(folder)
    assert shards.find_shard(folder, 0, shard.identity) == shard
    assert shards.find_shard(folder, 1, shard.identity) is None
    with pytest.raises(UserError, match=r"settings\.shard_rows 10000 \(now 5\)"):
        shards.find_shard(folder, 0, shard.identity | {"settings": shard.identity["settings"] | {"shard_rows": 5}})
    data = bytearray(shard.path.read_bytes())
    data[len(data) // 2] ^= 1
    shard.path.write_bytes(data)
    with pytest.raises(TamisError, match="has changed since it was written"):
        shards.load(shard)
    shard.path.with_suffix(".json").unlink()
    with pytest.raises(UserError, match="half written"):
        shards.shards(folder)
    with pytest.raises(UserError, match="no shards there"):
        shards.shards(tmp_path)
