"""What this machine multiplies fastest, by measurement, and its limit, against which the passes are compared."""

import hashlib
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial

import torch
from torch import Tensor
from torch.nn.functional import linear, silu

from tamis.lm import dense
from tamis.lm.cores import lanes, overlapped
from tamis.lm.demo import cache_folder

FASTER = 1.05
"""How many times as fast as the plain way another must be to be taken; weights laid out anew cost memory."""


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
    if device == "cpu" and dense.can_pack(dtype):
        weight = dense.pack(a)
        ways["packed"] = lambda: dense.multiply(a, weight)
    return {name: 2e-9 * size**3 / seconds for name, seconds in _fastest(ways, device).items()}


def matrix_rate(dtype: torch.dtype, device: torch.device) -> float:
    """The most that the machine multiplies in this type, in GFLOP/s: the measure for what a pass reaches."""
    return max(rates(dtype, device.type, 1024 if device.type == "cpu" else 8192).values())


@cache
def fast_type() -> torch.dtype:
    """The type in which this machine multiplies matrices fastest: bfloat16 where it measurably is, else float32.

    On a CPU a measurement decides (about half a second): bfloat16 is two to four times faster where the processor has
    instructions for it, and slower than float32 on many others. float16 is never taken on a CPU.
    """
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16

    def measure() -> str:
        slow, fast = (max(rates(dtype, size=512).values()) for dtype in (torch.float32, torch.bfloat16))
        return "bfloat16" if fast > 1.4 * slow else "float32"

    return torch.bfloat16 if _kept("fast-type", measure) == "bfloat16" else torch.float32


@cache
def packs_faster(dtype: torch.dtype) -> bool:
    """Whether this machine's CPU is faster with weights of this type in oneDNN's layout, see `tamis.lm.dense`.

    A SwiGLU's two maps decide, the most of a model's work: in bfloat16 the products alone differ by a few percent only.
    """
    if not dense.can_pack(dtype):
        return False
    x, weight = torch.ones(1024, 576, dtype=dtype), torch.full((1536, 576), 1e-3, dtype=dtype)
    packed = dense.pack(weight)
    ways: dict[str, Callable[[], Tensor]] = {
        "plain": lambda: silu(linear(x, weight)) * linear(x, weight),
        "packed": lambda: dense.swiglu(x, packed, packed),
    }
    return choice(f"layout-{str(dtype).removeprefix('torch.')}", ways) == "packed"


def choice(name: str, ways: Mapping[str, Callable[[], Tensor]]) -> str:
    """The fastest of some ways on this machine's CPU, all cores at work as they are when each reads a batch.

    A way that is not clearly faster than the first one is not taken. The first measurement is kept, see `_kept`.
    """

    def measure() -> str:
        taken = _fastest({name: partial(_on_all_cores, way) for name, way in ways.items()})
        first = next(iter(ways))
        return min(taken, key=lambda name: taken[name] * (1 if name == first else FASTER))

    return _kept(name, measure)


def _on_all_cores(way: Callable[[], Tensor]) -> Tensor:
    """What a way gives, when each core tries it twice."""
    cpu = torch.device("cpu")
    return [*overlapped(lambda _: torch.inference_mode()(way), range(2 * lanes(cpu)), cpu)][-1]


def _fastest(ways: Mapping[str, Callable[[], Tensor]], device: str = "cpu") -> dict[str, float]:
    """Seconds of the fastest turn of each way, taken in turn, so that other work on the machine hits all."""
    best = dict.fromkeys(ways, float("inf"))
    until = time.perf_counter() + 0.2
    with torch.inference_mode():
        for turn in range(64):
            if turn > 2 and time.perf_counter() > until:
                break
            for name, way in ways.items():
                started = time.perf_counter()
                way()
                if device != "cpu":
                    torch.cuda.synchronize()
                best[name] = min(best[name], time.perf_counter() - started)
    return best


def _kept(name: str, measure: Callable[[], str]) -> str:
    """The first measurement of this kind on this machine, kept in the cache folder.

    So the steps of a run, each a process of its own on a busy machine, agree.
    """
    of = f"{platform.node()} {platform.processor()} {torch.backends.cpu.get_cpu_capability()} {torch.__version__}"
    path = cache_folder() / f"{name}-{hashlib.sha256(of.encode()).hexdigest()[:16]}"
    with suppress(OSError):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            measured = measure()
            with path.open("x") as file:
                file.write(measured)
    with suppress(OSError):
        if known := path.read_text():
            return known
    return measure()  # it cannot be kept on this machine
