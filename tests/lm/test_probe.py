"""The probe finds a batch that fits, says how long a run takes, and counts nothing."""

from pathlib import Path
from typing import Any

import pytest
from conftest import make_row

from tamis.errors import UserError
from tamis.lm.engine import Engine
from tamis.lm.load import LanguageModel, load
from tamis.lm.observations import Loss
from tamis.lm.probe import probe
from tamis.lm.work import Work, accounting, gflop

ROWS = [make_row(f"Count to {n}.", "one two three " * (1 + n % 16)) for n in range(96)]
WANTS = {"given": Loss(), "alone": Loss(context="header")}


@pytest.fixture(scope="module")
def small(small_model: Path) -> LanguageModel:
    return load(str(small_model), "float32")


def test_a_probe_knows_the_work_and_does_not_count(small: LanguageModel) -> None:
    engine = Engine(small)
    found = probe(engine, ROWS, WANTS, 256)
    assert found is not None and found.batch_tokens == engine.batch_tokens == 256
    assert engine.work == Work() and not engine.read
    engine.observe(ROWS, WANTS)
    assert found.tokens_per_row * len(ROWS) == engine.work.tokens == sum(engine.read.values())
    assert engine.work.texts == 2 * len(ROWS)
    assert 0.02 < found.seconds(len(ROWS)) / engine.work.seconds < 50
    assert probe(engine, ROWS[:2], WANTS) is None


def test_a_batch_that_does_not_fit_is_halved(small: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Engine._passes

    def short_of_memory(self: Engine, rows: Any, wants: Any) -> Any:
        if sum(len(view.ids) for row in rows for view in row.values()) > 300:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return real(self, rows, wants)

    monkeypatch.setattr(Engine, "_passes", short_of_memory)
    engine = Engine(small)
    found = probe(engine, ROWS, WANTS, 800)
    assert found is not None and found.batch_tokens == 200
    with pytest.raises(UserError, match=r"a row of \d+ tokens does not fit .* lower max_length"):
        probe(engine, [*ROWS, make_row("Long.", "word " * 400)], WANTS, 600)


def test_accounting_counts_what_the_shape_and_the_tokens_need(small: LanguageModel) -> None:
    config = small.model.config
    kv = config.num_key_value_heads * config.head_dim
    layer = 2 * config.hidden_size**2 + 2 * config.hidden_size * kv + 3 * config.hidden_size * config.intermediate_size
    assert gflop(small, Work(tokens=10)) == pytest.approx(2e-9 * 10 * config.num_hidden_layers * layer)
    assert gflop(small, Work(scored=3)) == pytest.approx(2e-9 * 3 * config.hidden_size * config.vocab_size)
    attention = 4e-9 * 5 * config.num_hidden_layers * config.hidden_size
    assert gflop(small, Work(pairs=5)) == pytest.approx(attention)
    work = Work(rows=4, texts=8, tokens=1000, filled=250, scored=100, batches=2, seconds=2.0)
    made = accounting(work, small, 4.0)
    assert made["passes_per_row"] == 2 and made["tokens_per_second"] == 250 and made["padding_share"] == 0.2
    assert made["gflops"] == pytest.approx(gflop(small, work) / 2, abs=0.05)
    assert made["matrix_share"] == pytest.approx(made["gflops"] / made["matrix_gflops"], abs=1e-3)
    assert made["device_hours"] == pytest.approx(4 / 3600, abs=1e-5)
    assert made["peak_memory_mib"] > 100
    assert accounting(Work(), small, 1.0)["matrix_share"] == 0
