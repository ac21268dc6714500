"""What the manifests may not do: run as root, open the network, hold a secret, have more rights than needed."""

import copy
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kustomize import KUBECTL, MANIFESTS, OVERLAYS, Manifest, build, jobs, overlay
from tamis.components import images
from tamis.pipelines.submit import object_uri, parameters

from tamis import settings
from tamis.cli import _parser
from tamis.config import read_config
from tamis.finetune import TrainingSettings

CLUSTER = {"Namespace", "ClusterQueue", "ResourceFlavor", "WorkloadPriorityClass"}
IMAGE = re.compile(r"^[a-z0-9./-]+(:[0-9][\w.-]*|@sha256:[0-9a-f]{64})$")


def within(value: Any, key: str) -> Iterator[Any]:
    """Every value of a key, at any depth."""
    if isinstance(value, dict):
        for name, part in value.items():
            if name == key:
                yield part
            yield from within(part, key)
    elif isinstance(value, list):
        for part in value:
            yield from within(part, key)


def pods(name: str) -> list[tuple[str, Manifest, list[Manifest]]]:
    """Every kind of pod that an overlay brings: its name, what is set for the pod, and its containers."""
    found = []
    for manifest in overlay(name):
        label = f"{manifest['kind']} {manifest['metadata']['name']}"
        for spec in within(manifest, "spec"):
            if "containers" in spec:
                found.append((label, spec, spec["containers"] + spec.get("initContainers", [])))
        if manifest["kind"] in ("EventSource", "Sensor"):
            template = manifest["spec"]["template"]
            found.append((label, template, [template["container"]]))
        if manifest["kind"] == "EventBus":
            bus = manifest["spec"]["jetstream"]
            found.append((label, bus, [bus[key] for key in bus if key.endswith("ontainerTemplate")]))
    return found


@pytest.mark.parametrize("name", OVERLAYS)
def test_pods_keep_to_the_restricted_standard(name: str) -> None:
    assert pods(name)
    for label, pod, containers in pods(name):
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True and context["runAsUser"] > 0, label
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, label
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), label
        for volume in pod.get("volumes", []):
            assert set(volume) - {"name"} <= {"configMap", "emptyDir", "projected", "secret"}, label
        assert containers
        for container in containers:
            confined = container["securityContext"]
            assert confined["allowPrivilegeEscalation"] is False and confined["readOnlyRootFilesystem"] is True, label
            assert confined["capabilities"] == {"drop": ["ALL"]} and not confined.get("privileged"), label
            for bound in ("requests", "limits"):
                assert {"cpu", "memory"} <= set(container["resources"][bound]), label


@pytest.mark.parametrize("name", OVERLAYS)
def test_images_are_ours_and_named_in_one_place(name: str) -> None:
    used = {image for manifest in overlay(name) for image in within(manifest, "image")}
    assert used and used <= {images.CORE, images.GPU}
    assert all(IMAGE.match(image) for image in used)


def test_a_release_names_images_by_digest(tmp_path: Path) -> None:
    """The two names in components/images.py reach everything, the steps inside the pipeline included."""
    from tamis.pipelines.build import images_component

    root = tmp_path / "manifests"
    shutil.copytree(MANIFESTS, root)
    core, gpu = (f"registry.example:5000/tamis-{name}@sha256:{digit * 64}" for name, digit in (("core", 1), ("gpu", 2)))
    (root / "components" / "images" / "kustomization.yaml").write_text(images_component(core, gpu))
    pipeline = root / "components" / "kubernetes-store" / "pipeline.yaml"
    pipeline.write_text(pipeline.read_text().replace(images.CORE, core).replace(images.GPU, gpu))
    for name in OVERLAYS:
        used = {image for manifest in build(root / "overlays" / name) for image in within(manifest, "image")}
        assert used <= {core, gpu} and core in used


@pytest.mark.parametrize("name", OVERLAYS)
def test_rights_are_few_and_named(name: str) -> None:
    for manifest in overlay(name):
        assert not manifest["kind"].startswith("Cluster") or manifest["kind"] == "ClusterQueue"
        for rule in manifest.get("rules", []):
            assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
            assert not {"impersonate", "escalate", "bind"} & set(rule["verbs"])
            assert not {"pods/exec", "roles", "rolebindings", "serviceaccounts/token"} & set(rule["resources"])
            if "secrets" in rule["resources"]:
                assert rule["verbs"] == ["get"] and rule["resourceNames"] == ["mlpipeline-minio-artifact"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_no_secret_is_in_git(name: str) -> None:
    for manifest in overlay(name):
        assert manifest["kind"] != "Secret"
        for env in within(manifest, "env"):
            for variable in env if isinstance(env, list) else []:
                if re.search("KEY|SECRET|TOKEN|PASSWORD", variable["name"]):
                    assert variable.get("value", "/var/run/secrets/").startswith("/var/run/secrets/")
    for file in MANIFESTS.rglob("*"):
        assert file.is_dir() or not re.search(r"AKIA[0-9A-Z]{16}|BEGIN [A-Z ]*PRIVATE KEY|eyJhbGciOi", file.read_text())


@pytest.mark.parametrize("name", OVERLAYS)
def test_nothing_gets_in_or_out_unless_it_is_said(name: str) -> None:
    policies = {m["metadata"]["name"]: m["spec"] for m in overlay(name) if m["kind"] == "NetworkPolicy"}
    deny = policies.pop("tamis-default-deny")
    assert set(deny) == {"podSelector", "policyTypes"} and set(deny["policyTypes"]) == {"Ingress", "Egress"}
    runs = {"matchExpressions": [{"key": "pipelines.kubeflow.org/v2_component", "operator": "Exists"}]}
    assert deny["podSelector"] == (runs if name == "dev" else {})  # dev shares its namespace with the installation
    assert {"tamis-dns", "tamis-pipelines", "tamis-store"} <= set(policies)
    for label, policy in policies.items():
        for rule in policy.get("egress", []) + policy.get("ingress", []):
            peers = rule.get("to", []) + rule.get("from", [])
            assert peers and all(peers), label
            assert rule.get("ports") or label == "tamis-ranks", label
            open_to_all = [peer for peer in peers if peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0"]
            assert not open_to_all or (label == "tamis-hub" and "10.0.0.0/8" in open_to_all[0]["ipBlock"]["except"])
    assert ("tamis-hub" in policies) == (name == "staging")


@pytest.mark.parametrize("name", OVERLAYS)
def test_everything_is_in_one_namespace_and_labelled(name: str) -> None:
    space = yaml.safe_load((MANIFESTS / "overlays" / name / "kustomization.yaml").read_text())["namespace"]
    made = build(MANIFESTS / "overlays" / name)
    for manifest in made:
        assert manifest["metadata"]["labels"]["app.kubernetes.io/name"] == "tamis"
        assert manifest["kind"] in CLUSTER or manifest["metadata"]["namespace"] == space
        for subject in manifest.get("subjects", []):
            assert subject["namespace"] == space
    spaces = [manifest for manifest in made if manifest["kind"] == "Namespace"]
    if name == "dev":
        assert not spaces
    else:
        (manifest,) = spaces
        assert manifest["metadata"]["name"] == space
        assert manifest["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        application = overlay(name)[-1]
        assert application["spec"]["destination"]["namespace"] == space
        assert application["spec"]["source"]["path"] == f"manifests/overlays/{name}"


@pytest.mark.parametrize("name", OVERLAYS)
def test_what_pods_refer_to_is_there(name: str) -> None:
    there = {(m["kind"], m["metadata"]["name"]) for m in overlay(name)}
    for _, pod, containers in pods(name):
        if account := pod.get("serviceAccountName"):
            assert ("ServiceAccount", account) in there
        for reference in [*within(pod, "configMap"), *within(containers, "configMapRef")]:
            assert ("ConfigMap", reference["name"]) in there
        for reference in within(pod, "secret"):
            assert reference == {"secretName": "mlpipeline-minio-artifact"}
        mounted = {mount["name"] for container in containers for mount in container.get("volumeMounts", [])}
        assert mounted == {volume["name"] for volume in pod.get("volumes", [])}


@pytest.mark.parametrize("name", [name for name in OVERLAYS if name != "dev"])
def test_the_order_of_a_sync(name: str) -> None:
    def wave(manifest: Manifest) -> int:
        notes = manifest["metadata"].get("annotations", {})
        return 9 if notes.get("argocd.argoproj.io/hook") else int(notes.get("argocd.argoproj.io/sync-wave", 0))

    waves = {m["kind"]: wave(m) for m in build(MANIFESTS / "overlays" / name)}
    assert waves["Namespace"] == waves["Role"] == waves["NetworkPolicy"] == waves["ExternalSecret"] == -1
    assert waves["TrainingRuntime"] == waves["Pipeline"] == 0
    assert waves["PipelineVersion"] == 1 and waves["Job"] == 9


@pytest.mark.parametrize("name", OVERLAYS)
def test_jobs_run_commands_that_there_are(name: str, tmp_path: Path) -> None:
    config = MANIFESTS / "overlays" / name / "run.yaml"
    presets = MANIFESTS / "base" / "pools.yaml"
    values = parameters(read_config(config, []), presets)
    training = settings.parse(TrainingSettings, values["training"], "training")
    queues = {m["metadata"]["name"] for m in overlay(name) if m["kind"] == "LocalQueue"}
    assert training.trainjob.queue in {*queues, ""}
    (run,) = [m for m in overlay(name) if m["kind"] == "ConfigMap" and m["metadata"]["name"] == "tamis-run"]
    assert run["data"] == {"run.yaml": config.read_text(), "pools.yaml": presets.read_text()}
    for manifest in overlay(name):
        for job in jobs(manifest):
            (container,) = job["spec"]["template"]["spec"]["containers"]
            args = _parser().parse_args(container["args"][1:])
            assert container["args"][0] == "tamis" and str(args.config) == "/etc/tamis/run.yaml"
            assert args.service_account == "tamis-runner" and args.namespace == "$(NAMESPACE)"


def test_every_job_is_the_same_but_for_its_arguments() -> None:
    """kustomize cannot share a Job between a base, a component and a Sensor; so that a change reaches all three:"""
    found = [job["spec"] for name in OVERLAYS for manifest in overlay(name) for job in jobs(manifest)]
    for spec in (copied := copy.deepcopy(found)):
        del spec["template"]["metadata"]
        (container,) = spec["template"]["spec"]["containers"]
        del container["args"], container["name"]
    assert len(copied) == 5 and all(spec == copied[0] for spec in copied)


def test_an_event_becomes_the_pool() -> None:
    """As the sensor does it: what the event says is appended to an argument of the Job that it makes."""
    made = {manifest["kind"]: manifest for manifest in overlay("prod")}
    (source,) = made["EventSource"]["spec"]["minio"].values()
    (trigger,) = made["Sensor"]["spec"]["triggers"]
    (parameter,) = trigger["template"]["k8s"]["parameters"]
    event: Any = {"notification": [{"s3": {"object": {"key": "inbox/new+rows%2Fcaf%C3%A9.jsonl"}}}]}
    for part in parameter["src"]["dataKey"].split("."):
        event = event[int(part) if part.isdigit() else part]
    (job,) = jobs(made["Sensor"])
    *path, index = parameter["dest"].split(".")
    target: Any = job
    for part in path:
        target = target[int(part) if part.isdigit() else part]
    assert parameter["operation"] == "append"
    args = [*target]
    args[int(index)] += event
    given = _parser().parse_args(args[1:])
    assert object_uri(given.object) == f"s3://{source['bucket']['name']}/inbox/new rows/café.jsonl"
    assert given.object.startswith(f"s3://{source['bucket']['name']}/{source['filter']['prefix']}")
    (submit,) = jobs(made["Job"])
    assert args[:5] == submit["spec"]["template"]["spec"]["containers"][0]["args"]


def test_kubectl_is_the_one_that_is_installed_with_the_project() -> None:
    assert shlex.quote(KUBECTL) == KUBECTL and Path(KUBECTL).is_file()
