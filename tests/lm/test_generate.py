"""Greedy continuations against the library's own, one prompt at a time."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tamis.lm.engine import Engine
from tamis.lm.generate import _batches, continue_greedily, end_markers
from tamis.lm.load import load
from tamis.lm.observations import Loss
from tamis.pool.rows import Row

TEXTS = ["The capital of France is", "One, two, three,", "Dear Sir or Madam, I am writing to you because", "It"]


@pytest.fixture(scope="module")
def engine(small_model: Path) -> Engine:
    return Engine(load(str(small_model), "float32"))


def prompts(engine: Engine) -> list[np.ndarray]:
    return [np.array(ids, np.int32) for ids in engine.lm.tokenizer(TEXTS)["input_ids"]]


@pytest.mark.parametrize("tokens", [1, 60, 100_000])
def test_continuations_are_the_librarys_own(engine: Engine, small_model: Path, tokens: int) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(small_model, dtype=torch.float32).eval()
    made = continue_greedily(replace(engine, batch_tokens=tokens), prompts(engine), 12)
    for prompt, ours in zip(prompts(engine), made, strict=True):
        ids = torch.from_numpy(prompt).long()[None]
        theirs = model.generate(
            ids, max_new_tokens=12, do_sample=False, output_scores=True, return_dict_in_generate=True
        )
        assert ours.ids.tolist() == theirs.sequences[0, len(prompt) :].tolist()
        wanted = [float(step[0].softmax(-1).max()) for step in theirs.scores]
        assert ours.chances == pytest.approx(wanted, abs=1e-5)


def test_a_continuation_ends_with_the_end_marker(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    free = continue_greedily(engine, prompts(engine), 12)
    assert all(len(made.ids) == 12 for made in free)
    stop = int(free[0].ids[4])
    monkeypatch.setattr(engine.lm.model.generation_config, "eos_token_id", [stop])
    assert end_markers(engine.lm) == {2, stop}
    for before, made in zip(free, continue_greedily(engine, prompts(engine), 12), strict=True):
        where = np.flatnonzero(before.ids == stop)
        assert len(made.ids) == (where[0] + 1 if len(where) else 12)
        assert made.ids.tolist() == before.ids[: len(made.ids)].tolist()


def test_the_model_reads_packs_again_afterwards(engine: Engine, row: Callable[..., Row]) -> None:
    rows = [row("What is 2 + 2?", "4"), row("Name a colour.", "Blue")]
    before = engine.observe(rows, {"loss": Loss()})["loss"]
    continue_greedily(engine, prompts(engine), 2)
    assert (engine.observe(rows, {"loss": Loss()})["loss"] == before).all()


def test_batches_hold_each_prompt_once() -> None:
    for budget in (1, 50, 1000):
        batches = list(_batches([5, 9, 2, 9], 10, budget))
        assert sorted(i for batch in batches for i in batch) == [0, 1, 2, 3]
        assert all(len(b) == 1 or len(b) * (max([5, 9, 2, 9][i] for i in b) + 10) <= budget for b in batches)
    assert list(_batches([5, 9, 2, 9], 10, 1000)) == [[1, 3, 0, 2]]
    assert list(_batches([], 10, 1000)) == []
