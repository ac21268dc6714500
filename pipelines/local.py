"""The pipeline on this machine: the same DAG through KFP's local runner, no cluster needed."""

import copy
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

from tamis.pipelines.console import last_error, quiet

from tamis.config import RunConfig
from tamis.errors import TamisError


def run(config: RunConfig, out: Path) -> dict[str, Path]:
    """Runs `select-and-finetune` in subprocesses.

    What an earlier run in the same folder did with the same inputs, settings and program is used again.

    Args:
        config: The run's configuration.
        out: Gets the artifacts of every step, the report, the selections, and `run.log`.

    Returns:
        The report's files by name: `page`, `summary`, `figures`.

    Raises:
        TamisError: A step failed; says its own message and where the log is.
    """
    from kfp import local
    from tamis.pipelines.select_and_finetune import select_and_finetune

    # Two steps may run at a time, each with all cores. Threads that wait must then sleep: spinning ones, the default,
    # take the cores from the other step (measured: 150 tokens a second instead of 900; alone it costs nothing).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    out.mkdir(parents=True, exist_ok=True)
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(out / "artifacts"),
        enable_caching=True,
        cache_root=str(out / "cache"),
    )
    log = out / "run.log"
    try:
        with quiet(log), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*no effect in the current local runner")  # placement
            task = _once(select_and_finetune)(**config.model_dump(exclude={"node_pools"}))
    except RuntimeError as error:
        raise TamisError(f"{last_error(log) or str(error).splitlines()[0]} (all that the steps said: {log})") from error
    files = {}
    for name, suffix in (("page", "html"), ("summary", "md"), ("figures", "json")):
        files[name] = out / f"report.{suffix}"
        shutil.copyfile(task.outputs[name].path, files[name])
    shutil.rmtree(out / "selections", ignore_errors=True)
    shutil.copytree(task.outputs["selections"].path, out / "selections")
    return files


def _once(pipeline: Any) -> Any:
    """A copy without retries: they help against lost nodes; here a failed step would only fail again, later."""
    pipeline = copy.deepcopy(pipeline)
    spec = pipeline.pipeline_spec
    for dag in (spec.root.dag, *(component.dag for component in spec.components.values())):
        for task in dag.tasks.values():
            task.ClearField("retry_policy")
    return pipeline
