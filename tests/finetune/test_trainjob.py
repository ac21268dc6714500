"""The launcher against an API server that speaks the real protocol."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from trainjob_api import NAMESPACE, ApiServer

from tamis.errors import TamisError, UserError
from tamis.finetune import TrainingSettings
from tamis.finetune.trainjob import cluster as cluster_module
from tamis.finetune.trainjob import launch, spec
from tamis.finetune.trainjob.cluster import Cluster

MANIFESTS = Path(__file__).parents[2] / "manifests"
NAME = spec.name_of("s3://bucket/models/abc")


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    server = ApiServer()
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(server.kubeconfig(tmp_path)))
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path)))
    monkeypatch.delenv("KFP_POD_NAME", raising=False)
    monkeypatch.setattr(cluster_module, "PAUSE", 0.01)
    monkeypatch.setattr(cluster_module, "WATCH", 1)
    monkeypatch.setattr("tamis.finetune.trainjob.pods.PAUSE", 0.05)
    yield server
    server.close()


def settings(nodes: int = 2, **trainjob: Any) -> TrainingSettings:
    return TrainingSettings.model_validate({"launcher": "trainjob", "nodes": nodes, "trainjob": trainjob})


def body(how: TrainingSettings, **changes: Any) -> dict[str, Any]:
    return spec.trainjob(NAME, how, 1, arguments=["s3://b/in", "d"], environment={"A": "b"}, **changes)


def run(how: TrainingSettings, **changes: Any) -> None:
    """What `launch.train` does with the cluster."""
    launch._run(Cluster(), body(how, **changes), how)


def later(*steps: Any) -> None:
    """Takes steps one after the other, a moment apart, beside the test."""

    def go() -> None:
        for step in steps:
            time.sleep(0.15)
            step()

    threading.Thread(target=go, daemon=True).start()


def completes(api: ApiServer) -> None:
    api.on_create.append(lambda job: later(lambda: api.set_condition(NAME, "Complete")))


class TestTheObject:
    def test_everything_that_was_asked_for_is_in_it(self) -> None:
        how = settings(
            nodes=4,
            resources={"nvidia.com/gpu": 8.0, "memory": "400Gi"},
            shared_memory="16Gi",
            node_selector={"pool": "h100"},
            tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            secret="tamis-store",
            queue="gpus",
            timeout=3600,
        )
        job = body(how, image="tamis@sha256:0", owner={"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"})
        trainer = job["spec"]["trainer"]
        assert (trainer["numNodes"], trainer["image"]) == (4, "tamis@sha256:0")
        assert trainer["resourcesPerNode"]["limits"] == {"nvidia.com/gpu": "8", "memory": "400Gi"}
        patch = job["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"][0]
        pod = patch["template"]["spec"]["template"]["spec"]
        assert pod["nodeSelector"] == {"pool": "h100"}
        assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes["shared-memory"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "16Gi"}
        assert volumes["store"]["secret"] == {"secretName": "tamis-store"}
        runtime = yaml.safe_load((MANIFESTS / "base" / "trainingruntime.yaml").read_text())
        (template,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
        assert template["name"] == patch["name"]
        assert volumes.keys() <= {one["name"] for one in template["template"]["spec"]["template"]["spec"]["volumes"]}
        assert runtime["metadata"]["name"] == job["spec"]["runtimeRef"]["name"]
        assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
        assert job["spec"]["activeDeadlineSeconds"] == 3600

    def test_the_name_follows_from_the_training_and_names_a_host(self) -> None:
        assert spec.name_of("a") == spec.name_of("a") != spec.name_of("b")
        assert len(f"{spec.name_of('a')}-node-0-999") <= 63

    def test_what_the_cluster_or_the_launcher_adds_does_not_make_it_another(self) -> None:
        def digest(how: TrainingSettings, **changes: Any) -> str:
            return str(body(how, **changes)["metadata"]["annotations"][spec.SPEC])

        owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "another pod of the launcher"}
        assert digest(settings()) == digest(settings(), owner=owner)
        assert len({digest(settings()), digest(settings(), image="b"), digest(settings(queue="q"))}) == 3

    def test_more_nodes_need_the_launcher(self) -> None:
        with pytest.raises(ValueError, match="more than one needs launcher=trainjob"):
            TrainingSettings(nodes=2)

    def test_it_needs_a_workspace(self, tmp_path: Path) -> None:
        from tamis.finetune import finetune

        with pytest.raises(UserError, match="needs a workspace in a store"):
            finetune(tmp_path, "demo", tmp_path / "out", settings(), template="chat")


class TestItsLife:
    def test_created_run_and_complete(self, api: ApiServer, capfd: pytest.CaptureFixture[str]) -> None:
        def controller(job: dict[str, Any]) -> None:
            api.logs[api.add_pod(NAME, 0, {"running": {}})] = ["step 1/2: loss 3.0", "step 2/2: loss 2.0"]
            job["status"] = {"jobsStatus": [{"name": "node", "ready": 1, "active": 1}]}
            later(lambda: api.tell("MODIFIED", job), lambda: None, lambda: api.set_condition(NAME, "Complete"))

        api.on_create.append(controller)
        run(settings())
        said = capfd.readouterr().err
        assert f"TrainJob {NAME} created in {NAMESPACE}" in said
        assert f"TrainJob {NAME} runs" in said
        assert "step 2/2: loss 2.0" in said
        assert said.strip().endswith("is complete")

    def test_a_queue_is_no_failure_however_long(self, api: ApiServer, capfd: pytest.CaptureFixture[str]) -> None:
        def kueue(job: dict[str, Any]) -> None:
            job["spec"]["suspend"] = True  # as Kueue does; the launcher must not take it for another object
            api.set_condition(NAME, "Suspended", reason="Suspended")
            time.sleep(2.5)  # longer than a watch lasts
            api.set_condition(NAME, "Suspended", holds=False, reason="Resumed")
            later(lambda: api.set_condition(NAME, "Complete"))

        api.on_create.append(kueue)
        run(settings(queue="gpus", timeout=1))  # waiting does not count
        assert "waits in its queue" in capfd.readouterr().err

    def test_a_start_that_takes_too_long_is_an_error_only_if_asked(self, api: ApiServer) -> None:
        api.on_create.append(lambda job: api.set_condition(NAME, "Suspended"))
        with pytest.raises(TamisError, match="has not begun within 1 s .it waits in its queue."):
            run(settings(start_timeout=1))

    def test_a_failure_says_what_the_cluster_says(self, api: ApiServer) -> None:
        def controller(job: dict[str, Any]) -> None:
            api.add_pod(NAME, 0, {"running": {}})
            killed = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "step 3/9\ntamis: no memory"}}
            api.add_pod(NAME, 1, killed, phase="Failed")
            api.set_condition(NAME, "Failed", reason="JobsFailed", message="jobset failed: too many restarts")

        api.on_create.append(controller)
        with pytest.raises(TamisError) as failed:
            run(settings())
        assert "JobsFailed: jobset failed: too many restarts" in str(failed.value)
        assert f"{NAME}-node-0-1 OOMKilled (exit 137): tamis: no memory" in str(failed.value)
        assert f"{NAME}-node-0-0" not in str(failed.value)

    def test_deleted_by_somebody_else(self, api: ApiServer) -> None:
        api.on_create.append(lambda job: later(lambda: api.delete(NAME)))
        with pytest.raises(TamisError, match="deleted by somebody else"):
            run(settings())

    def test_deleted_and_made_again_by_somebody_else(self, api: ApiServer) -> None:
        def swap(job: dict[str, Any]) -> None:
            api.on_create.clear()
            api.delete(NAME)
            api.create(body(settings()))

        api.on_create.append(swap)
        with pytest.raises(TamisError, match="deleted by somebody else"):
            run(settings())


class TestFoundAgain:
    def test_a_launcher_that_was_started_again_goes_on_with_it(self, api: ApiServer, capfd: Any) -> None:
        api.create(body(settings()))
        later(lambda: api.set_condition(NAME, "Complete"))
        run(settings(), owner={"apiVersion": "v1", "kind": "Pod", "name": "second", "uid": "2"})
        assert "is there already" in capfd.readouterr().err
        assert len(api.jobs) == 1

    def test_one_that_runs_otherwise_is_not_taken_over(self, api: ApiServer) -> None:
        api.create(body(settings(), image="old"))
        with pytest.raises(UserError, match="with another image, placement or input"):
            run(settings(), image="new")
        assert NAME in api.jobs

    def test_one_that_failed_is_made_anew(self, api: ApiServer) -> None:
        api.create(body(settings()))
        api.set_condition(NAME, "Failed")
        completes(api)
        run(settings())
        assert sum(one.startswith("DELETE") for one in api.requests) == 1

    def test_one_that_is_being_deleted_is_waited_for(self, api: ApiServer) -> None:
        old = api.create(body(settings()))
        old["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        completes(api)
        later(lambda: api.delete(NAME))
        run(settings())


class TestATroubledServer:
    def test_a_storm_of_errors_and_resets_is_weathered(self, api: ApiServer) -> None:
        api.faults += [503, 500, "reset", 429, 502, 504, "reset"]
        completes(api)
        run(settings())

    def test_a_create_whose_answer_was_lost_is_not_made_twice(self, api: ApiServer) -> None:
        completes(api)
        create = api.create

        def lost(job: dict[str, Any]) -> dict[str, Any]:
            api.create = create  # type: ignore[method-assign]
            create(job)
            raise ConnectionResetError

        api.create = lost  # type: ignore[method-assign]
        run(settings())
        assert sum(one.startswith("POST") for one in api.requests) == 2

    @pytest.mark.parametrize("in_stream", [False, True])
    def test_410_gone_means_to_read_anew(self, api: ApiServer, in_stream: bool) -> None:
        api.gone_in_stream = in_stream

        def controller(job: dict[str, Any]) -> None:
            time.sleep(0.2)
            api.forget()
            api.jobs[NAME].setdefault("status", {})["conditions"] = [{"type": "Complete", "status": "True"}]

        api.on_create.append(controller)
        begun = time.monotonic()
        run(settings())
        assert time.monotonic() - begun < 5

    def test_a_slow_server(self, api: ApiServer) -> None:
        api.faults += [0.4, 0.4, 0.4]
        completes(api)
        run(settings())

    def test_a_server_that_never_answers(self, api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cluster_module, "PATIENCE", 0.2)
        api.faults += [503] * 1000
        with pytest.raises(TamisError, match="has not answered for 0 s: 503"):
            run(settings())

    @pytest.mark.parametrize(
        ("status", "said"),
        [(403, "give it the Role"), (404, "install Kubeflow Trainer 2"), (422, "refuses to create")],
    )
    def test_a_refusal_is_told_at_once(self, api: ApiServer, status: int, said: str) -> None:
        api.faults.append(status)
        with pytest.raises(UserError, match=said):
            run(settings())
        assert len(api.requests) == 1

    def test_a_field_that_the_schema_does_not_have_is_refused(self, api: ApiServer) -> None:
        job = body(settings())
        job["spec"]["trainer"]["nodes"] = 2
        with pytest.raises(UserError, match="strict decoding error"):
            Cluster().create(job)


def test_the_owner_is_the_workflow_of_the_pod(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "run-1", "uid": "w"}
    api.pods["launcher"] = {
        "metadata": {"name": "launcher", "uid": "p", "ownerReferences": [{**workflow, "controller": True}]},
        "spec": {"containers": [{"name": "wait", "image": "argo"}, {"name": "main", "image": "tamis@sha256:1"}]},
    }
    monkeypatch.setenv("KFP_POD_NAME", "launcher")
    assert Cluster().launcher() == ("tamis@sha256:1", workflow)
    api.pods["launcher"]["metadata"]["ownerReferences"] = []
    assert Cluster().launcher()[1] == {"apiVersion": "v1", "kind": "Pod", "name": "launcher", "uid": "p"}
    assert Cluster("elsewhere").launcher() == ("", None)  # an owner must be in the same namespace


CANCELLED = """
import sys
from tamis.finetune.trainjob import launch
from tamis.finetune.trainjob.cluster import Cluster
from tamis.finetune import TrainingSettings
from tamis.finetune.trainjob import spec
how = TrainingSettings(launcher="trainjob")
with launch._told_to_end():
    launch._run(Cluster(), spec.trainjob(sys.argv[1], how, 1, arguments=[], environment={}), how)
"""


def test_a_cancelled_launcher_deletes_its_trainjob(api: ApiServer) -> None:
    process = subprocess.Popen([sys.executable, "-c", CANCELLED, NAME], env=dict(os.environ))
    while not any("watch=True" in one for one in api.requests):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 143
    assert not api.jobs
