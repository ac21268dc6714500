"""Every object of every overlay has the form that its API asks for, and no field that it does not know."""

import copy
import re
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from kustomize import MANIFESTS, OVERLAYS, Manifest, jobs, overlay

KUBERNETES = "1.34"
FILES = sorted((Path(__file__).parent / "schemas").glob("*.yaml"))
LABEL = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
METADATA = {
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "maxLength": 253, "pattern": "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"},
        "namespace": {"type": "string"},
        "labels": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 63, "pattern": LABEL}},
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
CONDITIONS = {"if", "then", "else", "not", "oneOf", "dependentSchemas"}
REFUSALS = (jsonschema.ValidationError, kubernetes_validate.ValidationError, AssertionError, ValueError)


@cache
def schemas() -> dict[str, Any]:
    """Our schemas, by API version and kind; an object may only have what its schema names."""
    found: dict[str, Any] = {}
    for file in FILES:
        for name, schema in yaml.safe_load(file.read_text()).items():
            schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": METADATA}
            found[name] = closed(schema)
    return found


def closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: part if key in CONDITIONS else closed(part) for key, part in schema.items()}
    if isinstance(schema.get("properties"), dict):
        schema |= {"type": "object", "additionalProperties": False}
    return schema


def bus_pod(manifest: Manifest) -> Manifest:
    """The pod that an EventBus asks for: the cluster keeps any field of it, and the controller drops a wrong one."""
    bus = manifest["spec"]["jetstream"]
    names = ("containerTemplate", "reloaderContainerTemplate", "metricsContainerTemplate")
    containers = [{"name": name.lower(), "image": "any", **bus.get(name, {})} for name in names]
    pod = {"securityContext": bus.get("securityContext", {}), "containers": containers}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bus"}, "spec": pod}


def validate(manifest: Manifest) -> None:
    group, kind = manifest["apiVersion"], manifest["kind"]
    if "." not in group.split("/")[0] or group.split("/")[0].endswith(".k8s.io") and not group.startswith("kueue"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        return
    if kind == "TrainingRuntime":
        from kubeflow_trainer_api.models.trainer_v1alpha1_training_runtime import TrainerV1alpha1TrainingRuntime

        model = TrainerV1alpha1TrainingRuntime.from_dict(copy.deepcopy(manifest))
        assert model is not None and model.to_dict() == manifest  # what the models do not know gets lost
    elif kind in ("Sensor", "EventSource"):
        from hera.events import models

        known = copy.deepcopy(manifest)
        for trigger in known["spec"].get("triggers", []):
            trigger["template"]["k8s"]["source"]["resource"] = {}  # any object; validated by itself
            retry = trigger["retryStrategy"]  # hera has these two as they are in protobuf, not as they are written
            assert re.fullmatch("[0-9]+(s|m)", retry.pop("duration")) and retry.pop("factor") > 0
        model = getattr(models, kind).model_validate(
            {key: value for key, value in known.items() if key not in ("apiVersion", "kind")}
        )
        kept = model.model_dump(by_alias=True, exclude_unset=True, mode="json")
        assert kept["spec"] == known["spec"]
        return
    jsonschema.Draft202012Validator(schemas()[f"{group}/{kind}"]).validate(manifest)
    if kind == "EventBus":
        validate(bus_pod(manifest))
    elif kind == "ClusterQueue":
        for resources in manifest["spec"]["resourceGroups"]:
            for flavor in resources["flavors"]:
                assert [quota["name"] for quota in flavor["resources"]] == resources["coveredResources"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_object_is_valid(name: str) -> None:
    manifests = overlay(name)
    assert len(manifests) > 10
    for manifest in manifests:
        validate(manifest)
        for job in jobs(manifest):
            validate(job if manifest["kind"] == "Job" else job | {"metadata": {**job["metadata"], "name": "made"}})


@pytest.mark.parametrize("kind", ["Job", "NetworkPolicy", "TrainingRuntime", "Sensor", "ClusterQueue", "Application"])
def test_a_field_that_nobody_knows_is_found(kind: str) -> None:
    manifest = copy.deepcopy(next(m for m in overlay("prod") if m["kind"] == kind))
    manifest["spec"]["replica"] = 1
    with pytest.raises(REFUSALS):
        validate(manifest)


WRONG = [
    ("Application", "spec.destination.name", "in-cluster"),  # it has a server
    ("Application", "spec.syncPolicy.retry.limit", "5"),
    ("Application", "spec.syncPolicy.syncOptions.0", "ServerSideAply=true"),
    ("ClusterQueue", "spec.resourceGroups.0.coveredResources", ["cpu", "memory"]),  # the flavors have three
    ("ClusterQueue", "spec.resourceGroups.0.flavors.0.resources.1.nominalQuota", "2K"),
    ("ClusterQueue", "spec.resourceGroups.0.flavors.0.resources.1.borrowingLimit", "2Ti"),  # it is in no cohort
    ("EventBus", "spec.jetstream.replicas", 2),
    ("EventBus", "spec.jetstream.containerTemplate.securityContext.readOnlyRootFilesytem", True),
    ("ExternalSecret", "spec.data.0.secretKey", "access key"),
    ("ExternalSecret", "spec.target.creationPolicy", "Own"),
    ("LocalQueue", "spec.clusterQueue", "Tamis"),
    ("Pipeline", "metadata.name", "Select"),
    ("PipelineVersion", "metadata.annotations.wave", 1),
    ("PipelineVersion", "spec.versionName", "v_1"),
    ("ResourceFlavor", "spec.tolerations.0.value", "present"),  # the operator is Exists
    ("ResourceFlavor", "spec.tolerations.0.tolerationSeconds", 5),  # the effect is NoSchedule
    ("Sensor", "spec.dependencies.0.eventName", 1),
    ("EventSource", "spec.minio.new-rows.insecure", "no"),
    ("TrainingRuntime", "spec.mlPolicy.mpi", {}),  # besides torch
    ("TrainingRuntime", "spec.template.spec.failurePolicy.restartStrategy", "Never"),
    ("WorkloadPriorityClass", "value", 2**31),
]


@pytest.mark.parametrize(("kind", "path", "value"), WRONG, ids=[f"{kind}-{path}" for kind, path, _ in WRONG])
def test_a_value_that_the_cluster_refuses_is_found(kind: str, path: str, value: Any) -> None:
    manifest = copy.deepcopy(next(m for m in overlay("prod") if m["kind"] == kind))
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place: Any = manifest
    for part in parents:
        place = place[part]
    place[last] = value
    with pytest.raises(REFUSALS):
        validate(manifest)


def test_every_schema_is_used_and_refuses_something() -> None:
    made = {f"{m['apiVersion']}/{m['kind']}" for name in OVERLAYS for m in overlay(name)}
    assert set(schemas()) <= made
    assert {name.rpartition("/")[2] for name in schemas()} <= {kind for kind, _, _ in WRONG}


def test_every_kustomization_is_used() -> None:
    used = {path.resolve() for path in MANIFESTS.rglob("kustomization.yaml") if path.parent.parent.name == "overlays"}
    todo = list(used)
    while todo:
        kustomization = yaml.safe_load(todo[-1].read_text())
        folder = todo.pop().parent
        for other in [*kustomization.get("resources", []), *kustomization.get("components", [])]:
            path = (folder / other / "kustomization.yaml").resolve()
            if path.exists() and path not in used:
                used.add(path)
                todo.append(path)
    assert used == {path.resolve() for path in MANIFESTS.rglob("kustomization.yaml")}
