import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tamis.errors import TamisError, UserError
from tamis.pool.shards import write_shard
from tamis.registry import check
from tamis.selectors import Candidates, Scores, Selector
from tamis.selectors.conditions import parse_condition
from tamis.testing import make_scores


def test_keys_are_the_first_hex_digits_or_a_hash(tmp_path: Path) -> None:
    ids = ["00000000000000ff" + "0" * 16, "fedcba9876543210" + "1" * 16, "0" * 32 + "-2", "g" * 32, "é" * 16, "short"]
    keys = make_scores(tmp_path, {"s": np.zeros(6)}, ids=ids).keys
    assert keys[:2].tolist() == [0xFF, 0xFEDCBA9876543210]
    hashed = [int.from_bytes(hashlib.blake2b(i.encode(), digest_size=8).digest(), "big") for i in ids[2:]]
    assert keys[2:].tolist() == hashed


def test_a_row_without_id_is_refused(tmp_path: Path) -> None:
    table = pa.table({"id": pa.array(["a", None]), "source": ["x", "x"]})
    with pytest.raises(UserError, match="no id"):
        _ = Scores([write_shard(tmp_path, 0, table, {})]).keys


def test_columns_over_shards(tmp_path: Path) -> None:
    block = np.array([[1, 2], [np.nan, np.nan], [3, -1], [np.inf, 0], [np.nan, 9]])
    scores = make_scores(
        tmp_path,
        {"one": [1.0, np.nan, 2, 3, 4], "many": block, "why": ["a", None, "b", "a", None]},
        sources=["x", "y", "x", "x", "z"],
        tasks=["t", "u"],
        sizes=[2, 1, 2],
    )
    np.testing.assert_array_equal(scores.column("one"), [1, np.nan, 2, 3, 4])
    # A row counts only if all of its list is finite.
    np.testing.assert_array_equal(scores.column("many"), [2, np.nan, 3, np.nan, np.nan])
    np.testing.assert_array_equal(np.concatenate([b for _, b in scores.blocks("many")]), block.astype(np.float32))
    assert scores.tasks("many") == ["t", "u"]
    codes, names = scores.sources
    assert [names[i] for i in codes] == ["x", "y", "x", "x", "z"]
    codes, names = scores.texts("why")
    assert [names[i] for i in codes] == ["a", "", "b", "a", ""]
    assert scores.id_at(4) == hashlib.sha256(b"4").hexdigest()[:32]


def test_a_shard_without_any_scored_row_has_no_lists(tmp_path: Path) -> None:
    full = make_scores(tmp_path, {"s": [[0.5, 1.0]]}, ids=["a"], tasks=["t", "u"])
    empty = pa.table({"id": ["b", "c"], "source": ["x", "x"], "s": pa.array([None, None], pa.float64())})
    parts = [write_shard(tmp_path, 1, empty, {}), *full.parts]
    scores = Scores(parts)
    np.testing.assert_array_equal(scores.column("s"), [np.nan, np.nan, 1.0])
    assert scores.tasks("s") == ["t", "u"]


def test_a_file_that_changed_is_refused(tmp_path: Path) -> None:
    scores = make_scores(tmp_path, {"s": [1.0]})
    scores.parts[0].path.write_bytes(b"other")
    with pytest.raises(TamisError, match="changed"):
        Scores(scores.parts)


def test_unknown_and_unusable_columns_are_named(tmp_path: Path) -> None:
    scores = make_scores(tmp_path, {"ifd": [1.0], "ifd_reason": ["none"], "rds_similarity": [[1.0]]})
    with pytest.raises(UserError, match="no column 'idf'; did you mean 'ifd'"):
        Candidates(scores, "idf")
    with pytest.raises(UserError, match="no column 'rds_similarty'; did you mean 'rds_similarity'"):
        Candidates(scores, "ifd", "rds_similarty > 0")
    with pytest.raises(UserError, match="holds string, not numbers"):
        Candidates(scores, "ifd_reason")
    with pytest.raises(UserError, match="one number a row"):
        next(Candidates(scores, "ifd").blocks())


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a < 1", [0]),
        ("a <= 1", [0, 1]),
        ("a>1", [2]),
        ("a >= 1.0e0", [1, 2]),
        ("a == 2", [2]),
        ("a > -.5 and b < 30 and a != 1", None),
        ("a > -.5 and b < 30", [0, 1]),
        ("b > 10", [1, 2, 3]),
        ("a >= b", None),
        ("b top 2", [1, 2]),  # row 3 has no a
        ("b top 50% and a < 2", [1]),
        ("a < 2 and b top 1", [1]),  # of those that are left
        ("b top 1%", []),
        ("a > -1 and b top 9", [0, 1, 2]),
        ("b top", None),
        ("b top -1", None),
        ("", [0, 1, 2, 3]),
        ("  ", [0, 1, 2, 3]),
        ("a < nan", None),
        ("a < 1 and", None),
        ("< 1", None),
        ("a = 1", None),
    ],
)
def test_conditions(tmp_path: Path, text: str, kept: list[int] | None) -> None:
    scores = make_scores(tmp_path, {"a": [0.5, 1, 2, np.nan], "b": [10.0, 20, 30, 40]})
    if kept is None:
        with pytest.raises(UserError, match="is not a comparison"):
            parse_condition(text)
    else:
        column = "a" if "top" in text else None
        assert np.flatnonzero(Candidates(scores, column, text).eligible).tolist() == kept


def test_a_condition_reads_as_it_is_written() -> None:
    read = parse_condition("ifd<1 and rds >= 0.25 and ifd top  20.0 % and rds top 5")
    assert [str(c) for c in read] == ["ifd < 1", "rds >= 0.25", "ifd top 20%", "rds top 5"]


def test_the_highest_are_the_same_ones_in_any_order(tmp_path: Path) -> None:
    values, ids = np.array([1.0, 2, 2, 2, 3]), [f"{i:016x}{0:016x}" for i in range(5)]
    kept = []
    for i, order in enumerate(([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3])):
        scores = make_scores(tmp_path / str(i), {"a": values[order]}, ids=[ids[j] for j in order])
        eligible = Candidates(scores, "a", "a top 3").eligible
        kept.append({ids[order[j]] for j in np.flatnonzero(eligible)})
    assert kept[0] == kept[1] == kept[2] and len(kept[0]) == 3 and ids[4] in kept[0]


def test_lists_of_several_lengths_are_refused(tmp_path: Path) -> None:
    short = make_scores(tmp_path / "a", {"s": [[0.5, 1.0]]}, ids=["a"])
    long = make_scores(tmp_path / "b", {"s": [[0.5, 1.0, 0.0]]}, ids=["b"])
    with pytest.raises(UserError, match="lists of 3 and of 2 numbers"):
        Scores([*short.parts, *long.parts]).column("s")


def test_a_selector_that_breaks_the_contract_is_refused() -> None:
    class Wrong(Selector):
        """Chooses."""

    class Nowhere(Wrong):
        """Chooses."""

        paper = "none"
        reads = "words"  # type: ignore[assignment]

    with pytest.raises(UserError, match="must name its paper"):
        check("wrong", Wrong, Selector)
    with pytest.raises(UserError, match="it reads 'words'"):
        check("nowhere", Nowhere, Selector)
    with pytest.raises(NotImplementedError):
        Wrong(Wrong.Settings()).select(None, 1, 0)  # type: ignore[arg-type]


def test_keys_of_a_few_rows_are_those_of_all(tmp_path: Path) -> None:
    scores = make_scores(tmp_path, {"s": np.zeros(40)}, sizes=[4] * 10)
    some = np.array([37, 2, 0, 38])
    few = scores.keys_of(some)
    assert "keys" not in vars(scores)
    np.testing.assert_array_equal(few, scores.keys[some])
    np.testing.assert_array_equal(scores.keys_of(some), few)
