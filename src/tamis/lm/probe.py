"""Before the expensive part: how many tokens a batch may have here, and how long it will take."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from tamis.errors import UserError
from tamis.lm.cores import lanes
from tamis.lm.engine import Encodings, Engine
from tamis.lm.observations import Observation
from tamis.pool.rows import Row

log = logging.getLogger("tamis")
CPU_TOKENS = 2048
"""Tokens of a batch on a CPU: more no longer make it faster, and its caches hold less of them."""
MOST_TOKENS = 65536
"""Tokens of a batch on an accelerator at most."""
WORTH = 8
"""The probe reads about two batches, on a CPU two a core; a sample of fewer than so many is read without one."""


@dataclass(frozen=True)
class Probe:
    """What a probe found.

    Attributes:
        batch_tokens: Tokens of a batch that fit in memory.
        tokens_per_row: Mean over the sample, all views of a row together.
        tokens_per_second: Speed of a batch of rows of middling length.
    """

    batch_tokens: int
    tokens_per_row: float
    tokens_per_second: float

    def seconds(self, rows: int) -> float:
        """How long so many rows will take."""
        return rows * self.tokens_per_row / self.tokens_per_second


def probe(engine: Engine, rows: Sequence[Row], wants: Mapping[str, Observation], fixed: int = 0) -> Probe | None:
    """Sets the engine's tokens of a batch, by reading the longest rows of a sample, and measures its speed.

    Nothing of this is counted as the engine's work.

    Args:
        engine: The model.
        rows: A sample of the rows that are to be read.
        wants: What will be observed of them.
        fixed: Tokens of a batch if they are given; then they are only tried.

    Returns:
        What was found; None if the sample is too small to be worth it.

    Raises:
        UserError: Not even the longest row alone fits in memory.
    """
    encoded = engine.encode_all(rows, wants.values())
    lengths = engine.lengths(len(rows), wants.values(), encoded)
    order = sorted(lengths, key=lambda i: -lengths[i])
    on_cpu = engine.lm.device.type == "cpu"
    engine.batch_tokens = fixed or CPU_TOKENS
    if sum(lengths.values()) < WORTH * engine.batch_tokens:
        return None
    work, read = replace(engine.work), engine.read.copy()

    def measure(first: int) -> float:
        """Tokens a second of a batch for each core, or of one on an accelerator, from the row of this rank on."""
        tokens, room = 0, engine.batch_tokens * lanes(engine.lm.device)
        some: list[int] = []
        for i in order[first:]:
            if some and tokens + lengths[i] > room:
                break
            some.append(i)
            tokens += lengths[i]
        before = engine.work.seconds
        own: Encodings = {name: [all_[i] for i in some] for name, all_ in encoded.items()}
        for _ in engine.stream([rows[i] for i in some], wants, own):
            pass
        return tokens / (engine.work.seconds - before)

    try:
        used = _allocated(engine)
        _fitting(engine, lambda: measure(0), lengths[order[0]])
        if not (on_cpu or fixed):
            a_token = max(1, torch.cuda.max_memory_allocated() - used) / engine.batch_tokens
            free = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
            engine.batch_tokens = max(engine.batch_tokens, min(MOST_TOKENS, int(0.7 * free / a_token)))
            _fitting(engine, lambda: measure(0), lengths[order[0]])
        middle = len(order) // 2  # whose rows fill a batch better than the longest ones
        speed = _fitting(engine, lambda: measure(middle), lengths[order[middle]])
    finally:
        engine.work, engine.read = work, read
    return Probe(engine.batch_tokens, sum(lengths.values()) / len(rows), speed)


def _allocated(engine: Engine) -> int:
    if engine.lm.device.type == "cpu":
        return 0
    torch.cuda.reset_peak_memory_stats()
    return int(torch.cuda.memory_allocated())


def _fitting(engine: Engine, measure: Callable[[], float], longest: int) -> float:
    """Halves the engine's batch until it fits; what was measured then."""
    while True:
        try:
            return measure()
        except (MemoryError, RuntimeError) as error:
            short = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
            if not short:
                raise
            if engine.batch_tokens <= longest:
                raise UserError(
                    f"a row of {longest} tokens does not fit in the memory of {engine.lm.device}; lower max_length, or "
                    "take a smaller type (dtype) or model"
                ) from error
        engine.batch_tokens //= 2
        log.info("a batch of %d tokens does not fit; trying %d", 2 * engine.batch_tokens, engine.batch_tokens)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
