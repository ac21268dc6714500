"""Where each step lands: what the compiled pipeline asks Kubernetes for, resolved as the backend's driver does."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tamis.config import RunConfig
from tamis.pools import parameters

ROOT = Path(__file__).parents[2]
COMPILED = ROOT / "pipelines" / "select_and_finetune" / "pipeline.yaml"
SPEC, PLATFORM = yaml.safe_load_all(COMPILED.read_text())
DATA, TRAINING = {"preflight", "prepare", "select", "report", "publish"}, {"finetune"}
SCORING = {"fit", "score", "advise"}
EVALUATION = {"evaluate", "evaluate-2"}


def pods(arguments: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The pod of each step: values are looked up through every loop, so one that is not handed on is a KeyError."""
    found: dict[str, dict[str, Any]] = {}

    def walk(component: dict[str, Any], inputs: dict[str, Any]) -> None:
        for name, task in component["dag"]["tasks"].items():
            given: dict[str, Any] = {}
            for key, source in task.get("inputs", {}).get("parameters", {}).items():
                if "componentInputParameter" in source:
                    given[key] = inputs[source["componentInputParameter"]]
                elif "taskOutputParameter" in source:
                    given[key] = given[f"{key}-loop-item"] = None  # known when the step before it has run
            inner = SPEC["components"][task["componentRef"]["name"]]
            if "dag" in inner:
                walk(inner, given)
            else:
                found[name] = pod(inner["executorLabel"], given, inputs)

    def pod(executor: str, given: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
        def sizes(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: sizes(inner) for key, inner in value.items()}
            placeholder = re.fullmatch(r"\{\{\$\.inputs\.parameters\['(.+)'\]\}\}", value)
            return given[placeholder[1]] if placeholder else value

        def platform(value: Any) -> Any:
            if isinstance(value, list):
                return [platform(inner) for inner in value]
            if isinstance(value, dict):
                name = value.get("componentInputParameter")
                return inputs[name] if name else {key: platform(inner) for key, inner in value.items()}
            return value

        resources = SPEC["deploymentSpec"]["executors"][executor]["container"]["resources"]
        config = PLATFORM["platforms"]["kubernetes"]["deploymentSpec"]["executors"][executor]
        return {**sizes(resources), **platform(config)}

    declared = SPEC["root"]["inputDefinitions"]["parameters"]
    walk(SPEC["root"], {name: arguments.get(name, spec.get("defaultValue")) for name, spec in declared.items()})
    return found


def test_every_step_goes_to_the_pool_of_its_role(tmp_path: Path) -> None:
    presets = tmp_path / "pools.yaml"
    presets.write_text(
        "big: {memory: 100Gi, cpu: 3, node_selector: {disk: fast}}\n"
        "a: {accelerator_type: nvidia.com/gpu, node_selector: {gpu: a100}, memory: 64Gi,"
        "    tolerations: [{key: gpu, operator: Exists}]}\n"
        "h: {accelerator_type: amd.com/gpu, accelerator_count: 8, cpu: 64, affinity:"
        " {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions:"
        " [{key: gpu, operator: In, values: [h100]}]}]}}}\n"
    )
    config = RunConfig(
        pool="p", node_pools={"data": "big", "scoring": "a", "training": "h"}, secret_name="keys", config_name="where"
    )
    landed = pods(parameters(config, presets))
    assert set(landed) == DATA | SCORING | TRAINING | EVALUATION
    for name, pod in landed.items():
        accelerator = pod.get("accelerator", {"resourceType": ""})
        selector, tolerations = pod["nodeSelector"]["nodeSelectorJson"], pod["tolerations"][0]["tolerationJson"]
        affinity = pod["nodeAffinity"][0]["nodeAffinityJson"]
        asked = (pod["resourceCpuLimit"], pod["resourceMemoryLimit"])
        if name in DATA:
            assert (asked, selector, accelerator["resourceType"]) == (("3", "100Gi"), {"disk": "fast"}, "")
        elif name in SCORING:
            assert accelerator == {"resourceType": "nvidia.com/gpu", "resourceCount": "1"}
            assert (asked, selector) == (("2", "64Gi"), {"gpu": "a100"})
            assert [one["key"] for one in tolerations] == ["gpu"] and tolerations[0]["operator"] == "Exists"
        elif name in TRAINING:
            assert accelerator == {"resourceType": "amd.com/gpu", "resourceCount": "8"}
            (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
            assert term["matchExpressions"] == [{"key": "gpu", "operator": "In", "values": ["h100"]}]
            assert asked == ("64", "8Gi") and selector == {} and tolerations == []
        else:
            assert (asked, selector, tolerations, affinity) == (("2", "8Gi"), {}, [], {})
            assert accelerator["resourceType"] == ""
        assert pod["secretAsEnv"][0]["secretNameParameter"] == "keys" and pod["secretAsEnv"][0]["optional"]
        assert pod["configMapAsEnv"][0]["configMapNameParameter"] == "where" and pod["configMapAsEnv"][0]["optional"]


def test_defaults_are_ones_that_the_backend_takes() -> None:
    """Its driver stops at an empty quantity and at an empty name of a secret or config map."""
    for pod in pods({"pool": "p"}).values():
        assert (pod["resourceCpuLimit"], pod["resourceMemoryLimit"]) == ("2", "8Gi")
        assert pod["secretAsEnv"][0]["secretNameParameter"] == "mlpipeline-minio-artifact"
        assert pod["configMapAsEnv"][0]["configMapNameParameter"] == "tamis"
        assert pod["configMapAsVolume"][0]["configMapNameParameter"] == "tamis"
        assert pod["securityContext"] == {"runAsNonRoot": True}


@pytest.mark.parametrize("name", sorted(SCORING | TRAINING | EVALUATION))
def test_steps_with_a_model_have_shared_memory(name: str) -> None:
    (mount,) = pods({"pool": "p"})[name]["emptyDirMounts"]
    assert (mount["mountPath"], mount["medium"]) == ("/dev/shm", "Memory")


def test_every_step_is_tried_again_with_growing_pauses() -> None:
    dags = [part["dag"] for part in (SPEC["root"], *SPEC["components"].values()) if "dag" in part]
    for name, task in ((name, task) for dag in dags for name, task in dag["tasks"].items()):
        if "dag" not in SPEC["components"][task["componentRef"]["name"]]:
            policy = task["retryPolicy"]
            if name == "preflight":  # whose failures are mistakes
                assert policy.get("maxRetryCount", 0) == 0
            else:
                assert (policy["maxRetryCount"], policy["backoffDuration"], policy["backoffFactor"]) == (2, "60s", 2)
