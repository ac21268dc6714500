"""Two processes, ended by force in the middle: the run goes on from its checkpoint and learns the same."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tamis import store
from tamis.errors import TamisError
from tamis.finetune import TrainingSettings, finetune
from tamis.finetune.examples import encode_selection, read_selection
from tamis.finetune.work import WORK, last_checkpoint
from tamis.lm.encode import Encoder
from tamis.lm.templates import get_template
from tamis.pool.rows import Row, to_table

PATIENCE = 180.0


@pytest.fixture
def selected(row: Callable[..., Row], tmp_path: Path) -> Path:
    rows = [row(f"What is {i} plus {i + 1}?", f"It is {2 * i + 1}." * (1 + i % 3)) for i in range(7)]
    pq.write_table(to_table(rows), tmp_path / "selected.parquet")
    return tmp_path / "selected.parquet"


def workers(out: Path) -> list[int]:
    """Training processes of a folder, torchrun apart."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if str(out / WORK / "job.json") in words and "tamis.finetune.agent" not in words:
            found.append(int(folder.name))
    return found


def until(what: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


@pytest.mark.parametrize(("stage", "killed"), [(2, "everything"), (3, "one process")])
def test_a_killed_training_goes_on_and_learns_the_same(
    stage: int,
    killed: str,
    selected: Path,
    small_model: Path,
    tmp_path: Path,
    bucket: str,
    plain_training: Any,
    small_causal_model: Any,
) -> None:
    out, workspace = tmp_path / "tuned", bucket if killed == "everything" else ""
    settings = TrainingSettings(
        batch_size=2, max_steps=6, learning_rate=3e-4, zero_stage=stage, processes=2, checkpoint_every=2
    )

    def begun() -> bool:
        if workspace:
            return any(name.endswith("complete.json") for name, _ in store.list_keys(workspace))
        return last_checkpoint(out / WORK) is not None

    if killed == "everything":
        code = (
            "import sys; from pathlib import Path; from tamis.finetune import *;"
            "finetune(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]),"
            " TrainingSettings.model_validate_json(sys.argv[4]), template='chat', workspace=sys.argv[5])"
        )
        command = [sys.executable, "-c", code, str(selected), str(small_model), str(out), settings.model_dump_json()]
        command.append(workspace)
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
        until(begun)
        assert len(workers(out)) == 2
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        until(lambda: not workers(out))  # they do not go on alone
    else:
        failures: list[BaseException] = []

        def run() -> None:
            try:
                finetune(selected, str(small_model), out, settings, template="chat")
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        until(lambda: begun() or failures)
        os.kill(workers(out)[0], signal.SIGKILL)
        thread.join(PATIENCE)
        assert isinstance(failures[0], TamisError)
        assert "ended by SIGKILL" in str(failures[0])
    assert not (out / "training.json").exists()
    assert not (out / "config.json").exists()  # nothing that looks like a model

    if workspace:
        out = tmp_path / "another machine"
    result = finetune(selected, str(small_model), out, settings, template="chat", workspace=workspace)
    assert (out / "training.json").exists()
    assert (out / "config.json").exists() is not bool(workspace)
    assert not (out / WORK).exists()
    assert result.steps == len(result.losses) == 6

    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(small_model)
    rows = encode_selection(read_selection(selected), Encoder(tokenizer, get_template("chat", tokenizer), 2048)).rows
    alone = settings.model_copy(update={"accumulation": 2})  # the same rows a step in one process
    assert result.losses == pytest.approx(plain_training(small_causal_model(), rows, alone), rel=1e-4)
