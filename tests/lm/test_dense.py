"""Packed weights: the same numbers, forward and backward, and never those of a weight that has changed."""

import pytest
import torch
from torch.nn.functional import linear, silu

from tamis.lm import dense

needs_packing = pytest.mark.skipif(not dense.can_pack(torch.float32), reason="this PyTorch has no packed products")


@needs_packing
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7, 24), (1, 7, 24), (0, 24)])
def test_a_packed_map_is_the_same_map(bias: bool, shape: tuple[int, ...]) -> None:
    module = torch.nn.Linear(24, 40, bias=bias).requires_grad_(False)
    x = torch.randn(shape).requires_grad_()
    want = linear(x, module.weight, module.bias)
    (expected,) = torch.autograd.grad(want.square().sum(), x)
    dense.accelerate(module)
    assert "forward" in vars(module)
    got = module(x)
    (gradient,) = torch.autograd.grad(got.square().sum(), x)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-4)
    with torch.inference_mode():
        torch.testing.assert_close(module(x.detach()), want, rtol=1e-5, atol=1e-5)


@needs_packing
def test_a_changed_weight_is_packed_anew_and_a_trained_one_not_at_all() -> None:
    module = torch.nn.Linear(16, 16, bias=False).requires_grad_(False)
    dense.accelerate(module)
    x = torch.randn(3, 16)
    before = module(x)
    module.weight.mul_(2)
    torch.testing.assert_close(module(x), 2 * before)
    module.weight = torch.nn.Parameter(torch.zeros(16, 16))
    module(x).sum().backward()
    assert module.weight.grad is not None


def test_without_the_memory_for_a_second_copy_nothing_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "_available", lambda: 100.0)
    module = torch.nn.Linear(4, 4)
    dense.accelerate(module)
    assert "forward" not in vars(module)


class Gated(torch.nn.Module):
    """The feed-forward part of Llama, and something like it that is another function."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.gate_proj, self.up_proj = torch.nn.Linear(24, 40), torch.nn.Linear(24, 40)
        self.down_proj, self.act_fn = torch.nn.Linear(40, 24), torch.nn.SiLU()
        self.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(self.act_fn(self.scale * self.gate_proj(x)) * self.up_proj(x))


@needs_packing
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_gated_part_is_the_same_function(scale: float) -> None:
    module, x = Gated(scale), torch.randn(7, 24)
    want, inner = module(x), []
    dense.accelerate(module)
    assert ("forward" in vars(module)) == (scale == 1.0)  # what is something else is left as it is
    module.down_proj.register_forward_pre_hook(lambda _, args: inner.append(args[0]))
    with torch.inference_mode():
        torch.testing.assert_close(module(x), want, rtol=1e-5, atol=1e-5)
    assert [tuple(seen.shape) for seen in inner] == [(7, 40)]  # what NAIT reads is still there
    (gradient,) = torch.autograd.grad(module(x.requires_grad_()).sum(), x)
    assert gradient.abs().max() > 0
    module.gate_proj.register_forward_hook(lambda _, args, out: out + 1)  # as an adapter does
    with torch.inference_mode():
        opened = module.act_fn(scale * (module.gate_proj(x)))
        torch.testing.assert_close(module(x), module.down_proj(opened * module.up_proj(x)), rtol=1e-5, atol=1e-5)
        assert (module(x) - want).abs().max() > 1e-3


@needs_packing
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_swiglu_is_the_product_of_an_opened_and_a_plain_map(dtype: torch.dtype) -> None:
    if not dense.can_pack(dtype):
        pytest.skip("this PyTorch has no packed products of the type")
    x, gate, up = (torch.randn(size, 24).to(dtype) for size in (7, 40, 40))
    want = silu(linear(x.float(), gate.float())) * linear(x.float(), up.float())
    with torch.inference_mode():
        got = dense.swiglu(x, dense.pack(gate), dense.pack(up))
    near = 1e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(got.float(), want, rtol=near, atol=near)
