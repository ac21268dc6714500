"""The whole quickstart, every step in a container of its own: numeric user, read-only root, no network without need."""

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tamis.components.images import CORE, GPU

from tamis.config import read_config
from tamis.lm.demo import cache_folder

pytestmark = pytest.mark.containers
ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "pipelines" / "select_and_finetune" / "quickstart"


def test_the_quickstart(
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

    notes = tmp_path / "notes"
    out = tmp_path / "out"
    for folder in (notes, out):
        folder.mkdir()
        folder.chmod(0o777)  # the steps are nobody on this machine

    mounts = [
        f"{QUICKSTART}:/data:ro",
        f"{cache_folder() / 'models'}:/cache/models:ro",
        f"{Path(__file__).parent / 'watched'}:/watched:ro",
        f"{notes}:/notes:rw",
    ]
    hidden = {image: without_compilers(image) for image in (CORE, GPU)}

    class StepHandler(docker_task_handler.DockerTaskHandler):
        """KFP's own, with what its runner cannot be told: mounts beside the pipeline's, and a network by step."""

        def get_volumes_to_mount(self, client: Any = None) -> list[str]:
            own = super().get_volumes_to_mount(client).items()
            return [*(f"{at}:{to['bind']}:{to['mode']}" for at, to in own), *mounts, *hidden[self.image]]

    monkeypatch.setattr(docker_task_handler, "DockerTaskHandler", StepHandler)
    environment = {
        "TAMIS_CACHE": "/cache",
        "PYTHONPATH": "/watched",
        "WATCHED_NOTES": "/notes/notes",
    }
    local.init(
        local.DockerRunner(environment=environment, **restricted),
        pipeline_root=str(out),
    )
    changes = [f"{name}=/data/{name}.jsonl" for name in ("pool", "target", "heldout")]
    changes += ["evaluation.tasks=[/data/tasks]", "scoring.dtype=float32"]
    config = read_config(QUICKSTART / "run.yaml", changes)
    since = int(time.time())
    result = select_and_finetune(**config.model_dump())

    figures = json.loads(Path(result.outputs["figures"].path).read_text())
    assert set(figures["arms"]) == {"base", "random-0", "ifd", "rds"}
    ended = list(engine.events(since=since, until=int(time.time()) + 1, filters={"event": "die"}, decode=True))
    steps = Counter(event["Actor"]["Attributes"]["image"] for event in ended)
    assert {event["Actor"]["Attributes"]["exitCode"] for event in ended} == {"0"}
    print(steps)
    assert (notes / "notes").read_text() == ""
    written = [path for path in out.rglob("*") if path.is_file()]
    assert {path.stat().st_uid for path in written} == {65532}
