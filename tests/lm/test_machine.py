"""What is measured of a machine is kept, so that all steps of a run decide alike."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tamis.lm import dense, machine


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is known yet."""
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "cache"))
    for known in (machine.packs_faster, machine.fast_type, machine.rates):
        known.cache_clear()


def says(seconds: dict[str, float]) -> Any:
    return lambda ways, device="cpu": {name: seconds[name] for name in ways}


@pytest.mark.skipif(not dense.can_pack(torch.float32), reason="this PyTorch has no packed products")
@pytest.mark.parametrize(("packed", "faster"), [(0.5, True), (0.94, True), (0.97, False), (2.0, False)])
def test_packing_must_be_clearly_faster(packed: float, faster: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_fastest", says({"plain": 1.0, "packed": packed}))
    assert machine.packs_faster(torch.float32) == faster
    monkeypatch.setattr(machine, "_fastest", says({"plain": 1.0, "packed": 1 / packed}))
    machine.packs_faster.cache_clear()  # as in a later process, that would measure something else
    assert machine.packs_faster(torch.float32) == faster


def test_what_cannot_be_packed_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "can_pack", lambda dtype: False)
    monkeypatch.setattr(machine, "_fastest", says({}))
    assert not machine.packs_faster(torch.float32)


def test_a_choice_is_tried_on_all_cores() -> None:
    threads: list[int] = []

    def way() -> torch.Tensor:
        assert torch.is_inference_mode_enabled()
        threads.append(threading.get_ident())
        time.sleep(0.02)
        return torch.ones(1)

    every = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert machine.choice("it", {"slow": lambda: (time.sleep(0.05), way())[1], "quick": way}) == "quick"
    finally:
        torch.set_num_threads(every)
    assert len(set(threads)) > 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="an accelerator's type is not measured")
@pytest.mark.parametrize(("times", "taken"), [(2.0, torch.bfloat16), (1.3, torch.float32), (0.4, torch.float32)])
def test_bfloat16_must_pay(times: float, taken: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {torch.float32: 100.0, torch.bfloat16: 100.0 * times}
    monkeypatch.setattr(machine, "rates", lambda dtype, size: {"plain": found[dtype]})
    assert machine.fast_type() == taken


def test_where_nothing_can_be_kept_it_is_measured_each_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "file" / "cache"))
    answers = iter(["first", "second"])
    assert [machine._kept("it", lambda: next(answers)) for _ in range(2)] == ["first", "second"]


def test_rates_are_those_of_real_products() -> None:
    found = machine.rates(torch.float32, size=128)
    assert set(found) <= {"plain", "packed"} and all(0.01 < rate < 1e6 for rate in found.values())
    assert machine.matrix_rate(torch.float32, torch.device("cpu")) >= 0.01
