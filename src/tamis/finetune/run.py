"""The fine-tune step: checks everything, starts the training processes, and keeps their result whole or not at all."""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.errors import TamisError, UserError
from tamis.finetune.examples import Examples, encode_selection, learned, read_selection, write_encoded
from tamis.finetune.launch import launch
from tamis.finetune.settings import TrainingSettings
from tamis.pool.shards import combined_digest, difference, write_json
from tamis.settings import nearest

RESULT = "training.json"
WORK = ".training"


@dataclass(frozen=True)
class Training:
    """A finished training.

    Attributes:
        folder: The tuned model.
        losses: Mean loss of the answer tokens in each step, nats.
        rows: Rows that were trained on.
        skipped: Rows that could not be, with counts by reason.
        cut: Rows that lost their end to max_length.
        steps: Optimizer steps.
        tokens: Tokens read, all epochs, without padding.
        answer_tokens: Tokens of one epoch that were learned.
        seconds: The training itself.
        total_seconds: With the start of the processes and the saving.
        tokens_per_second: Tokens read by all processes in a second of the training itself.
        peak_memory_mib: Of the process that needed most: its GPU's memory, or resident memory without one.
        settings: How it was trained.
        identity: What it was made from.
    """

    folder: Path
    losses: list[float]
    rows: int
    skipped: dict[str, int]
    cut: int
    steps: int
    tokens: int
    answer_tokens: int
    seconds: float
    total_seconds: float
    tokens_per_second: float
    peak_memory_mib: int
    settings: dict[str, Any]
    identity: dict[str, Any]

    @property
    def final_loss(self) -> float:
        """Loss of the last step."""
        return self.losses[-1]


def finetune(
    selected: Path, model: str, out: Path, settings: TrainingSettings, *, template: str, workspace: str = ""
) -> Training:
    """Fine-tunes a model on a selection.

    A folder that holds the same training already is used as it is; one in which it was interrupted goes on from its
    last whole checkpoint.

    Args:
        selected: A Parquet file of rows, or a folder with `selected.parquet`.
        model: A model's folder, a hub id, or `demo`.
        out: Gets the tuned model and, last, `training.json`; without that file it is incomplete.
        settings: How to train.
        template: How conversations are written.
        workspace: Where the tuned model is to live by reference.

    Raises:
        UserError: No row to train on, no such model, or `out` holds something else.
        TamisError: The training failed; says where its log is.
    """
    import torch
    from transformers import AutoConfig, AutoTokenizer

    from tamis.lm.encode import Encoder
    from tamis.lm.load import digest, resolve
    from tamis.lm.templates import get_template

    if workspace:
        raise UserError("workspace: a tuned model cannot be kept there yet; leave it empty")
    started = time.monotonic()
    gpus = torch.cuda.device_count()
    processes = settings.processes or gpus or 1
    if gpus and processes > gpus:
        raise UserError(f"training.processes is {processes}, but this machine has {gpus} GPUs")
    rows = read_selection(selected)
    where = resolve(model)
    try:
        config = AutoConfig.from_pretrained(where, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(f"model '{model}' cannot be loaded: {str(error).strip().splitlines()[0]}") from error
    check_targets(config, settings)
    version = digest(Path(where)) if Path(where).is_dir() else str(getattr(config, "_commit_hash", ""))
    dtype = training_type(settings)
    identity = {
        "rows": combined_digest(row.id for row in rows),
        "model": version,
        "template": template,
        "processes": processes,
        "settings": settings.model_dump(mode="json", exclude={"processes", "checkpoint_every"}) | {"dtype": dtype},
    }
    done = finished(out, identity)
    if done:
        return done
    window = int(getattr(config.get_text_config(), "max_position_embeddings", 0) or tokenizer.model_max_length)
    encoder = Encoder(tokenizer, get_template(template, tokenizer), min(settings.max_length, window))
    examples = encode_selection(rows, encoder)
    if not examples.rows:
        why = "; ".join(f"{count} x {reason}" for reason, count in examples.skipped.items()) or "it is empty"
        raise UserError(f"{selected} has no row to train on: {why}")
    try:
        with work_folder(out, identity) as (work, held):
            job = {
                "model": where,
                "dtype": dtype,
                "settings": settings.model_dump(mode="json"),
                "processes": processes,
                "gpu": bool(gpus),
                "work": str(work),
                "resume": last_checkpoint(work),
            }
            write_json(work / "job.json", job)
            write_encoded(work / "rows.parquet", examples.rows)
            if not (work / "result.json").exists():  # it does where only the moving of the files failed
                launch(
                    "tamis.finetune.train",
                    [str(work / "job.json")],
                    processes=processes,
                    gpu=bool(gpus),
                    log=work / "training.log",
                    held=held,
                )
            result = json.loads((work / "result.json").read_text())
            content = summary(result, examples, settings, identity) | {
                "resumed_from": job["resume"] and Path(str(job["resume"])).name,
                "total_seconds": round(time.monotonic() - started, 2),
            }
            publish(work / "model", out)
            write_json(out / RESULT, content)
    except OSError as error:
        raise TamisError(
            f"{out} cannot be written: {error.strerror or error}; free some space or choose --out"
        ) from error
    shutil.rmtree(out / WORK, ignore_errors=True)
    return _training(out, content)


def training_type(settings: TrainingSettings) -> str:
    """The type to compute and to save in, by name; see `TrainingSettings.dtype`."""
    if settings.dtype != "auto":
        return settings.dtype
    import torch

    return "bfloat16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"


def check_targets(config: Any, settings: TrainingSettings) -> None:
    """Refuses names of layers that the model does not have.

    Raises:
        UserError: The first such name, with the nearest known.
    """
    if settings.method != "lora" or not settings.lora_targets:
        return
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        modules = AutoModelForCausalLM.from_config(config, trust_remote_code=False).named_modules()
    known = sorted({name.rsplit(".", 1)[-1] for name, module in modules if isinstance(module, torch.nn.Linear)})
    for target in settings.lora_targets:
        if target not in known:
            raise UserError(
                f"training.lora_targets: the model has no linear layer '{target}'; {nearest(target, known)}"
            )


def finished(out: Path, identity: dict[str, Any]) -> Training | None:
    """The training that a folder holds, None where there is nothing or an unfinished one.

    Raises:
        UserError: It holds another training, or files that are not ours.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; choose another --out")
    if (out / RESULT).exists():
        content = read_result(out)
        if content.identity != identity:
            raise UserError(
                f"{out} was trained with {difference(content.identity, identity)}; choose another --out, or delete it"
            )
        return content
    if out.exists() and not (out / WORK).exists() and any(out.iterdir()):
        raise UserError(f"{out} holds files of something else; choose an empty --out")
    return None


def read_result(out: Path) -> Training:
    """Reads what a finished training left.

    Raises:
        UserError: The training in that folder did not finish.
    """
    try:
        return _training(out, json.loads((out / RESULT).read_text()))
    except FileNotFoundError:
        raise UserError(f"{out} holds no finished training ({RESULT} is missing); run the step again") from None
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{out / RESULT} is not what a training writes; delete the folder and train again") from error


def _training(out: Path, content: dict[str, Any]) -> Training:
    return Training(folder=out, **{name: content[name] for name in Training.__dataclass_fields__ if name != "folder"})


@contextmanager
def work_folder(out: Path, identity: dict[str, Any]) -> Iterator[tuple[Path, int]]:
    """The private folder of an unfinished training, locked as long as anyone trains in it.

    Yields:
        The folder, and the descriptor that holds its lock.

    Raises:
        UserError: Another process trains there, or it has checkpoints of another training.
    """
    work = out / WORK
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another process is training into {out}; wait for it, or choose another --out") from None
        made = work / "identity.json"
        before = json.loads(made.read_text()) if made.exists() else identity
        if before != identity and last_checkpoint(work):
            raise UserError(
                f"{out} holds checkpoints of a training with {difference(before, identity)}; "
                "choose another --out, or delete it"
            )
        write_json(made, identity)
        last = last_checkpoint(work)
        if before != identity:
            (work / "result.json").unlink(missing_ok=True)
        for left in work.glob("checkpoint-*"):
            if str(left) != last:
                shutil.rmtree(left, ignore_errors=True)
        yield work, lock.fileno()


def last_checkpoint(work: Path) -> str | None:
    """The newest checkpoint that every process finished writing."""
    whole = [file.parent for file in work.glob("checkpoint-*/whole")]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


def publish(model: Path, out: Path) -> None:
    """Moves a model's files into their folder; the configuration last, so that it is no model before."""
    for file in sorted(model.iterdir(), key=lambda file: file.name == "config.json"):
        os.replace(file, out / file.name)


def summary(
    result: dict[str, Any], examples: Examples, settings: TrainingSettings, identity: dict[str, Any]
) -> dict[str, Any]:
    """The content of `training.json`."""
    return {
        "losses": result["losses"],
        "rows": len(examples.rows),
        "skipped": examples.skipped,
        "cut": examples.cut,
        "steps": result["steps"],
        "tokens": result["tokens"],
        "answer_tokens": sum(len(learned(row)) for row in examples.rows),
        "seconds": round(result["seconds"], 2),
        "tokens_per_second": round(result["tokens"] / result["seconds"], 1),
        "peak_memory_mib": result["peak_memory_mib"],
        "settings": settings.model_dump(mode="json") | {"learning_rate": settings.rate},
        "identity": identity,
    }
