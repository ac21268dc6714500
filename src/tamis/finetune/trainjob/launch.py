"""Has a training done by a TrainJob: makes it, or goes on with one that is there already, and waits for its end.

The launcher may die and be started again at any moment: the TrainJob's name follows from the training, so that the new
one finds it. What waits in a queue has not failed and may wait for ever, unless a time was given. When the launcher is
told to end (SIGTERM, as when a run is cancelled), it deletes the TrainJob; checkpoints stay.
"""

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tamis import store
from tamis.errors import TamisError, UserError
from tamis.finetune import work
from tamis.finetune.settings import TrainingSettings
from tamis.finetune.trainjob import spec
from tamis.finetune.trainjob.cluster import Cluster
from tamis.finetune.trainjob.pods import Pods
from tamis.finetune.workspace import Workspace, hold
from tamis.lm.demo import NAME as DEMO
from tamis.pool.shards import write_json

PASSED_ON = ("HF_HUB_OFFLINE", "HF_ENDPOINT", "TAMIS_S3_ATTEMPTS", "TAMIS_S3_TIMEOUT", "TAMIS_S3_THREADS")
"""Variables that the nodes get as they are here; nothing secret is among them."""


def train(place: Workspace, job: dict[str, Any], settings: TrainingSettings, *, model: str) -> None:
    """Returns when the model is published.

    Args:
        place: Where the nodes find and leave everything.
        job: The training; its folder has the encoded rows.
        settings: How to train, and where.
        model: The model as the user named it.

    Raises:
        UserError: The cluster refuses, or another run does the same.
        TamisError: The training failed; says what the cluster says of it.
    """
    name = spec.name_of(place.model)
    at = store.join(place.uri, "trainjobs", name)
    with hold(at), _told_to_end():
        cluster = Cluster(settings.trainjob.namespace)
        image, owner = cluster.launcher()
        arguments = _send(place, job, store.join(at, "input"), model)
        body = spec.trainjob(
            name,
            settings,
            job["processes"] // settings.nodes,
            arguments=arguments,
            environment=_environment(),
            image=image,
            owner=owner,
        )
        _run(cluster, body, settings)
        if not place.finished():
            raise TamisError(f"the TrainJob {name} says it is complete, but there is no model at {place.model}")
        cluster.delete(name)
        for file, _ in store.list_keys(at):
            store.remove(store.join(at, file))


class _TooLong(TamisError):
    """A time that the user set is over."""


@contextmanager
def _told_to_end() -> Iterator[None]:
    """Lets SIGTERM end the block like an exception; only the main thread may ask for it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _send(place: Workspace, job: dict[str, Any], uri: str, model: str) -> list[str]:
    """Publishes what the nodes need: the job with its rows, and a model that is only here; returns their arguments."""
    from tamis.lm.load import location

    folder = Path(job["work"]) / "input"
    folder.mkdir(exist_ok=True)
    named = location(model)
    if named != DEMO and store.parse(named).kind == "local" and Path(job["model"]).is_dir():
        named = store.join(place.uri, "bases", job["identity"]["model"])
        store.upload_folder(job["model"], named)
    sent = {key: value for key, value in job.items() if key != "work"} | {"model": named, "workspace": place.uri}
    write_json(folder / "job.json", sent)
    shutil.copyfile(Path(job["work"]) / work.ROWS, folder / work.ROWS)
    return [uri, store.upload_folder(folder, uri).digest]


def _environment() -> dict[str, str]:
    at = store.connection()
    values = {"TAMIS_S3_ENDPOINT": at.endpoint, "AWS_REGION": at.region}
    return values | {name: os.environ[name] for name in PASSED_ON if os.environ.get(name)}


def _run(cluster: Cluster, body: dict[str, Any], settings: TrainingSettings) -> None:
    """Makes a TrainJob or adopts it, waits for its end, and deletes it if it may not go on."""
    try:
        _follow(cluster, _make(cluster, body), settings)
    except (KeyboardInterrupt, SystemExit, _TooLong):
        cluster.delete(body["metadata"]["name"], patience=20)
        raise


def _make(cluster: Cluster, body: dict[str, Any]) -> dict[str, Any]:
    """Creates a TrainJob, or adopts the one that was created for the same."""
    name = body["metadata"]["name"]
    while True:
        made = cluster.create(body)
        if made:
            _say(f"TrainJob {name} created in {cluster.namespace}")
            return made
        there = cluster.get(name)
        if there is None:
            continue
        if "deletionTimestamp" not in there["metadata"]:
            annotations = there["metadata"].get("annotations", {})
            if not {"Failed", "Complete"} & _conditions(there).keys():
                if annotations.get(spec.SPEC) != body["metadata"]["annotations"][spec.SPEC]:
                    raise UserError(
                        f"TrainJob {name} in {cluster.namespace} runs this training with another image, placement or "
                        "input; wait for it, or delete it"
                    )
                _say(f"TrainJob {name} is there already; this goes on with it")
                return there
            cluster.delete(name)  # of an earlier attempt
        for state in cluster.states(name):
            if state is None or "deletionTimestamp" not in state["metadata"]:
                break


def _follow(cluster: Cluster, job: dict[str, Any], settings: TrainingSettings) -> None:
    """Waits for the end of a TrainJob, telling what happens meanwhile.

    Raises:
        TamisError: It failed, or is no more, or took longer than it may.
    """
    how, name = settings.trainjob, job["metadata"]["name"]
    made, running, told = time.monotonic(), None, ""
    with Pods(cluster, name) as pods:
        for state in cluster.states(name):
            if state is None or state["metadata"]["uid"] != job["metadata"]["uid"]:
                raise TamisError(f"TrainJob {name} was deleted by somebody else; checkpoints stay in the workspace")
            conditions = _conditions(state)
            if "Complete" in conditions:
                _say(f"TrainJob {name} is complete")
                return
            if "Failed" in conditions:
                why = conditions["Failed"]
                said = f"{why.get('reason', 'Failed')}: {why.get('message', 'no message')}"
                raise TamisError(f"TrainJob {name} failed ({said}){pods.reasons()}")
            waits = "Suspended" in conditions
            ready = any(one["ready"] for one in state.get("status", {}).get("jobsStatus", []))  # every node has begun
            now = "waits in its queue" if waits else "runs" if ready else "waits for its pods"
            if now == "runs":
                running = running or time.monotonic()
            elif waits:
                running = None
            if now != told:
                _say(f"TrainJob {name} {now}")
                told = now
            if how.start_timeout and not running and time.monotonic() - made > how.start_timeout:
                raise _TooLong(f"TrainJob {name} has not begun within {how.start_timeout} s (it {now}); it was deleted")
            if how.timeout and running and time.monotonic() - running > how.timeout:
                raise _TooLong(f"TrainJob {name} ran longer than {how.timeout} s; it was deleted")


def _conditions(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The conditions that hold, by type."""
    found = job.get("status", {}).get("conditions", [])
    return {one["type"]: one for one in found if one["status"] == "True"}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
