"""The whole DAG on a part of the quickstart, every step in a container of its own, restricted as on a cluster.

Tuned models and the release go to a real S3 server; the steps that do not need it have no network at all.
"""

import copy
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tamis.components.images import CORE, GPU

from tamis import store
from tamis.config import read_config
from tamis.store import server

pytestmark = pytest.mark.containers
ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "pipelines" / "select_and_finetune" / "quickstart"
ROWS = {"pool": 120, "target": 8, "heldout": 24}
WORKSPACE = f"s3://{server.BUCKET}/containers"
SETTINGS = [
    "preparation.shard_rows=60",
    "scoring.dtype=float32",
    "training.max_steps=2",
    "evaluation.tasks=[/quickstart/tasks]",
    "evaluation.limit=8",
    f"workspace={WORKSPACE}",
    "release=quickstart/1",
    "publication.only_if=always",
]
NEED_THE_STORE = {"preflight", "finetune", "evaluate", "publish"}


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
    from tamis.pipelines.build import COMPONENTS
    from tamis.pipelines.select_and_finetune import select_and_finetune

    data, cache, notes, out = (tmp_path / name for name in ("data", "cache", "notes", "out"))
    for folder in (data, cache, notes, out):
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
        f"{cache}:/cache:rw",
        f"{tmp_path / 'models'}:/cache/models:ro",
        f"{Path(__file__).parent / 'watched'}:/watched:ro",
        f"{notes}:/notes:rw",
    ]
    hidden = {image: without_compilers(image) for image in (CORE, GPU)}
    steps: list[str] = []

    class StepHandler(docker_task_handler.DockerTaskHandler):
        """KFP's own, with what its runner cannot be told: more mounts, and the store for those who need it."""

        def get_volumes_to_mount(self, client: Any = None) -> list[str]:
            own = super().get_volumes_to_mount(client).items()
            return [*(f"{at}:{to['bind']}:{to['mode']}" for at, to in own), *mounts, *hidden[self.image]]

        def run(self) -> Any:
            step = self.full_command[self.full_command.index("--function_to_execute") + 1]
            steps.append(step)
            if step in NEED_THE_STORE:
                self.runner = copy.copy(self.runner)  # the next step's has no network again
                self.runner.container_run_args = {**self.runner.container_run_args, "network_mode": "host"}
                self.env_vars |= at.environ()
            return super().run()

    monkeypatch.setattr(docker_task_handler, "DockerTaskHandler", StepHandler)
    environment = {
        "TAMIS_CACHE": "/cache",
        "PYTHONPATH": "/watched",
        "WATCHED_NOTES": "/notes/notes",
        "OMP_WAIT_POLICY": "PASSIVE",  # two steps run at a time
    }
    local.init(local.DockerRunner(environment=environment, **restricted), pipeline_root=str(out))
    files = [f"{name}=/data/{name}.jsonl" for name in ROWS]
    config = read_config(QUICKSTART / "run.yaml", [*files, *SETTINGS])
    with server.running(tmp_path / "s3") as at:
        since = int(time.time())
        result = select_and_finetune(**config.model_dump(exclude={"node_pools"}))
        until = int(time.time()) + 1
        for name, value in at.environ().items():
            monkeypatch.setenv(name, value)
        release = store.read_manifest(f"{WORKSPACE}/releases/quickstart/1")
        store.download_folder(f"{WORKSPACE}/releases/quickstart/1/model", tmp_path / "released")

    figures = json.loads(Path(result.outputs["figures"].path).read_text())
    assert set(figures["arms"]) == {"base", "random-0", "ifd", "rds"}
    assert {"report.html", "selection/decisions.parquet", "model/model.safetensors"} <= set(release.files)
    assert (tmp_path / "released" / "model.safetensors").stat().st_size > 200_000_000
    assert set(steps) == set(COMPONENTS) and Counter(steps)["finetune"] == 3 and Counter(steps)["score"] == 2
    ended = list(engine.events(since=since, until=until, filters={"event": "die"}, decode=True))
    attributes = [event["Actor"]["Attributes"] for event in ended]
    assert len(ended) == len(steps) and {each["exitCode"] for each in attributes} == {"0"}
    assert {each["image"] for each in attributes} == {CORE, GPU}
    assert {path.stat().st_uid for path in out.rglob("*") if path.is_file()} == {65532}
    assert not (notes / "notes").exists(), (notes / "notes").read_text()
