"""A run is started once, whoever asks how often and however badly the API server behaves."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tamis.pipelines import kfp_api
from tamis.pipelines.submit import COMPILED, object_uri, parameters, version_name

from tamis import store
from tamis.cli import main
from tamis.config import RunConfig
from tamis.errors import UserError

TOKEN = "eyJhbGciOi.secret-token"
ROW = json.dumps({"prompt": "After 5?", "response": "6"}) + "\n"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PAUSE", "LOOK"):
        monkeypatch.setattr(kfp_api, name, 0.01)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Data in an absolute path, as in an image or on a mounted volume."""
    for name in ("pool", "heldout"):
        (tmp_path / f"{name}.jsonl").write_text(ROW)
    path = tmp_path / "nightly.yaml"
    values = {"pool": tmp_path / "pool.jsonl", "heldout": tmp_path / "heldout.jsonl", "methods": ["length"]}
    path.write_text(yaml.safe_dump({k: str(v) if isinstance(v, Path) else v for k, v in values.items()}))
    return path


def submit(config: Path, *options: object) -> int:
    return main(["submit", str(config), *map(str, options)])


def test_a_run_is_started_once(kfp_server: Any, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kfp_server.page = 1  # every list comes in pages
    assert submit(config, "--service-account", "tamis-runner") == 0
    (run,) = kfp_server.runs
    started = capsys.readouterr().out
    assert f"{run.display_name}: started" in started and f"/#/runs/details/{run.run_id}" in started
    assert submit(config) == 0
    assert kfp_server.runs == [run] and "there already, PENDING" in capsys.readouterr().out

    (version,) = kfp_server.versions
    assert kfp_server.uploaded == [COMPILED.read_bytes()] and version.name == version_name(COMPILED.read_text())
    assert run.display_name.startswith(version.name) and run.service_account == "tamis-runner"
    assert kfp_server.experiments[0].display_name == "tamis"
    wanted = yaml.safe_load(COMPILED.read_text().split("\n---")[0])["root"]["inputDefinitions"]["parameters"]
    given = run.runtime_config.parameters
    assert set(given) <= set(wanted) and len(given["fingerprint"]) == 32
    kinds = {
        "STRING": str,
        "LIST": list,
        "STRUCT": dict,
        "NUMBER_INTEGER": int,
        "NUMBER_DOUBLE": float,
        "BOOLEAN": bool,
    }
    assert all(isinstance(value, kinds[wanted[name]["parameterType"]]) for name, value in given.items())


def test_node_pools_become_parameters(kfp_server: Any, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = ("--set", "node_pools.training=big")
    assert submit(config, *there) == 2 and "pools.yaml cannot be read" in capsys.readouterr().err
    (config.parent / "pools.yaml").write_text("big: {accelerator_type: nvidia.com/gpu, accelerator_count: 8}\n")
    assert submit(config, *there) == submit(config, *there, "--pools", config.parent / "pools.yaml") == 0
    (run,) = kfp_server.runs
    given = run.runtime_config.parameters
    assert given["training_accelerator_count"] == "8" and "node_pools" not in given


def test_other_settings_or_other_data_make_another_run(kfp_server: Any, config: Path) -> None:
    assert submit(config) == submit(config, "--set", "budget=3") == 0
    (config.parent / "pool.jsonl").write_text(ROW * 2)
    assert submit(config) == 0
    assert len({run.display_name for run in kfp_server.runs}) == 3 and len(kfp_server.versions) == 1


@pytest.mark.parametrize(
    ("state", "runs"),
    [("SUCCEEDED", 1), ("RUNNING", 1), ("PAUSED", 1), ("FAILED", 2), ("CANCELED", 2), ("CANCELING", 2)],
)
def test_only_a_run_that_did_not_fail_is_adopted(kfp_server: Any, config: Path, state: str, runs: int) -> None:
    assert submit(config) == 0
    kfp_server.runs[0].state = state
    assert submit(config) == 0
    assert len(kfp_server.runs) == runs


def test_two_who_ask_at_once_start_one_run(kfp_server: Any, config: Path) -> None:
    assert submit(config) == 0
    name = kfp_server.runs.pop().display_name

    def another() -> None:  # it comes between our look and our start
        kfp_server.before_run = lambda: None
        kfp_server.new_run(name, "PENDING")

    kfp_server.before_run = another
    assert submit(config) == 0
    assert [run.run_id for run in kfp_server.runs] == ["run-0"]


def test_pipelines_kept_in_kubernetes_are_not_uploaded(
    kfp_server: Any, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import kfp_server_api as kfp

    kfp_server.store = "kubernetes"
    assert submit(config) == 2
    assert "apply the manifests first" in capsys.readouterr().err
    parent = kfp_server.add(
        kfp_server.pipelines, kfp.V2beta1Pipeline(name="select-and-finetune"), pipeline_id="pipeline"
    )
    name = version_name(COMPILED.read_text())
    version = kfp.V2beta1PipelineVersion(name=name, display_name=name, pipeline_id=parent.pipeline_id)
    kfp_server.add(kfp_server.versions, version, pipeline_version_id="version")
    assert submit(config) == 0
    assert len(kfp_server.runs) == 1 and not kfp_server.uploaded and not kfp_server.count("POST", "/pipelines")


def test_a_multi_user_installation(
    kfp_server: Any, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kfp_server.multi_user, kfp_server.token = True, TOKEN
    assert submit(config, "--namespace", "tamis") == 2
    assert "wants a token (401): KF_PIPELINES_SA_TOKEN_PATH" in capsys.readouterr().err
    token = tmp_path / "token"
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(token))
    assert submit(config, "--namespace", "tamis") == 2
    assert f"{token} cannot be read: No such file" in capsys.readouterr().err
    token.write_text("an old one")
    assert submit(config, "--namespace", "tamis") == 2
    assert "rejects the token (401)" in capsys.readouterr().err
    token.write_text(TOKEN + "\n")
    assert submit(config) == 2
    assert "give --namespace" in capsys.readouterr().err
    assert main(["--debug", "submit", str(config), "--namespace", "tamis"]) == 0
    assert kfp_server.experiments[0].namespace == kfp_server.pipelines[0].namespace == "tamis"
    assert {told for _, path, told in kfp_server.seen if path == "/runs"} == {f"Bearer {TOKEN}"}
    printed = capsys.readouterr()
    assert TOKEN not in printed.out + printed.err

    def renew() -> None:  # the kubelet writes a new token while we work
        kfp_server.token = "renewed"
        token.write_text("renewed")

    kfp_server.runs.clear()
    kfp_server.before_run = renew
    assert submit(config, "--namespace", "tamis") == 0


CALLS = [
    ("GET", "/healthz"),
    ("GET", "/pipelines/names/select-and-finetune"),
    ("POST", "/pipelines"),
    ("GET", "/pipelines/pipeline-0/versions"),
    ("POST", "/pipelines/upload_version"),
    ("GET", "/experiments"),
    ("POST", "/experiments"),
    ("GET", "/runs"),
    ("POST", "/runs"),
]


@pytest.mark.parametrize("status", [0, 429, 500, 503])
def test_a_busy_server_is_asked_again(kfp_server: Any, config: Path, status: int) -> None:
    for method, path in CALLS:
        kfp_server.fail(method, path, status, times=2, headers={"Retry-After": "0"})
    assert submit(config) == 0
    assert not any(fault["times"] for fault in kfp_server.faults)
    assert len(kfp_server.runs) == len(kfp_server.versions) == len(kfp_server.experiments) == 1


@pytest.mark.parametrize("status", [0, 503])
def test_a_lost_answer_does_not_start_a_second_run(kfp_server: Any, config: Path, status: int) -> None:
    for path in ("/pipelines", "/pipelines/upload_version", "/experiments", "/runs"):
        kfp_server.fail("POST", path, status, done=True)
    assert submit(config) == 0
    assert len(kfp_server.runs) == len(kfp_server.versions) == len(kfp_server.experiments) == 1


def test_what_someone_else_makes_at_the_same_time_is_used(kfp_server: Any, config: Path) -> None:
    for path in ("/pipelines", "/pipelines/upload_version", "/experiments"):
        kfp_server.fail("POST", path, 409, done=True)
    assert submit(config) == 0
    assert len(kfp_server.runs) == 1


@pytest.mark.parametrize(
    ("call", "status", "code", "message"),
    [
        (("GET", "/healthz"), 404, 2, "has nothing there (404)"),
        (("GET", "/experiments"), 403, 2, "forbids it (403): User x cannot list"),
        (("POST", "/runs"), 400, 2, "refuses it (400)"),
        (("POST", "/experiments"), 409, 2, "refuses it (409)"),
        (("GET", "/runs"), 503, 1, "failed 6 times in a row (503)"),
        (("POST", "/runs"), 429, 1, "failed 6 times in a row (429)"),
        (("GET", "/healthz"), 0, 1, "does not answer"),
    ],
)
def test_what_stays_wrong_is_said_in_a_line(
    kfp_server: Any,
    config: Path,
    call: tuple[str, str],
    status: int,
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kfp_server.fail(*call, status, times=99, message="User x cannot list it")
    assert submit(config) == code
    error = capsys.readouterr().err.strip()
    assert message in error and len(error.splitlines()) == 1


def test_a_slow_server(
    kfp_server: Any, config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kfp_api, "TIMEOUT", (1.0, 0.2))
    for call in (("GET", "/runs"), ("POST", "/runs")):
        kfp_server.fail(*call, 200, delay=0.5)
    assert submit(config) == 0
    assert len(kfp_server.runs) == 1
    kfp_server.fail("GET", "/healthz", 200, times=99, delay=0.5)
    assert submit(config) == 1
    assert "does not answer" in capsys.readouterr().err


def test_something_else_than_the_pipelines_api(
    kfp_server: Any, config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kfp_server.html = True
    assert submit(config) == 2
    assert "a page to log in" in capsys.readouterr().err
    for wrong in ("http://127.0.0.1:1", "ml-pipeline:8888", "http://me:password@host"):
        assert submit(config, "--endpoint", wrong) != 0
        error = capsys.readouterr().err
        assert ("does not answer" in error or "where is the pipelines API?" in error) and "password" not in error


def test_waiting_ends_with_the_fate_of_the_run(
    kfp_server: Any, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import kfp_server_api as kfp

    kfp_server.states = ["PENDING", "RUNNING", "SUCCEEDED"]
    assert submit(config, "--wait") == 0
    assert "SUCCEEDED" in capsys.readouterr().out
    assert submit(config, "--wait") == 0  # it is over already
    (run,) = kfp_server.runs

    run.state = "RUNNING"
    kfp_server.states = ["RUNNING", "FAILED"]
    run.run_details = kfp.V2beta1RunDetails(
        task_details=[kfp.V2beta1PipelineTaskDetail(display_name="finetune", state="FAILED")]
    )
    run.error = kfp.GoogleRpcStatus(code=2, message="exit code 1")
    assert submit(config, "--wait") == 1
    assert "ended as FAILED at finetune: exit code 1; see http" in capsys.readouterr().err

    run.state = "RUNNING"
    kfp_server.states = ["CANCELING", "CANCELED"]
    kfp_server.fail("GET", f"/runs/{run.run_id}", 503, times=20)  # away for a while
    assert submit(config, "--wait") == 1
    assert "ended as CANCELED" in capsys.readouterr().err and len(kfp_server.runs) == 1


def test_a_schedule_is_made_left_alone_and_made_again(
    kfp_server: Any, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daily = ("--recurring", "0 3 * * *")
    assert submit(config, *daily) == 0
    (made,) = kfp_server.schedules
    assert made.display_name == "select-and-finetune-nightly" and not kfp_server.runs
    sent = kfp_api.kfp.ApiClient().sanitize_for_serialization(made)
    assert sent["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}} and sent["mode"] == "ENABLE"
    assert sent["pipeline_version_reference"]["pipeline_version_id"] == "", "empty: always the newest version"
    assert sent["runtime_config"]["parameters"]["fingerprint"] == "", "each run takes that of the data as they are then"
    assert submit(config, *daily) == 0
    assert kfp_server.schedules == [made] and "unchanged" in capsys.readouterr().out

    def kept() -> list[str]:
        return [schedule.recurring_run_id for schedule in kfp_server.schedules]

    for change in (["--set", "budget=3"], []):
        before = kept()
        kfp_server.fail("POST", "/recurringruns", 503, done=True)
        assert submit(config, *daily, *change) == 0
        assert len(kept()) == 1 and kfp_server.count("DELETE", before[0]) == 1
        kfp_server.add(kfp_server.schedules, kfp_server.schedules[0], recurring_run_id="stray")  # ids stay apart
        kfp_server.schedules.pop()
    kfp_server.schedules[0].mode = "DISABLE"  # someone paused it by hand; Git says otherwise
    assert submit(config, *daily) == 0
    assert kfp_server.schedules[0].mode == "ENABLE" and "replaced" in capsys.readouterr().out
    assert submit(config, "--recurring", "daily") == 2
    release = ("--set", "workspace=/releases", "--set", "release=model/{digest}")
    assert submit(config, *daily, *release) == 2 and "cannot fill in {digest}" in capsys.readouterr().err


def test_a_new_object_becomes_the_pool_of_one_run(kfp_server: Any, config: Path, bucket: str) -> None:
    """With a real store: the event names the object as S3 does, and its content decides whether there is a run."""
    pool, event = f"{bucket}/new rows/café+1.jsonl", f"{bucket}/new+rows/caf%C3%A9%2B1.jsonl"
    assert submit(config, "--object", event) == 2, "there is no such object"
    for content, runs in ((ROW, 1), (ROW, 1), (ROW * 2, 2)):
        store.write_bytes(pool, content.encode())
        assert submit(config, "--object", event) == 0
        assert len(kfp_server.runs) == runs
    assert {run.runtime_config.parameters["pool"] for run in kfp_server.runs} == {pool}


def test_the_key_of_a_new_object_is_decoded() -> None:
    assert object_uri("s3://inbox/new+rows/caf%C3%A9%2B1.jsonl") == "s3://inbox/new rows/café+1.jsonl"


@pytest.mark.parametrize(
    "values",
    [
        {"pool": "data/pool.jsonl"},
        {"pool": "s3://b/p", "heldout": "../held.jsonl"},
        {"pool": "s3://b/p", "model": "./models/mine"},
        {"pool": "s3://b/p", "evaluation": {"tasks": ["arc_easy", "tasks/mine"]}},
    ],
)
def test_a_path_on_this_machine_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="is a path on this machine"):
        parameters(RunConfig(**values))


def test_names_that_a_cluster_can_read_pass() -> None:
    parameters(RunConfig(pool="s3://b/p", model="org/name", heldout="/data/h.jsonl", evaluation={"tasks": ["arc"]}))


def test_it_needs_only_what_the_small_image_has(kfp_server: Any, config: Path) -> None:
    code = (
        "import sys; from tamis.cli import main; code = main(sys.argv[1:])\n"
        "absent = {'torch', 'transformers', 'datasets', 'lm_eval', 'peft', 'sklearn', 'kfp', 'kubernetes'}\n"
        "assert not absent & set(sys.modules); sys.exit(code)"
    )
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-c", code, "submit", str(config)], env=plain, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
