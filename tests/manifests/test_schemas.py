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


@cache
def schemas() -> dict[str, Any]:
    """Our schemas, by API version and kind; an object may only have what its schema names."""
    found: dict[str, Any] = {}
    for file in FILES:
        for name, schema in yaml.safe_load(file.read_text()).items():
            schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {"required": ["name"], "type": "object"}}
            found[name] = closed(schema)
    return found


def closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: closed(part) for key, part in schema.items()}
    if isinstance(schema.get("properties"), dict):
        schema |= {"type": "object", "additionalProperties": False}
    return schema


def validate(manifest: Manifest) -> None:
    group, kind = manifest["apiVersion"], manifest["kind"]
    if "." not in group.split("/")[0] or group.split("/")[0].endswith(".k8s.io") and not group.startswith("kueue"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    elif kind == "TrainingRuntime":
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
    else:
        jsonschema.Draft202012Validator(schemas()[f"{group}/{kind}"]).validate(manifest)


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
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError, AssertionError)):
        validate(manifest)


def test_every_schema_is_used() -> None:
    made = {f"{m['apiVersion']}/{m['kind']}" for name in OVERLAYS for m in overlay(name)}
    assert set(schemas()) <= made


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
