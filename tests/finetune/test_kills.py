"""kill -9 at random moments: what comes out is, byte for byte, what comes out without."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tamis import store
from tamis.finetune import TrainingSettings
from tamis.pool.rows import Row, to_table

MOMENTS = 20
SETTINGS = TrainingSettings(batch_size=2, max_steps=12, learning_rate=3e-4, zero_stage=2, checkpoint_every=4)
OF_THE_RUN = (
    "seconds",
    "total_seconds",
    "device_hours",
    "tokens_per_second",
    "peak_memory_mib",
    "resumed_from",
    "model_uri",
)
CODE = """
import sys
from pathlib import Path
from tamis.finetune import TrainingSettings, finetune
selected, model, out, settings, workspace = sys.argv[1:]
finetune(Path(selected), model, Path(out), TrainingSettings.model_validate_json(settings), template="chat",
         workspace=workspace)
"""


@pytest.fixture
def selected(row: Callable[..., Row], tmp_path: Path) -> Path:
    rows = [row(f"What is {i} plus {i + 1}?", f"It is {2 * i + 1}." * (1 + i % 3)) for i in range(7)]
    pq.write_table(to_table(rows), tmp_path / "selected.parquet")
    return tmp_path / "selected.parquet"


def start(selected: Path, model: Path, out: Path, workspace: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", CODE, str(selected), str(model), str(out), SETTINGS.model_dump_json(), workspace]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)


def outcome(out: Path, workspace: str, tmp_path: Path) -> dict[str, str]:
    """Digest of each file of the model, and of what training.json says but for durations."""
    content = json.loads((out / "training.json").read_text())
    folder = out
    if workspace:
        folder = tmp_path / f"fetched-{out.name}"
        store.download_folder(content["model_uri"], folder)
    digests = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir() if f.is_file()}
    said = {key: value for key, value in content.items() if key not in OF_THE_RUN}
    assert len(said["losses"]) == 12
    return {k: v for k, v in digests.items() if k not in ("training.json", "manifest.json")} | {
        "said": json.dumps(said, sort_keys=True)
    }


def running(folder: Path) -> list[str]:
    """Processes whose command line names a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found += [process.name] if str(folder) in (process / "cmdline").read_text() else []
        except OSError:
            pass
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["local", "s3"])
def test_killed_at_random_moments(
    kind: str, selected: Path, small_model: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    base = request.getfixturevalue("bucket") if kind == "s3" else ""
    begun = time.monotonic()
    assert start(selected, small_model, tmp_path / "reference", "").wait(300) == 0
    duration = time.monotonic() - begun
    reference = outcome(tmp_path / "reference", "", tmp_path)
    assert "model.safetensors" in reference

    moments = random.Random(7)
    kills = finished = 0
    while kills < MOMENTS or finished == 0:
        workspace = f"{base}/run-{finished}" if base else ""
        # With a workspace every start is on another machine: an empty folder.
        out = tmp_path / (f"out-{finished}-{kills}" if base else f"out-{finished}")
        process = start(selected, small_model, out, workspace)
        try:
            longest = duration * (2.0 if base else 1.1)  # a checkpoint takes longer to a store
            code = process.wait(moments.uniform(0, longest) if kills < MOMENTS else 300)
            assert code == 0
            assert outcome(out, workspace, tmp_path) == reference
            finished += 1
        except subprocess.TimeoutExpired:
            kills += 1
            # Half of the time only the step itself: its processes must not go on without it.
            os.kill(process.pid, signal.SIGKILL) if kills % 2 else os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    end = time.monotonic() + 60
    while left := running(tmp_path):
        assert time.monotonic() < end, f"processes go on without their step: {left}"
        time.sleep(0.5)
    print(f"{kind}: {kills} kills, {finished} trainings, {duration:.1f} s each")
