"""How training processes are started, and what is said when they fail."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from joblib import cpu_count

from tamis.errors import TamisError
from tamis.finetune.launch import PARENT, environment, launch, reason

TORCHRUN = """
W1123 14:15:35.241000 30050 .venv/lib/torch/distributed/elastic/multiprocessing/api.py:1028] Sending process 30057
Traceback (most recent call last):
    raise ChildFailedError(
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
tamis.finetune.train FAILED
------------------------------------------------------------
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("step 1\nTraceback\n  File x\nValueError: bad value\n" + TORCHRUN, "ValueError: bad value"),
        ("[rank1]: Traceback\n[rank1]: KeyError: 'a'\n" + TORCHRUN, "KeyError: 'a'"),
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\n" + TORCHRUN,
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB; "
            "lower batch_size or max_length, or raise zero_stage",
        ),
        (
            "[rank1]: RuntimeError: Connection closed by peer\n"
            + TORCHRUN
            + "Root Cause (first observed failure):\n  traceback : Signal 9 (SIGKILL) received by PID 34\n",
            "a process was ended by SIGKILL; the memory may not have been enough",
        ),
        (
            TORCHRUN + "torch.distributed.elastic.multiprocessing.api.SignalException: Process 3 got signal: 15\n",
            "it was told to end by signal 15",
        ),
        ("No module named tamis.finetune.trian\n" + TORCHRUN, "No module named tamis.finetune.trian"),
        (TORCHRUN, "no reason was given"),
    ],
)
def test_the_telling_line_is_found(text: str, said: str) -> None:
    assert reason(text) == said


def test_the_cores_are_shared_out_and_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = cpu_count()
    assert environment(1, gpu=False)["OMP_NUM_THREADS"] == str(cores)
    assert environment(cores, gpu=False)["OMP_NUM_THREADS"] == "1"
    assert environment(3 * cores, gpu=False)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert environment(2, gpu=False)["OMP_NUM_THREADS"] == "7"
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)
    assert environment(1, gpu=False)["DS_ACCELERATOR"] == "cpu"
    assert "DS_ACCELERATOR" not in environment(1, gpu=True)


def test_a_process_whose_parent_died_while_it_was_importing_ends() -> None:
    code = "from tamis.finetune.launch import end_with_parent; end_with_parent(); print('goes on')"
    for parent, said in ((os.getpid(), "goes on"), (1, "")):
        command = [sys.executable, "-c", code]
        environment = os.environ | {PARENT: str(parent)}
        assert subprocess.run(command, env=environment, capture_output=True, text=True).stdout.strip() == said


def test_a_failing_process_is_an_error_with_its_last_words(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    with log.open("w") as lock, pytest.raises(TamisError) as failed:
        launch("json.tool", ["/no/such/file"], processes=1, gpu=False, log=tmp_path / "out.log", held=lock.fileno())
    assert "No such file or directory: '/no/such/file'" in str(failed.value)
    assert str(tmp_path / "out.log") in str(failed.value)
    assert "/no/such/file" in (tmp_path / "out.log").read_text()
    assert "/no/such/file" in capfd.readouterr().err  # and it was shown while it ran
