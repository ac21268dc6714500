"""Two nodes that share nothing but the store, from the TrainJob to the published model; one is killed on the way."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from kubelet import Kubelet
from trainjob_api import ApiServer

from tamis import store
from tamis.errors import TamisError
from tamis.finetune import TrainingSettings, finetune
from tamis.finetune.examples import encode_selection, read_selection
from tamis.lm.encode import Encoder
from tamis.lm.templates import get_template
from tamis.pool.rows import Row, to_table
from tamis.store import Connection

SECRET = "store-keys"


@pytest.fixture
def selected(row: Callable[..., Row], tmp_path: Path) -> Path:
    rows = [row(f"What is {i} plus {i + 1}?", f"It is {2 * i + 1}." * (1 + i % 3)) for i in range(7)]
    pq.write_table(to_table(rows), tmp_path / "selected.parquet")
    return tmp_path / "selected.parquet"


@pytest.fixture
def cluster(tmp_path: Path, s3: Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubelet]:
    api = ApiServer()
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path)))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    monkeypatch.setattr("tamis.finetune.trainjob.pods.PAUSE", 0.2)
    keys = {"accesskey": s3.access_key, "secretkey": s3.secret_key}
    kubelet = Kubelet(api, tmp_path / "nodes", {SECRET: keys}, restarts=1)
    yield kubelet
    for node in [one for attempt in kubelet.attempts for one in attempt]:
        if node.poll() is None:
            os.killpg(node.pid, signal.SIGKILL)
    api.close()


def training(stage: int, **changes: Any) -> TrainingSettings:
    return TrainingSettings.model_validate(
        {
            "batch_size": 2,
            "max_steps": 6,
            "learning_rate": 3e-4,
            "zero_stage": stage,
            "checkpoint_every": 2,
            "launcher": "trainjob",
            "nodes": 2,
            "trainjob": {"secret": SECRET},
            **changes,
        }
    )


def complete_steps(workspace: str) -> list[str]:
    return [name for name, _ in store.list_keys(workspace) if name.endswith("complete.json")]


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_a_killed_node_costs_the_steps_since_the_checkpoint(
    stage: int,
    cluster: Kubelet,
    bucket: str,
    selected: Path,
    small_model: Path,
    tmp_path: Path,
    plain_training: Any,
    small_causal_model: Any,
) -> None:
    def kill() -> None:
        while not complete_steps(bucket):
            time.sleep(0.05)
        os.killpg(cluster.attempts[0][1].pid, signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    out, settings = tmp_path / "out", training(stage)
    result = finetune(selected, str(small_model), out, settings, template="chat", workspace=bucket)

    assert len(cluster.attempts) == 2
    assert [path.name for path in out.iterdir()] == ["training.json"]
    content = json.loads((out / "training.json").read_text())
    assert content["resumed_from"] in ("checkpoint-2", "checkpoint-4")
    assert not cluster.api.jobs  # it is deleted when it is done
    assert not complete_steps(bucket)

    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(small_model)
    rows = encode_selection(read_selection(selected), Encoder(tokenizer, get_template("chat", tokenizer), 2048)).rows
    alone = settings.model_copy(update={"accumulation": 2})  # the same rows a step in one process
    assert result.losses == pytest.approx(plain_training(small_causal_model(), rows, alone), rel=1e-4)


def test_a_trainjob_leaves_its_model_in_the_workspace(
    cluster: Kubelet,
    bucket: str,
    selected: Path,
    small_model: Path,
    tmp_path: Path,
    s3: Connection,
    capfd: pytest.CaptureFixture[str],
) -> None:
    out, short = tmp_path / "out", {"max_steps": 2, "nodes": 1, "checkpoint_every": 0}
    result = finetune(selected, str(small_model), out, training(2, **short), template="chat", workspace=bucket)
    assert [path.name for path in out.iterdir()] == ["training.json"]
    assert (len(result.losses), len(cluster.attempts)) == (2, 1)
    assert "model.safetensors" in store.read_manifest(str(result.model_uri)).files
    assert not cluster.api.jobs  # it is deleted when it is done
    assert {name.split("/")[0] for name, _ in store.list_keys(bucket)} == {"bases", "models"}

    # Elsewhere the same training is not done again, by whatever launcher.
    here = training(2, **short, launcher="in-pod", processes=1)
    again = finetune(selected, str(small_model), tmp_path / "other", here, template="chat", workspace=bucket)
    assert (again.losses, again.model_uri) == (result.losses, result.model_uri)

    said = capfd.readouterr().err + "".join(cluster.api.requests) + (out / "training.json").read_text()
    assert s3.secret_key not in said


@pytest.mark.slow
def test_a_training_that_fails_on_its_nodes_says_why(
    cluster: Kubelet, bucket: str, selected: Path, small_model: Path, tmp_path: Path
) -> None:
    cluster.restarts = 0
    wild = training(2, nodes=1, learning_rate=1e30, checkpoint_every=0)
    with pytest.raises(TamisError) as failed:
        finetune(selected, str(small_model), tmp_path / "out", wild, template="chat", workspace=bucket)
    assert "JobsFailed: jobset failed" in str(failed.value)
    assert "Error (exit 1): tamis: the training failed: FloatingPointError" in str(failed.value)
    assert not (tmp_path / "out" / "training.json").exists()
