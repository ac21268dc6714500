"""Batches side by side: each result once and in order, each core in its own thread, hooks only where they were made."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
import torch

from tamis.lm import cores
from tamis.lm.cores import in_own_thread, overlapped

CPU, ACCELERATOR = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """As on a machine with two cores, whatever this one has."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_whichever_job_ends_first() -> None:
    def start(job: int) -> Callable[[], int]:
        time.sleep(0.02 * (job % 3 == 0))
        return lambda: job * job

    assert list(overlapped(start, list(range(20)), CPU)) == [job * job for job in range(20)]
    assert list(overlapped(start, [], CPU)) == []


def test_two_jobs_run_at_once_with_a_thread_each_and_the_rest_of_the_process_keeps_its_own() -> None:
    both = threading.Barrier(2, timeout=30)

    def start(job: int) -> Callable[[], tuple[int, str]]:
        both.wait()  # only two at once get past here
        return lambda: (torch.get_num_threads(), threading.current_thread().name)

    found = list(overlapped(start, range(6), CPU))
    assert {threads for threads, _ in found} == {1} and len({name for _, name in found}) == 2
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert torch.get_num_threads() == 2 and later == [2]


def test_a_single_job_has_all_threads() -> None:
    here = threading.get_ident()

    def start(job: str) -> Callable[[], tuple[int, bool]]:
        return lambda: (torch.get_num_threads(), threading.get_ident() == here)

    assert list(overlapped(start, ["alone"], CPU)) == [(2, True)]


def test_an_accelerator_gets_its_next_job_before_it_is_asked_for_a_result() -> None:
    order: list[str] = []

    def start(job: int) -> Callable[[], None]:
        order.append(f"start {job}")
        return lambda: order.append(f"wait {job}")

    list(overlapped(start, range(3), ACCELERATOR))
    assert order == ["start 0", "start 1", "wait 0", "start 2", "wait 1", "wait 2"]


def test_a_job_that_fails_ends_the_rest() -> None:
    begun: list[int] = []

    def start(job: int) -> Callable[[], int]:
        begun.append(job)
        if job == 3:
            raise MemoryError("no room")
        return lambda: job

    got = []
    with pytest.raises(MemoryError, match="no room"):
        for result in overlapped(start, range(1000), CPU):
            got.append(result)
    assert got == [0, 1, 2] and len(begun) < 20
    assert torch.get_num_threads() == 2


def test_who_stops_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    results = overlapped(lambda job: lambda: job, range(1000), CPU)
    assert next(results) == 0
    results.close()
    assert threading.active_count() == before


def test_a_hook_sees_the_calls_of_its_own_thread_only() -> None:
    module, seen = torch.nn.Identity(), []
    module.register_forward_hook(in_own_thread(lambda _module, args, _output: seen.append(args[0])))
    other = threading.Thread(target=module, args=("theirs",))
    other.start()
    other.join()
    module("ours")
    assert seen == ["ours"]


def test_lanes() -> None:
    assert cores.lanes(CPU) == 2 and cores.lanes(ACCELERATOR) == 1


@pytest.mark.parametrize(("granted", "said", "threads"), [(1, None, 1), (8, None, 2), (1, "2", 2)])
def test_a_containers_limit_counts_and_not_the_machines_cores(
    granted: int, said: str | None, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: granted)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    cores.keep_to_limit()
    assert cores.lanes(CPU) == threads
