"""Batches side by side: each core of a CPU reads its own, an accelerator has its next one before it ends the last.

All cores in one batch wait for one another between any two operations, some twenty a layer. With a batch each they wait
for nothing: 5 to 12 % more tokens a second on two Zen 5 cores. The weights are shared, so what it costs is the memory
of a batch's states on each core.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import wraps
from typing import Any, TypeVar

import torch

Job = TypeVar("Job")
Result = TypeVar("Result")


def lanes(device: torch.device) -> int:
    """How many batches may be read at once there: one on an accelerator, one for each of PyTorch's threads on a CPU."""
    return torch.get_num_threads() if device.type == "cpu" else 1


def keep_to_limit() -> None:
    """Gives PyTorch no more threads than a container may use, unless OMP_NUM_THREADS says how many.

    PyTorch counts the cores of the machine, and the system stops a process that uses more than its limit for a part of
    every tenth of a second, all its threads at once.
    """
    from joblib import cpu_count

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), cpu_count()))


def overlapped(
    start: Callable[[Job], Callable[[], Result]], jobs: Sequence[Job], device: torch.device
) -> Iterator[Result]:
    """The results of some jobs, in their order; the next ones run while a result is used.

    Args:
        start: Begins a job; what it returns waits for the job's end. On a CPU both run in a thread of their own, so
            what they change must be guarded.
        jobs: The jobs.
        device: Where they run.
    """

    def whole(job: Job) -> Result:
        return start(job)()

    number = min(lanes(device), len(jobs))
    with _threads(number) if number > 1 else nullcontext() as pool:
        waiting: deque[Callable[[], Result]] = deque()
        for job in jobs:
            waiting.append(pool.submit(whole, job).result if pool else start(job))
            if len(waiting) > (2 * number if pool else 1):
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()


def in_own_thread(hook: Callable[..., Any]) -> Callable[..., Any]:
    """A hook for a module that other threads call too: it sees only the calls of the thread that made it."""
    own = threading.get_ident()

    @wraps(hook)
    def guarded(*args: Any) -> Any:
        return hook(*args) if threading.get_ident() == own else None

    return guarded


@contextmanager
def _threads(number: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that share PyTorch's threads among them."""
    every = torch.get_num_threads()
    ready = threading.Barrier(number + 1)

    def begin() -> None:
        torch.get_num_threads()  # or PyTorch would set the thread's number anew at its first operation
        torch.set_num_threads(max(1, every // number))
        ready.wait()

    pool = ThreadPoolExecutor(number, "tamis-core", begin)
    try:
        for _ in range(number):
            pool.submit(int)
        ready.wait()
        torch.set_num_threads(every)  # it is also what threads get that are made later
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
