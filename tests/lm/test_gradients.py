"""Gradients of single rows from one batched pass, against peft with a backward pass for each row."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tamis.lm.encode import Encoded
from tamis.lm.engine import Engine
from tamis.lm.gradients import Adapters, gram, row_gradients
from tamis.lm.load import load
from tamis.lm.lora import fresh_down, linear_maps
from tamis.lm.templates import Kind
from tamis.pool.rows import Row

Rows = Callable[..., Row]
ADAPTERS = Adapters(rank=8, alpha=4.0, seed=3)


@pytest.fixture(scope="module")
def engine(small_model: Path) -> Engine:
    return Engine(load(str(small_model), "float32"))


@pytest.fixture
def rows(engine: Engine, row: Rows) -> list[Encoded]:
    pairs = [("What is 2 + 2?", "4"), ("Name a colour.", "Blue, or grey."), ("Say it again.", "It. " * 30)]
    return [e for e in engine.encode([row(*pair) for pair in pairs]) if isinstance(e, Encoded)]


@pytest.fixture(scope="module")
def theirs(engine: Engine, small_model: Path) -> Any:
    """The model by peft, with our random factors in place of its own."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(small_model, dtype=torch.float32)
    config = LoraConfig(r=8, lora_alpha=4, lora_dropout=0.05, target_modules="all-linear")
    model = get_peft_model(plain, config).eval()
    with torch.no_grad():
        for name, module in linear_maps(engine.lm).items():
            layer = model.base_model.model.get_submodule(name)
            layer.lora_A["default"].weight.copy_(fresh_down(name, module, 8, seed=3))
    return model


def one_by_one(model: Any, row: Encoded) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The gradients of the factors up and down by peft, for one row."""
    model.zero_grad()
    labels = np.where(row.kinds == Kind.ANSWER, row.ids, -100)
    ids = torch.from_numpy(row.ids).long()[None]
    model(input_ids=ids, labels=torch.from_numpy(labels).long()[None]).loss.backward()
    gradients = {name: p.grad.numpy().copy() for name, p in model.named_parameters() if p.requires_grad}

    def of(factor: str) -> dict[str, np.ndarray]:
        end = f".{factor}.default.weight"
        return {n[len("base_model.model.") : -len(end)]: g for n, g in gradients.items() if n.endswith(end)}

    return of("lora_B"), of("lora_A")


@pytest.mark.parametrize("tokens", [1, 100_000])
def test_5f_gradients_are_those_of_peft_and_the_other_factor_has_none(
    engine: Engine, rows: list[Encoded], theirs: Any, tokens: int
) -> None:
    ours = row_gradients(Engine(engine.lm, batch_tokens=tokens), rows, ADAPTERS)
    assert len(ours) == 2 * 7
    for i, row in enumerate(rows):
        up, down = one_by_one(theirs, row)
        assert set(up) == set(down) == set(ours)
        assert all((g == 0).all() for g in down.values())  # exactly
        for name, gradient in up.items():
            assert ours[name].shape == (3, *gradient.shape)
            np.testing.assert_allclose(ours[name][i], gradient, atol=1e-4 * np.abs(gradient).max())


def test_dot_products_are_those_of_the_gradients(engine: Engine, rows: list[Encoded]) -> None:
    flat = np.concatenate([g.reshape(3, -1) for g in row_gradients(engine, rows, ADAPTERS).values()], axis=1)
    wanted = flat.astype(np.float64) @ flat.T
    own = Engine(engine.lm)
    np.testing.assert_allclose(gram(own, rows, ADAPTERS, memory=1), wanted, rtol=1e-4)
    assert own.work.batches == 1  # one batch holds them, so nothing has to wait
    for memory, sweeps in ((1 << 30, 1), (200_000, 8), (1, 14)):
        apart = Engine(engine.lm, batch_tokens=60)
        np.testing.assert_allclose(gram(apart, rows, ADAPTERS, memory), wanted, rtol=1e-4)
        assert apart.work.batches == 3 * sweeps


def test_nothing_is_left_on_the_model(engine: Engine, rows: list[Encoded]) -> None:
    gram(engine, rows, ADAPTERS)
    assert not any(p.requires_grad or p.grad is not None for p in engine.lm.model.parameters())
    assert not any(m._forward_hooks for m in engine.lm.model.modules())


def test_a_seed_decides_the_random_factors(engine: Engine, rows: list[Encoded]) -> None:
    one, again, other = (gram(engine, rows[:2], Adapters(rank=8, seed=s)) for s in (0, 0, 1))
    assert (one == again).all() and (one != other).any()
    name, module = next(iter(linear_maps(engine.lm).items()))
    down = fresh_down(name, module, 64, 0)
    assert down.abs().max() <= 576**-0.5 and down.std() == pytest.approx(576**-0.5 / 3**0.5, rel=0.02)
