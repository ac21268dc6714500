"""The training process itself, in this process: every stage learns exactly what a plain loop learns."""

import json
import os
import pickle
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tamis.finetune.examples import write_encoded
from tamis.finetune.plan import plan
from tamis.finetune.settings import TrainingSettings
from tamis.lm.encode import Encoded

SETTINGS = TrainingSettings(batch_size=2, accumulation=2, max_steps=5, learning_rate=3e-4, seed=1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def alone() -> Iterator[Callable[[], None]]:
    """Environment of a single training process; calling it forgets the training before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DS_ACCELERATOR", "cpu")
        patch.setenv("GLOO_SOCKET_IFNAME", "lo")
        patch.setenv("MASTER_ADDR", "127.0.0.1")
        for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1")):
            patch.setenv(name, value)

        def forget() -> None:
            from accelerate.state import AcceleratorState, GradientState
            from transformers.integrations.deepspeed import unset_hf_deepspeed_config

            AcceleratorState._reset_state(reset_partial_state=True)
            GradientState._reset_state()
            unset_hf_deepspeed_config()

        patch.setenv("MASTER_PORT", str(free_port()))
        yield forget
        forget()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


@pytest.fixture
def train(
    alone: Callable[[], None], small_model: Path, rows: list[Encoded], tmp_path: Path
) -> Callable[..., dict[str, Any]]:
    """Trains in this process; the content of `result.json`."""

    def run(settings: TrainingSettings, dtype: str = "float32", resume: str | None = None) -> dict[str, Any]:
        from tamis.finetune.train import main

        alone()
        write_encoded(tmp_path / "rows.parquet", rows)
        job = {
            "model": str(small_model),
            "dtype": dtype,
            "settings": settings.model_dump(mode="json"),
            "processes": 1,
            "gpu": False,
            "work": str(tmp_path),
            "resume": resume,
            "checkpoints": None,
        }
        (tmp_path / "job.json").write_text(json.dumps(job))
        main(tmp_path / "job.json")
        return dict(json.loads((tmp_path / "result.json").read_text()))

    return run


@pytest.fixture(scope="module")
def reference(plain_training: Any, small_causal_model: Any, rows: list[Encoded]) -> tuple[list[float], dict[str, Any]]:
    """Losses and weights of the plain loop."""
    model = small_causal_model()
    return plain_training(model, rows, SETTINGS), model.state_dict()


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_every_stage_equals_a_plain_loop(
    stage: int, train: Any, tmp_path: Path, reference: tuple[list[float], dict[str, Any]], rows: list[Encoded]
) -> None:
    losses, weights = reference
    result = train(SETTINGS.model_copy(update={"zero_stage": stage}))
    assert losses[-1] < 0.8 * losses[0]
    assert result["losses"] == pytest.approx(losses, rel=1e-4)
    lengths = [len(row.ids) for row in rows]
    read = [i for step in plan(lengths, SETTINGS, 1) for batch in step for i in batch]
    assert result["tokens"] == sum(lengths[i] for i in read)
    tuned = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert tuned.dtype == torch.float32
    for name, weight in tuned.state_dict().items():
        assert float((weight - weights[name]).abs().max()) < 2e-5, name


@pytest.mark.parametrize("stage", [1, 3])
def test_adapters_equal_a_plain_loop(
    stage: int, train: Any, tmp_path: Path, plain_training: Any, small_model: Path, rows: list[Encoded]
) -> None:
    from tamis.finetune.train import load
    from tamis.lm.pack import ATTENTION

    settings = SETTINGS.model_copy(
        update={"method": "lora", "zero_stage": stage, "learning_rate": 3e-3, "lora_rank": 4}
    )
    result = train(settings)
    torch.manual_seed(settings.seed)
    model = load({"model": str(small_model), "dtype": "float32"}, settings)
    assert model.config._attn_implementation == ATTENTION
    model.base_model.model.set_attn_implementation("eager")
    losses = plain_training(model, rows, settings)
    assert losses[-1] < 0.8 * losses[0]
    assert result["losses"] == pytest.approx(losses, rel=1e-4)
    merged = model.merge_and_unload().state_dict()
    for name, weight in AutoModelForCausalLM.from_pretrained(tmp_path / "model").state_dict().items():
        assert float((weight - merged[name]).abs().max()) < 2e-5, name


@pytest.mark.parametrize(("stage", "method"), [(0, "full"), (2, "full"), (3, "lora")])
def test_bfloat16_learns_with_float32_masters(
    stage: int, method: str, train: Any, tmp_path: Path, reference: tuple[list[float], dict[str, Any]]
) -> None:
    change = {"zero_stage": stage, "method": method, "learning_rate": 3e-4 if method == "full" else 3e-3}
    result = train(SETTINGS.model_copy(update=change), dtype="bfloat16")
    assert result["losses"][0] == pytest.approx(reference[0][0], rel=0.01)
    assert result["losses"][-1] < 0.85 * result["losses"][0]
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "model").dtype == torch.bfloat16


@pytest.mark.parametrize(("stage", "said"), [(0, "the loss became (nan|inf)"), (2, "the gradients became infinite")])
def test_a_training_that_runs_away_is_ended(stage: int, said: str, train: Any, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=f"{said}.* at step .*; lower learning_rate"):
        train(SETTINGS.model_copy(update={"learning_rate": 1e30, "zero_stage": stage}))
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize(
    ("stage", "dtype", "method"),
    [(0, "float32", "full"), (1, "bfloat16", "full"), (2, "float32", "lora"), (3, "bfloat16", "full")],
)
def test_a_checkpoint_gives_back_everything(stage: int, dtype: str, method: str, train: Any, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"checkpoint_every": 4, "zero_stage": stage, "method": method})
    first = train(settings, dtype=dtype)
    # The last step is a checkpoint too, and only the newest is kept.
    assert [c.name for c in tmp_path.glob("checkpoint-*")] == ["checkpoint-5"]
    assert (tmp_path / "checkpoint-5" / "whole").exists()
    assert not list(tmp_path.glob("checkpoint-5/*.safetensors"))  # the weights are in DeepSpeed's files, once
    weights = (tmp_path / "model" / "model.safetensors").read_bytes()
    again = train(settings, dtype=dtype, resume=str(tmp_path / "checkpoint-5"))
    assert again["losses"] == first["losses"]
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == weights


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deepspeed.runtime.checkpoint_engine.torch_checkpoint_engine import TorchCheckpointEngine

    from tamis.finetune.train import read_no_code

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"module": Evil()}, tmp_path / "mp_rank_00_model_states.pt")
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "0")  # and as it was before, afterwards
    read_no_code()
    with pytest.raises(pickle.UnpicklingError, match="posix.mkdir"):
        TorchCheckpointEngine().load(str(tmp_path / "mp_rank_00_model_states.pt"))
    assert not (tmp_path / "ran").exists()


def test_a_model_that_deepspeed_does_not_train_is_refused(alone: Callable[[], None]) -> None:
    import deepspeed

    from tamis.finetune.train import Watch

    alone()
    deepspeed.init_distributed(dist_backend="gloo")
    watch = Watch(processes=1, location=None)
    watch.trainer = SimpleNamespace(model_wrapped=torch.nn.Linear(2, 2))  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match="Linear in 1 processes would train, not DeepSpeed in 1"):
        watch.on_train_begin(None, None, None)
