"""Linear maps on a CPU from weights in the layout that the processor multiplies fastest.

PyTorch multiplies float32 with MKL, which leaves half the width of some processors idle, and lays a bfloat16 weight out
anew for every product. oneDNN, a part of PyTorch, multiplies weights that were laid out once: on two cores of an AMD
EPYC (Zen 5) 500 instead of 220 GFLOP/s in float32, 1000 instead of 850 in bfloat16. `tamis.lm.machine` measures which
is faster. Costs a second copy of the weights in memory; where that is more than half of what is free, the model stays
as it is.
"""

import ctypes
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, silu

_ROWS = 2048  # that weights are laid out for; other numbers of rows are multiplied as well


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The product x W^T + b by oneDNN, of a packed or a plain weight."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x.contiguous(), weight, bias, "none", [], "")
    return out


def swiglu(
    x: Tensor, gate: Tensor, up: Tensor, gate_bias: Tensor | None = None, up_bias: Tensor | None = None
) -> Tensor:
    """silu(x G^T) * (x U^T) by oneDNN, of packed weights."""
    if x.dtype == torch.float32:  # of which the second product, made with the first, would be slower
        return silu(multiply(x, gate, gate_bias), inplace=True).mul_(multiply(x, up, up_bias))
    pointwise = torch.ops.mkldnn._linear_pointwise
    opened = pointwise(x.contiguous(), gate, gate_bias, "swish", [], "")
    out: Tensor = pointwise.binary(x.contiguous(), opened, up, up_bias, "mul")
    return out


def accelerate(model: torch.nn.Module) -> None:
    """Lets the linear maps of a model on a CPU multiply packed weights, unless the memory for them is short.

    A SwiGLU's activation and product then need no memory of their own. Results differ by rounding only. A pass backward
    works through it too; a map that is itself trained is left alone.
    """
    modules: list[Any] = list(model.modules())
    maps = [module for module in modules if type(module) is torch.nn.Linear and can_pack(module.weight.dtype)]
    if sum(module.weight.nbytes for module in maps) > _available() / 2:
        return
    gated = [module for module in modules if _is_gated(module) and can_pack(module.gate_proj.weight.dtype)]
    packed: dict[Any, _Packed] = {module: _Packed() for module in maps}
    for linear_map, weights in packed.items():
        linear_map.forward = partial(_forward, linear_map, weights)
    for module in gated:
        module.forward = partial(_gated, module, packed[module.gate_proj], packed[module.up_proj], module.forward)


def _is_gated(module: Any) -> bool:
    """Whether a module is down_proj(silu(gate_proj(x)) * up_proj(x)), as in Llama, Qwen and Mistral: it is tried."""
    parts = dict(module.named_children())
    if set(parts) != {"gate_proj", "up_proj", "down_proj", "act_fn"}:
        return False
    if any(type(part) is not torch.nn.Linear for name, part in parts.items() if name != "act_fn"):
        return False
    width, dtype = module.gate_proj.in_features, module.gate_proj.weight.dtype
    some = torch.linspace(-2, 2, 4 * width, dtype=dtype).view(4, width)
    with torch.inference_mode():
        inner = silu(module.gate_proj(some)) * module.up_proj(some)
        return torch.equal(module(some), module.down_proj(inner))


class _Packed:
    """A weight and its transpose in oneDNN's layout, made when first needed and again if the weight has changed."""

    def __init__(self) -> None:
        self._of: tuple[int, int] | None = None
        self._made: dict[bool, Tensor] = {}
        self._lock = Lock()

    def get(self, weight: Tensor, turned: bool = False) -> Tensor:
        of = (weight.data_ptr(), weight._version)
        with self._lock:
            if self._of != of:
                self._of, self._made = of, {}
            if turned not in self._made:
                self._made[turned] = pack(weight.T.contiguous() if turned else weight)
            return self._made[turned]


class _Product(torch.autograd.Function):
    """x W^T + b, differentiable by x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, packed: _Packed) -> Tensor:
        ctx.weight, ctx.packed = weight, packed
        return multiply(x, packed.get(weight), bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return multiply(gradient, ctx.packed.get(ctx.weight, turned=True), None), None, None, None


def _forward(module: Any, packed: _Packed, x: Tensor) -> Tensor:
    weight, bias = module.weight, module.bias
    if weight.requires_grad or x.dtype != weight.dtype or not x.numel():
        return linear(x, weight, bias)
    if torch.is_grad_enabled() and x.requires_grad:
        out: Tensor = _Product.apply(x, weight, bias, packed)  # type: ignore[no-untyped-call]
        return out
    return multiply(x, packed.get(weight), bias)


def _gated(module: Any, gate: _Packed, up: _Packed, plain: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    maps = module.gate_proj, module.up_proj
    watched = any(one._forward_hooks or one._forward_pre_hooks for one in maps)  # an adapter, say
    if torch.is_grad_enabled() or watched or any(one.weight.dtype != x.dtype for one in maps) or not x.numel():
        return plain(x)
    weights = (gate.get(module.gate_proj.weight), up.get(module.up_proj.weight))
    out: Tensor = module.down_proj(swiglu(x, *weights, module.gate_proj.bias, module.up_proj.bias))
    return out


def keep_memory() -> None:
    """Lets glibc keep what a layer frees for the next: the system clears each page that it hands out.

    Takes a tenth off a pass. Where there is no glibc, nothing happens.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-1, -1)  # M_TRIM_THRESHOLD: never
        mallopt(-4, 0)  # M_MMAP_MAX: nothing has pages of its own


def _available() -> float:
    """Bytes of memory that are free for use, where the system says so."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith("MemAvailable"))) * 1024
    except (OSError, StopIteration):
        return float("inf")


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this PyTorch has oneDNN's products for the type; they are not among its documented functions."""
    known = hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    there = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return there and known and dtype in (torch.float32, torch.bfloat16)


def pack(weight: Tensor) -> Tensor:
    """A weight in oneDNN's layout."""
    with torch.inference_mode(False), torch.no_grad():
        packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _ROWS)
    return packed
