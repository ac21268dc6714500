"""Tests that every scorer must pass, see `tamis.testing`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tamis.errors import UserError
from tamis.lm.engine import Engine
from tamis.lm.load import load
from tamis.pool.rows import Message, Row, row_id
from tamis.pool.shards import write_shard
from tamis.scorers import Scorer
from tamis.scorers.base import State
from tamis.scoring.rows import score_rows
from tamis.selecting import explain
from tamis.selectors import SELECTORS, Candidates, Scores
from tamis.settings import parse
from tamis.testing.model import WINDOW, make_model


def make_row(prompt: str, answer: str, source: str = "one", number: int = 0) -> Row:
    """A row of one question and one answer; another number makes another id."""
    messages = (Message("user", prompt), Message("assistant", answer))
    return Row(row_id([*messages, Message("user", str(number))]), messages, source, {})


POOL = [make_row(f"What is {i} plus {i}?", "It is " + "very " * (i % 4) + f"clear: {2 * i}.") for i in range(10)]
TWINS = [make_row("Say it twice.", "Twice, twice.", number=i) for i in range(2)]
ONE_TOKEN = make_row("One byte?", "y")
EMPTY = make_row("Nothing?", "")
LONG = make_row("on and " * WINDOW, "on")
CUT = make_row("A short question?", "A long answer. " * WINDOW)
ROWS = [*POOL, *TWINS, ONE_TOKEN, EMPTY, LONG, CUT]
TARGET = [make_row(f"How much is {i} plus 1?", f"{i + 1}.", task) for i, task in enumerate(["sums", "sums", "more"])]


class ScorerContract:
    """The tests; a subclass brings the fixture `scorer`."""

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, tmp_path_factory: pytest.TempPathFactory) -> Engine:
        """Observes rows with a model of random weights and a window of 256 tokens."""
        return Engine(load(str(make_model(tmp_path_factory.mktemp("model"))), "float32"))

    def test_every_row_has_its_score_or_a_reason(self, scorer: Scorer, engine: Engine) -> None:
        """Rows keep their place; a column is null exactly where there is a reason, and finite elsewhere.

        Among the rows: an answer of one token, an empty one, a prompt beyond the window, an answer cut off by it.
        """
        table = _scored(scorer, engine)
        assert table.column("id").to_pylist() == [row.id for row in ROWS]
        reasons = table.column(_reason(scorer)).to_pylist()
        assert None in reasons, "no row has a score"
        assert all(reasons[i] is None for i in range(len(POOL))), "an ordinary row has none"
        for column in scorer.columns:
            values = table.column(column).to_pylist()
            assert [v is None for v in values] == [reason is not None for reason in reasons], column
            assert np.isfinite(np.concatenate([np.atleast_1d(v) for v in values if v is not None])).all(), column

    def test_same_rows_same_scores(self, scorer: Scorer, engine: Engine) -> None:
        """Learned and scored twice, bit for bit the same."""
        assert _scored(scorer, engine).equals(_scored(scorer, engine))

    def test_neighbours_order_and_batches_do_not_matter(self, scorer: Scorer, engine: Engine) -> None:
        """The same scores from rows in another order, one by one."""
        state, tasks = _learned(scorer, engine)
        wanted = _scored(scorer, engine, state=state, tasks=tasks)
        order = np.random.default_rng(0).permutation(len(ROWS))
        alone = _scored(scorer, replace(engine, batch_tokens=1), [ROWS[i] for i in order], state, tasks)
        assert alone.column(_reason(scorer)).to_pylist() == wanted.column(_reason(scorer)).take(order).to_pylist()
        for column in scorer.columns:
            got, expected = (_matrix(t.column(column)) for t in (alone, wanted.take(order)))
            np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4, err_msg=column)

    def test_duplicates_score_alike(self, scorer: Scorer, engine: Engine) -> None:
        """Two rows of the same messages."""
        table = _scored(scorer, engine).slice(len(POOL), len(TWINS))
        for column in scorer.columns:
            one, two = _matrix(table.column(column))
            np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5, err_msg=column)

    def test_no_row_is_looked_at_to_score_another(self, scorer: Scorer, engine: Engine) -> None:
        """`score` of some rows is a part of `score` of all."""
        state, _ = _learned(scorer, engine)
        seen = engine.observe(POOL, scorer.observing(state))
        whole = scorer.score(seen, state)
        some = scorer.score({name: values[2:5] for name, values in seen.items()}, state)
        assert set(some) == set(whole) == set(scorer.columns)
        for column, values in some.items():
            np.testing.assert_allclose(values, whole[column][2:5], rtol=1e-5, atol=1e-6, err_msg=column)

    def test_nan_in_a_pass_is_no_score(self, scorer: Scorer, engine: Engine) -> None:
        """An observation that is NaN for one row takes that row's score and no other's."""
        state, _ = _learned(scorer, engine)
        seen = engine.observe(POOL, scorer.observing(state))
        numbers = {name: values.copy() for name, values in seen.items() if values.dtype != object}
        if not numbers:
            pytest.skip("it reads only text")
        for values in numbers.values():
            values[3] = np.nan
        first = next(iter(scorer.columns))
        before, after = (scorer.score(s, state)[first] for s in (seen, {**seen, **numbers}))
        assert not np.isfinite(after[3])
        np.testing.assert_array_equal(np.delete(before, 3), np.delete(after, 3))

    def test_the_default_selection_adds_up(self, scorer: Scorer, engine: Engine, tmp_path: Path) -> None:
        """For k of none, some, all and more: only rows with a score, each once, and every row has its reason."""
        scores = Scores([write_shard(tmp_path, 0, _scored(scorer, engine), {})])
        usual = scorer.selection
        kind = SELECTORS[usual.selector]
        selector = kind(parse(kind.Settings, usual.settings, usual.selector))
        candidates = Candidates(scores, None if kind.reads == "nothing" else usual.column, usual.keep)
        for k in (0, 1, 3, len(ROWS), 3 * len(ROWS)):
            chosen = selector.select(candidates, k, 0)
            assert len(set(chosen.tolist())) == len(chosen) <= min(k, candidates.eligible.sum())
            assert candidates.eligible[chosen].all()
            codes, reasons = explain(candidates, chosen, selector.unchosen)
            assert np.bincount(codes, minlength=len(reasons)).sum() == len(ROWS)
            assert (codes == 0).sum() == len(chosen)
        for row in (EMPTY, LONG):
            i = ROWS.index(row)
            assert candidates.eligible[i] <= np.isfinite(candidates.values[i])

    @pytest.mark.parametrize("pool", [POOL, [make_row("Same?", "Same.", number=i) for i in range(6)]], ids=len)
    def test_a_target_of_one_row_and_rows_that_do_not_differ(
        self, scorer: Scorer, engine: Engine, pool: list[Row]
    ) -> None:
        """Scores or reasons, or an error for the user; nothing else."""
        try:
            state = scorer.fit(engine, TARGET[:1] if "target" in scorer.needs else [], pool)
        except UserError:
            return
        table = _scored(scorer, engine, pool, state, [TARGET[0].source])
        values = _matrix(table.column(next(iter(scorer.columns))))
        assert len(values) == len(pool)
        if pool is not POOL:
            np.testing.assert_allclose(values, values[:1].repeat(len(pool), 0), rtol=1e-5, atol=1e-5)


def _learned(scorer: Scorer, engine: Engine) -> tuple[State, list[str]]:
    target = TARGET if "target" in scorer.needs else []
    state = scorer.fit(engine, target, ROWS if "sample" in scorer.needs else [])
    return state, [row.source for row in target]


def _name(scorer: Scorer) -> str:
    return next(iter(scorer.columns))


def _reason(scorer: Scorer) -> str:
    return f"{_name(scorer)}_reason"


def _scored(
    scorer: Scorer,
    engine: Engine,
    rows: Sequence[Row] = ROWS,
    state: State | None = None,
    tasks: list[str] | None = None,
) -> pa.Table:
    if state is None:
        state, tasks = _learned(scorer, engine)
    return score_rows(rows, {_name(scorer): scorer}, {_name(scorer): (state, tasks or [])}, engine)


def _matrix(column: Any) -> Any:
    """A column as rows of numbers, NaN where it is null."""
    values = column.to_pylist()
    width = max((len(np.atleast_1d(v)) for v in values if v is not None), default=1)
    return np.array([np.full(width, np.nan) if v is None else np.atleast_1d(v) for v in values], float)
