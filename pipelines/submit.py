"""Starts a run on a cluster: once for the same pipeline, parameters and data, however often it is asked for.

The name of a run says what it does: the version of the pipeline (a digest of what was compiled, image names included),
a digest of the parameters, and a digest of the data behind them. A run of that name that has not failed is adopted. So
the same command serves a person, an Argo CD hook, a sensor that sees a new object, and a schedule.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

from tamis.pipelines.kfp_api import Cluster, connect

from tamis import pools
from tamis.config import RunConfig
from tamis.errors import TamisError, UserError

PIPELINE = "select-and-finetune"
COMPILED = Path(__file__).parent / "select_and_finetune" / "pipeline.yaml"


def from_environment(
    endpoint: str | None, namespace: str | None, experiment: str | None, account: str | None
) -> Cluster:
    """Fills what is not given from the variables that the Kubeflow SDK reads."""
    env = os.environ
    return Cluster(
        endpoint or env.get("KF_PIPELINES_ENDPOINT", ""),
        namespace or "",
        experiment or env.get("KF_PIPELINES_DEFAULT_EXPERIMENT_NAME") or "tamis",
        account or "",
        env.get("KF_PIPELINES_UI_ENDPOINT", ""),
        env.get("KF_PIPELINES_SA_TOKEN_PATH", ""),
    )


def version_name(compiled: str) -> str:
    """The name of a version: that of the same compiled pipeline is the same, so applying it again changes nothing."""
    return f"{PIPELINE}-{_digest(compiled)}"


def run_name(values: dict[str, Any], compiled: str) -> str:
    """The name of a run: version of the pipeline, digest of the parameters, digest of the data."""
    settings = json.dumps({k: v for k, v in values.items() if k != "fingerprint"}, sort_keys=True)
    return f"{version_name(compiled)}-{_digest(settings)}-{values['fingerprint'][:8]}"


def object_uri(text: str) -> str:
    """The object that an S3 event tells of; events write keys as forms do, so a plus sign stands for a space."""
    return unquote_plus(text)


def parameters(config: RunConfig, presets: Path = Path("pools.yaml")) -> dict[str, Any]:
    """What the pipeline is given.

    Args:
        config: The run's configuration.
        presets: File with the node pools that it names.

    Raises:
        UserError: A name stands for something on this machine, which no step on a cluster would find.
    """
    named = [(name, getattr(config, name)) for name in ("pool", "target", "heldout", "model")]
    named += [("evaluation.tasks", str(task)) for task in config.evaluation.get("tasks", []) if "/" in str(task)]
    for name, value in named:
        relative = bool(value) and "://" not in value and not value.startswith("/")
        if relative and (name != "model" or value.startswith((".", "~")) or Path(value).exists()):
            raise UserError(f"{name}: {value} is a path on this machine; upload it and give its s3://bucket/key")
    return pools.parameters(config, presets)


def submit(config: RunConfig, cluster: Cluster, *, presets: Path = Path("pools.yaml"), wait: bool = False) -> str:
    """Starts a run, or finds the one that was started before.

    Args:
        config: Checked, with its fingerprint.
        cluster: Where.
        presets: File with the node pools that the configuration names.
        wait: Come back when the run is over.

    Returns:
        Link to the run.

    Raises:
        UserError: The request is refused, for a reason that the message gives.
        TamisError: The API does not answer, or the run that was waited for failed or was cancelled.
    """
    values, compiled = parameters(config, presets), COMPILED.read_text()
    name = run_name(values, compiled)
    with connect(cluster) as api:
        pipeline, version = api.version(PIPELINE, version_name(compiled), COMPILED)
        run, new = api.run(name, values, pipeline, version)
        link = cluster.link(run.run_id)
        print(f"{name}: {'started' if new else f'there already, {run.state}'}\n{link}", flush=True)
        if wait:
            run = api.wait(run.run_id)
    if wait:
        _judge(run, link)
    return link


def schedule(config: RunConfig, cluster: Cluster, name: str, cron: str, *, presets: Path = Path("pools.yaml")) -> None:
    """Makes the schedule of this name what it should be; one that is so already is left alone.

    It follows the newest version of the pipeline. Its runs are given no fingerprint, so each takes that of the data as
    they are then: what has not changed since is reused.

    Args:
        config: Checked.
        cluster: Where.
        name: Of the schedule.
        cron: Minute, hour, day, month, weekday; a field for seconds may stand before them.
        presets: File with the node pools that the configuration names.

    Raises:
        UserError: The request is refused, for a reason that the message gives.
        TamisError: The API does not answer.
    """
    fields = cron.split()
    if len(fields) not in (5, 6):
        raise UserError(f"--recurring '{cron}': write minute, hour, day, month and weekday, such as '0 3 * * *'")
    cron = " ".join(["0", *fields][-6:])
    if "{digest}" in config.release:
        raise UserError("release: a schedule cannot fill in {digest}, and its runs would overwrite each other")
    values = parameters(config.model_copy(update={"fingerprint": ""}), presets)
    with connect(cluster) as api:
        pipeline, _ = api.version(PIPELINE, version_name(COMPILED.read_text()), COMPILED)
        done = api.schedule(f"{PIPELINE}-{name}", values, pipeline, cron)
    print(f"{PIPELINE}-{name}: {done}, {cron}")


def _judge(run: Any, link: str) -> None:
    if run.state in ("SUCCEEDED", "SKIPPED"):
        print(f"{run.display_name}: {run.state}")
        return
    tasks = (run.run_details and run.run_details.task_details) or []
    steps = sorted({task.display_name for task in tasks if task.state == "FAILED" and task.display_name})
    at = f" at {', '.join(steps)}" if steps else ""
    why = f": {run.error.message}" if run.error and run.error.message else ""
    raise TamisError(f"{run.display_name} ended as {run.state}{at}{why}; see {link}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
