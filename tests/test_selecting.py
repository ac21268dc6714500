"""The select step on small pools: every row of the pool ends with a reason, and the counts add up."""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamis.errors import TamisError, UserError
from tamis.pool import shards
from tamis.pool.rows import SCHEMA, Message, Row, from_table, row_id, to_table
from tamis.selecting import budget_rows, check_arms, select
from tamis.selectors import SELECTORS, gather

ROWS = 23
REASON = "prompt leaves no room for the answer"


def make_rows(count: int = ROWS) -> list[Row]:
    rows = []
    for i in range(count):
        messages = (Message("user", f"question {i}"), Message("assistant", f"answer {i}"))
        rows.append(Row(row_id(messages), messages, "ab"[i % 2], {"i": i}))
    return rows


def write_pool(folder: Path, rows: Sequence[Row], size: int = 5) -> Path:
    for index, start in enumerate(range(0, len(rows), size)):
        shards.write_shard(folder, index, to_table(rows[start : start + size]), {})
    return folder


def write_scores(folder: Path, rows: Sequence[Row], size: int = 5, first: int = 0) -> Path:
    """ifd = i / 20 of row i, so the rows from 20 on are at least 1; row 2 has none. Two target rows of one task."""
    for index, start in enumerate(range(0, len(rows), size), first):
        part = rows[start : start + size]
        i = np.array([row.original["i"] for row in part])
        missing = pa.array(i == 2)
        near = np.stack([i, -i], axis=1).astype(np.float32)
        fields = {
            "id": pa.array([row.id for row in part]),
            "source": pa.array([row.source for row in part]),
            "status": pa.array(["partly" if m else "scored" for m in i == 2]),
            "ifd": pa.array(i / 20, mask=i == 2),
            "ifd_loss_given": pa.array(i * 1.0),
            "ifd_reason": pa.array([REASON if m else None for m in i == 2], pa.string()),
            "rds": pa.array(i * 1.0, mask=i == 2),
            "rds_similarity": pa.FixedSizeListArray.from_arrays(near.ravel(), 2, mask=missing),
            "rds_reason": pa.array([REASON if m else None for m in i == 2], pa.string()),
        }
        schema = pa.schema([pa.field(name, array.type) for name, array in fields.items()])
        at = schema.get_field_index("rds_similarity")
        schema = schema.set(at, schema.field(at).with_metadata({"tasks": json.dumps(["t", "t"])}))
        shards.write_shard(folder, index, pa.Table.from_arrays(list(fields.values()), schema=schema), {})
    return folder


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return write_pool(tmp_path / "pool", make_rows())


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    return write_scores(tmp_path / "scores", make_rows())


def chosen(folder: Path) -> list[int]:
    return [row.original["i"] for row in from_table(pq.read_table(folder / "selected.parquet"))]


def arm_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "arm.json").read_text()))


def test_every_row_of_every_arm_has_a_reason_and_the_counts_add_up(pool: Path, scores: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arms = select(
        pool,
        [scores],
        out,
        methods=["ifd", "rds"],
        budget="20%",
        random_seeds=[0, 1],
        extra_arms=["full", "balanced-random-3", "random-1"],
    )
    assert arms == ["ifd", "rds", "random-0", "random-1", "full", "balanced-random-3"]
    assert [arm["arm"] for arm in json.loads((out / "selection.json").read_text())["arms"]] == arms
    rows = make_rows()
    for name in arms:
        arm = arm_of(out / name)
        assert arm["arm"] == name
        assert sum(arm["reasons"].values()) == arm["rows"] == ROWS
        assert arm["selected"] == arm["reasons"]["selected"] == sum(arm["sources"].values())
        selected = pq.read_table(out / name / "selected.parquet")
        assert selected.schema.equals(SCHEMA)
        ids = selected.column("id").to_pylist()
        assert arm["digest"] == shards.combined_digest(ids)
        decisions = pq.read_table(out / name / "decisions.parquet").to_pylist()
        assert [line["id"] for line in decisions] == [row.id for row in rows]
        ranked = sorted((line["rank"], line["id"]) for line in decisions if line["selected"])
        assert ranked == list(enumerate(ids))
        assert all((line["rank"] is None) == (not line["selected"]) for line in decisions)
        assert all((line["reason"] == "selected") == line["selected"] for line in decisions)
        assert Counter(line["reason"] for line in decisions) == arm["reasons"]
    assert arm_of(out / "random-0")["digest"] != arm_of(out / "random-1")["digest"]
    assert sorted(chosen(out / "full")) == list(range(ROWS)) != chosen(out / "full")
    assert arm_of(out / "balanced-random-3")["sources"] in ({"a": 3, "b": 2}, {"a": 2, "b": 3})


def test_reasons_of_ifd(pool: Path, scores: Path, tmp_path: Path) -> None:
    select(pool, [scores], tmp_path / "out", methods=["ifd"], budget=4)
    assert chosen(tmp_path / "out" / "ifd") == [19, 18, 17, 16]
    arm = arm_of(tmp_path / "out" / "ifd")
    assert arm["reasons"] == {
        "selected": 4,
        "not among the 4 best by ifd": 15,
        REASON: 1,
        "left out by ifd < 1": 3,
    }
    assert (arm["selector"], arm["column"], arm["keep"], arm["wanted"], arm["eligible"]) == (
        "top",
        "ifd",
        "ifd < 1",
        4,
        19,
    )
    lines = pq.read_table(tmp_path / "out" / "ifd" / "decisions.parquet").to_pylist()
    assert [lines[i]["reason"] for i in (2, 3, 19, 20)] == [
        REASON,
        "not among the 4 best by ifd",
        "selected",
        "left out by ifd < 1",
    ]
    assert [lines[i]["value"] for i in (2, 3, 20)] == [None, 0.15, 1.0]


def test_rds_takes_turns_and_reports_the_highest_similarity(pool: Path, scores: Path, tmp_path: Path) -> None:
    select(pool, [scores], tmp_path / "out", methods=["rds"], budget=5)
    assert chosen(tmp_path / "out" / "rds") == [22, 0, 21, 1, 20]
    lines = pq.read_table(tmp_path / "out" / "rds" / "decisions.parquet").to_pylist()
    assert [lines[i]["value"] for i in (0, 2, 22)] == [0.0, None, 22.0]


def test_order_of_scores_and_of_shards_does_not_matter(pool: Path, tmp_path: Path) -> None:
    rows = make_rows()
    order = np.random.default_rng(0).permutation(ROWS)
    mixed = [rows[i] for i in order]
    parts = [write_scores(tmp_path / "one", mixed[:9], 4), write_scores(tmp_path / "two", mixed[9:], 7, first=3)]
    straight = [write_scores(tmp_path / "scores", rows)]
    for name, given in (("straight", straight), ("mixed", parts)):
        select(pool, given, tmp_path / name, methods=["ifd", "rds"], budget="40%", random_seeds=[0])
    other = write_pool(tmp_path / "other", mixed, 8)
    select(other, parts, tmp_path / "both", methods=["ifd", "rds"], budget="40%", random_seeds=[0])
    for arm in ("ifd", "rds", "random-0"):
        decisions = [pq.read_table(tmp_path / name / arm / "decisions.parquet") for name in ("straight", "mixed")]
        assert decisions[0].equals(decisions[1])
        digests = {arm_of(tmp_path / name / arm)["digest"] for name in ("straight", "mixed", "both")}
        assert len(digests) == 1


def test_rows_are_put_in_order_a_group_at_a_time(pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    select(pool, [], tmp_path / "at-once", methods=[], extra_arms=["full"])
    monkeypatch.setattr(gather, "GROUP_ROWS", 4)
    select(pool, [], tmp_path / "grouped", methods=[], extra_arms=["full"])
    assert chosen(tmp_path / "grouped" / "full") == chosen(tmp_path / "at-once" / "full")
    assert pq.ParquetFile(tmp_path / "grouped" / "full" / "selected.parquet").num_row_groups == 6
    assert sorted(p.name for p in (tmp_path / "grouped" / "full").iterdir()) == [
        "arm.json",
        "decisions.parquet",
        "selected.parquet",
    ]


def test_a_smaller_arm_says_so(pool: Path, scores: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "tamis"):
        select(pool, [scores], tmp_path / "out", methods=["ifd", "rds"], budget=22)
    assert [record.getMessage() for record in caplog.records] == [
        "arm ifd has 19 rows, not the 22 of the budget: 19 are eligible"
    ]
    arm = arm_of(tmp_path / "out" / "ifd")
    assert (arm["wanted"], arm["selected"]) == (22, 19)


def test_another_selector_for_a_method(pool: Path, scores: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "ifd": {"selector": "top", "column": "ifd_loss_given", "keep": "", "settings": {"order": "lowest"}},
        "rds": {"selector": "random", "keep": "rds > 15 and ifd < 1"},
    }
    select(pool, [scores], tmp_path / "out", methods=["ifd", "rds"], budget=3, selectors=changes)
    assert chosen(tmp_path / "out" / "ifd") == [0, 1, 2]
    assert set(chosen(tmp_path / "out" / "rds")) < {16, 17, 18, 19}
    arm = arm_of(tmp_path / "out" / "rds")
    assert (arm["column"], arm["keep"]) == (None, "rds > 15 and ifd < 1")
    assert arm["reasons"] == {
        "selected": 3,
        "not drawn": 1,
        REASON: 1,
        "left out by rds > 15": 15,
        "left out by ifd < 1": 3,
    }


def test_reasons_of_conditions_in_turn(pool: Path, scores: Path, tmp_path: Path) -> None:
    changes = {"ifd": {"selector": "top", "keep": "ifd < 1 and ifd top 25%", "settings": {"order": "lowest"}}}
    select(pool, [scores], tmp_path / "out", methods=["ifd"], budget=2, selectors=changes)
    assert chosen(tmp_path / "out" / "ifd") == [14, 15]  # the lowest of the six highest below 1
    assert arm_of(tmp_path / "out" / "ifd")["reasons"] == {
        "selected": 2,
        "not among the 2 best by ifd": 4,
        REASON: 1,
        "left out by ifd < 1": 3,
        "left out by ifd top 25%": 13,
    }


def test_settings_of_the_method_stay_with_its_selector(pool: Path, scores: Path, tmp_path: Path) -> None:
    select(pool, [scores], tmp_path / "out", methods=["ifd"], budget=2, selectors={"ifd": {"keep": "ifd < 0.5"}})
    assert chosen(tmp_path / "out" / "ifd") == [9, 8]


@pytest.mark.parametrize(
    ("budget", "rows", "wanted"),
    [("10%", 1600, 160), ("10%", 5, 1), ("0.01 %", 10, 1), ("2.5%", 100, 3), ("100%", 7, 7), (3, 3, 3), ("60", 60, 60)],
)
def test_budgets(budget: str | int, rows: int, wanted: int) -> None:
    assert budget_rows(budget, rows) == wanted


@pytest.mark.parametrize("budget", ["0", 0, "0%", "-5", "-1%", "ten", "10 rows", "1.5", "", "%", "nan", "1e3", 0.1])
def test_a_budget_that_makes_no_sense_is_refused(budget: Any) -> None:
    with pytest.raises(UserError, match="budget"):
        check_arms(methods=["ifd"], budget=budget)


@pytest.mark.parametrize(("budget", "asked"), [("24", "24"), ("105%", "24"), ("200%", "46")])
def test_a_budget_beyond_the_pool_says_both_numbers(pool: Path, tmp_path: Path, budget: str, asked: str) -> None:
    with pytest.raises(UserError, match=f"asks for {asked} rows, but the pool has 23"):
        select(pool, [], tmp_path / "out", methods=[], random_seeds=[0], budget=budget)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"methods": ["idf"]}, "no scorer 'idf'; did you mean 'ifd'"),
        ({"methods": ["ifd"], "method_settings": {"ifd": {"rato": "loss"}}}, "did you mean 'ratio'"),
        ({"methods": ["ifd"], "selectors": {"idf": {}}}, "a selector is given for 'idf'; did you mean 'ifd'"),
        ({"methods": ["ifd"], "selectors": {"ifd": {"selector": "tops"}}}, "no selector 'tops'; did you mean 'top'"),
        ({"methods": ["ifd"], "selectors": {"ifd": {"keeps": "ifd < 1"}}}, "did you mean 'keep'"),
        ({"methods": ["ifd"], "selectors": {"ifd": {"keep": "ifd below 1"}}}, "is not a comparison"),
        ({"methods": ["ifd"], "selectors": {"ifd": {"selector": "threshold"}}}, "at_least"),
        ({"methods": ["ifd"], "selectors": {"ifd": {"settings": {"ordr": "lowest"}}}}, "did you mean 'order'"),
        ({"methods": [], "extra_arms": ["fully"]}, "no arm 'fully'"),
        ({"methods": [], "extra_arms": ["random-x"]}, "no arm 'random-x'"),
        ({"methods": []}, "nothing to select by"),
    ],
)
def test_mistakes_are_found_before_any_work(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_arms(budget="10%", **given)


def test_columns_are_checked_before_anything_is_written(pool: Path, scores: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no column 'idf'; did you mean 'ifd'"):
        select(pool, [scores], tmp_path / "out", methods=["rds", "ifd"], selectors={"ifd": {"keep": "idf < 1"}})
    with pytest.raises(UserError, match="'ifd' needs scores"):
        select(pool, [], tmp_path / "out", methods=["ifd"], random_seeds=[0])
    assert not (tmp_path / "out").exists()


def test_scores_of_other_rows_are_refused(pool: Path, scores: Path, tmp_path: Path) -> None:
    rows = make_rows(ROWS + 1)

    def run(*folders: Path) -> None:
        select(pool, folders, tmp_path / "out", methods=["ifd"])

    with pytest.raises(UserError, match="the scores have 22 rows and the pool 23"):
        run(write_scores(tmp_path / "missing", rows[:22]))
    with pytest.raises(UserError, match="the scores have 46 rows and the pool 23"):
        run(scores, scores)
    with pytest.raises(UserError, match=f"row {rows[21].id} is there twice in the scores"):
        run(write_scores(tmp_path / "twice", [*rows[:22], rows[21]]))
    with pytest.raises(UserError, match="of another pool"):
        run(write_scores(tmp_path / "strange", [*rows[:22], rows[23]]))
    with pytest.raises(UserError, match=f"row {rows[0].id} is there twice in the pool"):
        twice = write_pool(tmp_path / "pool-twice", [*rows[:22], rows[0]])
        select(twice, [scores], tmp_path / "out", methods=["ifd"])
    assert not (tmp_path / "out").exists()


def test_no_row_at_all_is_an_error_that_says_why(pool: Path, scores: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'ifd': none of 23 rows can be selected: left out by ifd < -1 \(22\)"):
        select(pool, [scores], tmp_path / "out", methods=["ifd"], selectors={"ifd": {"keep": "ifd < -1"}})


def test_an_arm_that_failed_has_no_arm_json(
    pool: Path, scores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    select(pool, [scores], out, methods=["ifd"], budget=3)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(TamisError, match="cannot be written: No space left on device"):
        select(pool, [scores], out, methods=["ifd"], budget=4)
    assert not (out / "selection.json").exists()
    assert not (out / "ifd" / "arm.json").exists()
    assert not list(out.rglob("*.part"))


def test_a_selector_that_cheats_is_stopped(
    pool: Path, scores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong in ([2], [0, 0], [0, 1, 3, 4]):
        monkeypatch.setattr(SELECTORS["top"], "select", lambda self, c, k, seed, w=wrong: np.array(w))
        with pytest.raises(TamisError, match="the selector top chose"):
            select(pool, [scores], tmp_path / "out", methods=["ifd"], budget=3)
