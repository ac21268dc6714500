"""Linear maps on a CPU from weights in the layout that the processor multiplies fastest.

PyTorch multiplies float32 with MKL, which leaves half the width of some processors idle, and lays a bfloat16 weight out
anew for every product. oneDNN, a part of PyTorch, multiplies weights that were laid out once: on two cores of an AMD
EPYC (Zen 5) 500 instead of 220 GFLOP/s in float32, 1000 instead of 850 in bfloat16. Which is faster is measured, once a
process and type. Costs a second copy of the weights in memory; where that is more than half of what is free, the model
stays as it is.
"""

import ctypes
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, silu

FASTER = 1.05
"""Another layout must be so many times as fast to be taken."""
_ROWS = 2048  # that weights are laid out for; other numbers of rows are multiplied as well


@cache
def rates(dtype: torch.dtype, device: str = "cpu", size: int = 1024) -> dict[str, float]:
    """What the machine multiplies, in GFLOP/s: `plain`, a product of PyTorch; `packed`, of a weight laid out for it.

    Args:
        dtype: The type to multiply.
        device: Where; `packed` exists on a CPU only.
        size: Of the square matrices.
    """
    a = torch.ones(size, size, dtype=dtype, device=device)
    ways: dict[str, Callable[[], Tensor]] = {"plain": lambda: linear(a, a)}
    if device == "cpu" and _packs(dtype):
        weight = _pack(a)
        ways["packed"] = lambda: multiply(a, weight)
    best = dict.fromkeys(ways, float("inf"))
    until = time.perf_counter() + 0.2
    for turn in range(64):  # in turn, so that other work on the machine hits both
        if turn > 2 and time.perf_counter() > until:
            break
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if device != "cpu":
                torch.cuda.synchronize()
            best[name] = min(best[name], time.perf_counter() - started)
    return {name: 2e-9 * size**3 / seconds for name, seconds in best.items()}


def matrix_rate(dtype: torch.dtype, device: torch.device) -> float:
    """The most that the machine multiplies in this type, in GFLOP/s: the measure for what a pass reaches."""
    return max(rates(dtype, device.type, 1024 if device.type == "cpu" else 8192).values())


def packs_faster(dtype: torch.dtype) -> bool:
    """Whether this machine's CPU multiplies weights of this type faster in oneDNN's layout."""
    measured = rates(dtype)
    return measured.get("packed", 0.0) > FASTER * measured["plain"]


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The product x W^T + b by oneDNN, of a packed or a plain weight."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x.contiguous(), weight, bias, "none", [], "")
    return out


def accelerate(model: torch.nn.Module) -> bool:
    """Lets the linear maps of a model multiply packed weights if that is faster here; says whether it is.

    A SwiGLU's activation and product are then made by oneDNN as well. Results differ by rounding only. A pass backward
    works through it too; a map that is itself trained is left alone.
    """
    maps = [module for module in model.modules() if type(module) is torch.nn.Linear]
    if not maps or maps[0].weight.device.type != "cpu" or not packs_faster(maps[0].weight.dtype):
        return False
    if sum(module.weight.nbytes for module in maps) > _available() / 2:
        return False
    _keep_memory()
    gated = [module for module in model.modules() if _is_gated(module)]
    packed: dict[Any, _Packed] = {module: _Packed() for module in maps}
    for linear_map, weights in packed.items():
        linear_map.forward = partial(_forward, linear_map, weights)
    for module in gated:
        module.forward = partial(_gated, module, packed[module.gate_proj], packed[module.up_proj], module.forward)
    return True


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

    def get(self, weight: Tensor, turned: bool = False) -> Tensor:
        of = (weight.data_ptr(), weight._version)
        if self._of != of:
            self._of, self._made = of, {}
        if turned not in self._made:
            self._made[turned] = _pack(weight.T.contiguous() if turned else weight)
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
    """Such a module, activation and product made by oneDNN while its results are still in registers."""
    maps = module.gate_proj, module.up_proj
    weights = [one.weight for one in maps]
    watched = any(one._forward_hooks or one._forward_pre_hooks for one in maps)  # an adapter, say
    if torch.is_grad_enabled() or watched or any(w.dtype != x.dtype for w in weights) or not x.numel():
        return plain(x)
    pointwise = torch.ops.mkldnn._linear_pointwise
    opened = pointwise(x.contiguous(), gate.get(weights[0]), module.gate_proj.bias, "swish", [], "")
    inner = pointwise.binary(x.contiguous(), opened, up.get(weights[1]), module.up_proj.bias, "mul")
    out: Tensor = module.down_proj(inner)
    return out


def _keep_memory() -> None:
    """Lets glibc keep what a layer frees, up to 512 MiB, for the next: the system clears each page that it hands out.

    Takes a tenth off a pass. Where there is no glibc, nothing happens.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-1, 512 << 20)  # M_TRIM_THRESHOLD
        mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD, its largest


def _available() -> float:
    """Bytes of memory that are free for use, where the system says so."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith("MemAvailable"))) * 1024
    except (OSError, StopIteration):
        return float("inf")


def _packs(dtype: torch.dtype) -> bool:
    """Whether this PyTorch has oneDNN's products for the type; they are not among its documented functions."""
    known = hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    there = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return there and known and dtype in (torch.float32, torch.bfloat16)


def _pack(weight: Tensor) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():
        packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _ROWS)
    return packed
