"""The TrainJob of a training, as `trainer.kubeflow.org/v1alpha1` has it (Kubeflow Trainer 2.3).

The training runs on our own TrainingRuntime with the torch policy: the controller tells each node where the others are
(PET_* variables), and torchrun does the rest, so there is no mpirun and no ssh.
"""

import hashlib
import json
from typing import Any

from tamis.finetune.settings import TrainingSettings
from tamis.finetune.trainjob.settings import TrainJobSettings

GROUP, VERSION, PLURAL = "trainer.kubeflow.org", "v1alpha1", "trainjobs"
CONTAINER = "node"
"""Name of the runtime's replicated job, which the Trainer expects."""
SPEC = "tamis.ai/spec"
"""Annotation: digest of what was asked for; the cluster fills in and changes the rest."""


def name_of(training: str) -> str:
    """The TrainJob's name, the same for the same training: a valid name for its pods' host names too.

    Args:
        training: What tells this training from others.
    """
    return f"tamis-{hashlib.sha256(training.encode()).hexdigest()[:16]}"


def trainjob(
    name: str,
    settings: TrainingSettings,
    here: int,
    *,
    arguments: list[str],
    environment: dict[str, str],
    image: str = "",
    owner: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The whole object.

    Args:
        name: Its name.
        settings: How to train, and where the nodes run.
        here: Processes of each node.
        arguments: What the nodes are given: the input's URI and digest.
        environment: Variables of the nodes; no secrets.
        image: Of this step, for nodes whose image is not set.
        owner: What it ends with, as an owner reference.
    """
    how = settings.trainjob
    image = how.image or image
    env = [{"name": key, "value": value} for key, value in sorted(environment.items())]
    spec = {
        "runtimeRef": {"apiGroup": GROUP, "kind": "TrainingRuntime", "name": how.runtime},
        "trainer": {
            "numNodes": settings.nodes,
            "numProcPerNode": here,
            "command": ["python", "-m", "tamis.finetune.node"],
            "args": arguments,
            "env": env,
            **({"image": image} if image else {}),
            **({"resourcesPerNode": {"requests": how.resources, "limits": how.resources}} if how.resources else {}),
        },
        **({"runtimePatches": [_patch(pod)]} if (pod := _pod(how)) else {}),
        **({"activeDeadlineSeconds": how.timeout} if how.timeout else {}),
    }
    labels = {"app.kubernetes.io/part-of": "tamis", "app.kubernetes.io/component": "finetune"}
    for label, value in (("queue-name", how.queue), ("priority-class", how.priority_class)):
        if value:
            labels[f"kueue.x-k8s.io/{label}"] = value
    asked = json.dumps([spec, labels], sort_keys=True)
    metadata = {
        "name": name,
        "labels": labels,
        "annotations": {SPEC: hashlib.sha256(asked.encode()).hexdigest()},
        **({"ownerReferences": [owner]} if owner else {}),
    }
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "TrainJob", "metadata": metadata, "spec": spec}


def _patch(pod: dict[str, Any]) -> dict[str, Any]:
    jobs = [{"name": CONTAINER, "template": {"spec": {"template": {"spec": pod}}}}]
    return {"manager": "tamis.ai/finetune", "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": jobs}}}}


def _pod(how: TrainJobSettings) -> dict[str, Any]:
    """The patch of the nodes' pods that places them; the volumes are the runtime's, which mounts them."""
    tolerations = [
        {key: value for key, value in one.model_dump(by_alias=True).items() if value not in ("", None)}
        for one in how.tolerations
    ]
    volumes: list[dict[str, Any]] = []
    if how.shared_memory:
        volumes.append({"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": how.shared_memory}})
    if how.secret:
        volumes.append({"name": "store", "secret": {"secretName": how.secret}})
    pod = {
        "nodeSelector": how.node_selector,
        "tolerations": tolerations,
        "affinity": how.affinity,
        "serviceAccountName": how.service_account,
        "volumes": volumes,
    }
    return {key: value for key, value in pod.items() if value}
