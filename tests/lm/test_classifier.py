"""The classifier on a loaded model: against peft, what it learns, and that it leaves the model alone."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tamis.errors import TamisError, UserError
from tamis.lm.classifier import Training, _auc, _cosine, chances, train
from tamis.lm.encode import Encoded
from tamis.lm.engine import Engine
from tamis.lm.load import load
from tamis.lm.lora import attention_maps, linear_maps, sizes
from tamis.lm.observations import Classified, Loss
from tamis.pool.rows import Row

Rows = Callable[..., Row]
FAST = Training(epochs=4, learning_rate=3e-3, batch_rows=4)


@pytest.fixture(scope="module")
def engine(small_model: Path) -> Engine:
    return Engine(load(str(small_model), "float32"))


def task(row: Rows, number: int) -> tuple[list[Row], np.ndarray]:
    """Rows whose class is told by their last word."""
    words = ["no", "yes"]
    rows = [row(f"Is {i} a number that I like?", f"I would say {words[i % 2]}") for i in range(number)]
    return rows, np.arange(number) % 2


def ids(engine: Engine, rows: list[Row]) -> list[np.ndarray]:
    return [e.ids for e in engine.encode(rows) if isinstance(e, Encoded)]


def test_chances_are_those_of_peft_and_a_sequence_classifier(engine: Engine, small_model: Path, row: Rows) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    rows, _ = task(row, 3)
    generator = np.random.default_rng(0)
    width = engine.lm.model.config.hidden_size
    weights = {"head": generator.normal(size=(2, width)).astype(np.float32) * 0.02}
    for name, module in attention_maps(engine.lm).items():
        inputs, outputs = sizes(module)
        weights[f"{name}/down"] = generator.normal(size=(8, inputs)).astype(np.float32) * 0.05
        weights[f"{name}/up"] = generator.normal(size=(outputs, 8)).astype(np.float32) * 0.05
    assert len(weights) == 1 + 2 * 2 * 2  # two layers, query and value, two factors

    plain = AutoModelForSequenceClassification.from_pretrained(small_model, num_labels=2, dtype=torch.float32)
    plain.config.pad_token_id = None  # otherwise it passes over the end marker, which pads too
    theirs = get_peft_model(plain, LoraConfig(r=8, lora_alpha=8, target_modules=["q_proj", "v_proj"])).eval()
    with torch.no_grad():
        plain.score.weight.copy_(torch.from_numpy(weights["head"]))
        for name in attention_maps(engine.lm):
            layer = theirs.base_model.model.get_submodule(name)
            layer.lora_A["default"].weight.copy_(torch.from_numpy(weights[f"{name}/down"]))
            layer.lora_B["default"].weight.copy_(torch.from_numpy(weights[f"{name}/up"]))
        wanted = [theirs(torch.from_numpy(i).long()[None]).logits[0].softmax(-1)[1].item() for i in ids(engine, rows)]
    found = chances(engine.lm, ids(engine, rows), weights)
    assert found == pytest.approx(wanted, abs=1e-5) and np.ptp(found) > 1e-3


def test_it_learns_to_tell_rows_apart_and_leaves_the_model_alone(engine: Engine, row: Rows) -> None:
    rows, labels = task(row, 44)
    before = engine.observe(rows, {"loss": Loss()})["loss"]
    trained = train(engine, rows, labels, FAST)
    assert trained.losses[-1] < 0.3 < trained.losses[0]
    assert trained.auc == 1.0
    assert (engine.observe(rows, {"loss": Loss()})["loss"] == before).all()
    assert not any(p.requires_grad or p.grad is not None for p in engine.lm.model.parameters())

    new = [row("Do you like it?", "I would say yes"), row("Do you like it?", "I would say no")]
    yes, no = chances(engine.lm, ids(engine, new), trained.weights)
    assert yes > 0.5 > no
    loss = engine.observe(new, {"loss": Loss()})["loss"]
    threads = torch.get_num_threads()
    for at_once in (1, 2):  # then one thread's adapters must not be seen by the other's pass
        torch.set_num_threads(at_once)
        seen = replace(engine, batch_tokens=1).observe(
            [*(8 * new), row("Nothing?", "")], {"chance": Classified(trained.weights), "loss": Loss()}
        )
        assert seen["chance"][:16] == pytest.approx(8 * [yes, no], abs=1e-6) and np.isnan(seen["chance"][16])
        assert seen["loss"][:16] == pytest.approx(np.tile(loss, 8), abs=1e-5)
    torch.set_num_threads(threads)


def test_a_seed_decides_and_batches_do_not(engine: Engine, row: Rows) -> None:
    rows, labels = task(row, 8)
    training = replace(FAST, epochs=1, dropout=0.0)
    one = train(engine, rows, labels, training)
    again = train(engine, rows, labels, training)
    assert all((one.weights[k] == again.weights[k]).all() for k in one.weights)
    split = train(replace(engine, batch_tokens=1), rows, labels, training)
    ups = [k for k in one.weights if k.endswith("/up")]
    for name in ups:
        assert np.abs(one.weights[name]).max() > 0
        np.testing.assert_allclose(split.weights[name], one.weights[name], atol=2e-2 * np.abs(one.weights[name]).max())
    other = train(engine, rows, labels, replace(training, seed=1))
    assert (other.weights["head"] != one.weights["head"]).any()


def test_a_frozen_head_stays_as_it_began(engine: Engine, row: Rows) -> None:
    rows, labels = task(row, 8)
    begin = train(engine, rows, labels, replace(FAST, epochs=1, learning_rate=1e-30)).weights["head"]
    frozen = train(engine, rows, labels, replace(FAST, frozen_head=True))
    assert (frozen.weights["head"] == begin).all()
    free = train(engine, rows, labels, FAST)
    assert (free.weights["head"] != begin).any()
    assert any(np.abs(frozen.weights[k]).max() > 0 for k in frozen.weights if k.endswith("/up"))


def test_what_cannot_be_learned_is_said(engine: Engine, row: Rows) -> None:
    rows, labels = task(row, 6)
    with pytest.raises(UserError, match="only one class"):
        train(engine, rows, labels * 0, FAST)
    with pytest.raises(UserError, match="only one class"):
        train(engine, [row("Nothing?", "")] * 3, np.array([0, 1, 0]), FAST)
    with pytest.raises(TamisError, match="no longer a number"):
        train(engine, rows, labels, replace(FAST, learning_rate=1e30))


def test_the_rate_rises_then_falls_as_a_cosine() -> None:
    rate = _cosine(steps=102, warmup=2)
    assert [rate(0), rate(1), rate(2)] == [0.5, 1.0, 1.0]
    assert rate(52) == pytest.approx(0.5) and rate(102) == pytest.approx(0.0)


def test_area_under_the_curve() -> None:
    assert _auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])) == 0.75
    assert _auc(np.array([0.5, 0.5]), np.array([0, 1])) == 0.5
    assert math.isnan(_auc(np.array([0.5]), np.array([1])))


def test_the_maps_of_other_architectures() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    from tamis.lm.load import LanguageModel

    model = GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=8, n_head=2, vocab_size=50, n_positions=16))
    lm = LanguageModel(model, None, {"model": "tiny"}, 16)
    assert list(attention_maps(lm)) == ["transformer.h.0.attn.c_attn", "transformer.h.1.attn.c_attn"]
    assert [sizes(m) for m in linear_maps(lm).values()] == [(8, 24), (8, 8), (8, 32), (32, 8)] * 2
    for layer in model.transformer.h:
        layer.attn = torch.nn.Identity()
    with pytest.raises(UserError, match="tiny .* no query and value projections"):
        attention_maps(lm)
