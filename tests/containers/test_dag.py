"""The whole DAG on a part of the quickstart, every step in a container of its own, restricted as on a cluster."""

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tamis.components.images import CORE, GPU

from tamis.config import read_config

pytestmark = pytest.mark.containers
ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "pipelines" / "select_and_finetune" / "quickstart"
ROWS = {"pool": 120, "target": 8, "heldout": 24}
SETTINGS = [
    "scoring.dtype=float32",
    "training.max_steps=2",
    "evaluation.tasks=[/quickstart/tasks]",
    "evaluation.limit=8",
]


def test_every_step_runs_in_a_container(
    engine: Any,
    restricted: dict[str, Any],
    without_compilers: Callable[[str], list[str]],
    demo_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from kfp import local
    from kfp.local import docker_task_handler
    from tamis.pipelines.select_and_finetune import select_and_finetune

    data, notes, out = (tmp_path / name for name in ("data", "notes", "out"))
    for folder in (data, notes, out):
        folder.mkdir()
        folder.chmod(0o777)  # the steps are nobody on this machine
    for name, count in ROWS.items():
        rows = (QUICKSTART / f"{name}.jsonl").read_text().splitlines(keepends=True)
        (data / f"{name}.jsonl").write_text("".join(rows[:count]))
    # Copied, because a user's cache may be for their eyes alone.
    shutil.copytree(demo_folder, tmp_path / "models" / demo_folder.name, copy_function=shutil.copyfile)
    mounts = [
        f"{data}:/data:ro",
        f"{QUICKSTART}:/quickstart:ro",
        f"{tmp_path / 'models'}:/cache/models:ro",
        f"{Path(__file__).parent / 'watched'}:/watched:ro",
        f"{notes}:/notes:rw",
    ]
    hidden = {image: without_compilers(image) for image in (CORE, GPU)}

    class StepHandler(docker_task_handler.DockerTaskHandler):
        """KFP's own, with more mounts than the pipeline's root: its runner takes none."""

        def get_volumes_to_mount(self, client: Any = None) -> list[str]:
            own = super().get_volumes_to_mount(client).items()
            return [*(f"{at}:{to['bind']}:{to['mode']}" for at, to in own), *mounts, *hidden[self.image]]

    monkeypatch.setattr(docker_task_handler, "DockerTaskHandler", StepHandler)
    environment = {
        "TAMIS_CACHE": "/cache",
        "PYTHONPATH": "/watched",
        "WATCHED_NOTES": "/notes/notes",
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 2) // 2)),  # KFP runs two steps at a time
    }
    local.init(local.DockerRunner(environment=environment, **restricted), pipeline_root=str(out))
    files = [f"{name}=/data/{name}.jsonl" for name in ROWS]
    config = read_config(QUICKSTART / "run.yaml", [*files, *SETTINGS, "preparation.shard_rows=60"])
    since = int(time.time())
    result = select_and_finetune(**config.model_dump())

    figures = json.loads(Path(result.outputs["figures"].path).read_text())
    arms = set(figures["arms"])
    assert arms == {"base", "random-0", "ifd", "rds"}
    # A container for each step: prepare, select, report; fit, two shards, three trainings, four evaluations.
    ended = list(engine.events(since=since, until=int(time.time()) + 1, filters={"event": "die"}, decode=True))
    attributes = [event["Actor"]["Attributes"] for event in ended]
    assert {each["exitCode"] for each in attributes} == {"0"}
    assert Counter(each["image"] for each in attributes) == {CORE: 3, GPU: 10}
    assert {path.stat().st_uid for path in out.rglob("*") if path.is_file()} == {65532}
    assert not (notes / "notes").exists(), (notes / "notes").read_text()
