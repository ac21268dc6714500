"""What the passes of a model did, and how much of the machine they used."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tamis.lm.load import LanguageModel
from tamis.lm.lora import linear_maps, sizes
from tamis.lm.machine import matrix_rate

_LOCK = threading.Lock()


@dataclass
class Work:
    """Counts what was done since it was made, by any thread.

    Attributes:
        rows: Rows observed.
        texts: Texts read for them: a row itself, its answers alone, a row behind a context.
        tokens: Tokens read by the model; none of them is padding.
        filled: Positions with which attention fills rows up; nothing else reads them.
        pairs: Pairs of such tokens, the one seeing the other.
        scored: Positions at which logits were computed.
        batches: Calls of the model.
        seconds: Time in these calls; when several are made at once, it counts once.
    """

    rows: int = 0
    texts: int = 0
    tokens: int = 0
    filled: int = 0
    pairs: int = 0
    scored: int = 0
    batches: int = 0
    seconds: float = 0.0

    _running = 0  # calls being made, no field: it counts nothing
    _started = 0.0

    def count(self, **more: int) -> None:
        """Adds to the counts of these names."""
        with _LOCK:
            for name, number in more.items():
                setattr(self, name, getattr(self, name) + number)

    def since(self, before: "Work") -> "Work":
        """What was done since `before`, an earlier copy."""
        now, then = asdict(self), asdict(before)
        return Work(**{name: now[name] - then[name] for name in now})

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Adds the time inside to `seconds`."""
        with _LOCK:
            if not self._running:
                self._started = time.perf_counter()
            self._running += 1
        try:
            yield
        finally:
            with _LOCK:
                self._running -= 1
                if not self._running:
                    self.seconds += time.perf_counter() - self._started


def gflop(lm: LanguageModel, work: Work) -> float:
    """Floating-point operations of the forward passes, in 10^9: what the model's shape and the real tokens need.

    The linear maps at all tokens, the head where logits were read, and causal attention (the half of the square that a
    row sees; left out for models whose attention has a window). Norms, activations and softmax are not counted.
    """
    config = lm.model.config.get_text_config()
    maps = sum(int(np.prod(sizes(module))) for module in linear_maps(lm).values())
    head = int(lm.model.get_output_embeddings().weight.numel())
    width = int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    attention: int = (
        0 if getattr(config, "sliding_window", None) else config.num_attention_heads * width * len(lm.layers)
    )
    return 2e-9 * (maps * work.tokens + head * work.scored + 2 * attention * work.pairs)


def accounting(work: Work, lm: LanguageModel, seconds: float) -> dict[str, float]:
    """The accounting of a step.

    Args:
        work: What was done.
        lm: The model that did it.
        seconds: How long the whole step took.

    Returns:
        The counts; `pass_seconds`, the time inside the model's calls; `tokens_per_second` of the step; `passes_per_row`
        (texts read for each row); `padding_share`, of the positions of attention; `gflops` of the passes,
        `matrix_gflops` that the machine multiplies at most in this type, and `matrix_share`, the one by the other;
        `peak_memory_mib` of the process (of the accelerator where there is one); `devices` and `device_hours`.
    """
    rate = speed = 0.0
    if work.seconds:
        rate = matrix_rate(next(lm.model.parameters()).dtype, lm.device)
        speed = gflop(lm, work) / work.seconds
    counts: dict[str, Any] = asdict(work) | {"pass_seconds": round(work.seconds, 3)}
    reached = {
        "tokens_per_second": round(work.tokens / seconds, 1) if seconds else 0.0,
        "passes_per_row": round(work.texts / work.rows, 3) if work.rows else 0.0,
        "padding_share": round(work.filled / (work.tokens + work.filled), 4) if work.tokens else 0.0,
        "gflops": round(speed, 1),
        "matrix_gflops": round(rate, 1),
        "matrix_share": round(speed / rate, 3) if rate else 0.0,
    }
    return counts | reached | cost(seconds)


def cost(seconds: float) -> dict[str, float]:
    """What a step took: its seconds, peak memory of the process, and device-hours."""
    peak = peak_memory_mib()
    return {
        "seconds": round(seconds, 2),
        "peak_memory_mib": peak,
        "devices": 1,
        "device_hours": round(seconds / 3600, 5),
    }


def peak_memory_mib() -> int:
    """Peak memory of this process, resident; allocated on the accelerator where there is one."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated()) >> 20
    try:  # ru_maxrss would count the process that started this one
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) >> 10
    except (OSError, IndexError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
