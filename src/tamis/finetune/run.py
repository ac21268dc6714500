"""The fine-tune step: checks everything, has the model trained, and keeps the result whole or not at all."""

import shutil
import time
from pathlib import Path
from typing import Any

from tamis import store
from tamis.errors import TamisError, UserError
from tamis.finetune import checkpoints, work
from tamis.finetune.examples import encode_selection, read_selection, write_encoded
from tamis.finetune.result import RESULT, Training, content, counts, read_result
from tamis.finetune.settings import TrainingSettings
from tamis.finetune.workspace import Workspace, hold
from tamis.pool.shards import combined_digest, difference, write_json
from tamis.settings import nearest


def finetune(
    selected: Path, model: str, out: Path, settings: TrainingSettings, *, template: str, workspace: str = ""
) -> Training:
    """Fine-tunes a model on a selection.

    A folder that holds the same training already is used as it is; one in which it was interrupted goes on from its
    last checkpoint (see `TrainingSettings.checkpoint_every`). With a workspace both hold for the same training
    anywhere.

    Args:
        selected: The arm's folder that `select` wrote, or a Parquet file of rows.
        model: A model's folder, a hub id, or `demo`.
        out: Gets the tuned model and, last, `training.json`; without that file it is incomplete. With a workspace it
            gets only that file, which says where the model is.
        settings: How to train.
        template: How conversations are written.
        workspace: URI that gets checkpoints and the tuned model, see `tamis.finetune.workspace`.

    Raises:
        UserError: No row to train on, no such model, or `out` holds something else.
        TamisError: The training failed; says where its log is.
    """
    from transformers import AutoConfig, AutoTokenizer

    from tamis.lm.encode import Encoder
    from tamis.lm.load import digest, resolve
    from tamis.lm.templates import get_template

    started = time.monotonic()
    check_workspace(settings, workspace)
    here, gpu = machine(settings)
    rows = read_selection(selected)
    where = resolve(model)
    try:
        config = AutoConfig.from_pretrained(where, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(f"model '{model}' cannot be loaded: {str(error).strip().splitlines()[0]}") from error
    check_targets(config, settings)
    version = digest(Path(where)) if Path(where).is_dir() else str(getattr(config, "_commit_hash", ""))
    dtype = training_type(settings, gpu)
    placement = {"processes", "checkpoint_every", "launcher", "nodes", "trainjob"}
    processes = here * settings.nodes
    identity = {
        "rows": combined_digest(row.id for row in rows),
        "model": version,
        "template": template,
        "processes": processes,
        "settings": settings.model_dump(mode="json", exclude=placement) | {"dtype": dtype},
    }
    place = Workspace(workspace, identity) if workspace else None
    done = finished(out, identity, place)
    if done:
        return done
    window = int(getattr(config.get_text_config(), "max_position_embeddings", 0) or tokenizer.model_max_length)
    encoder = Encoder(tokenizer, get_template(template, tokenizer), min(settings.max_length, window))
    examples = encode_selection(rows, encoder)
    if not examples.rows:
        why = "; ".join(f"{count} x {reason}" for reason, count in examples.skipped.items()) or "it is empty"
        raise UserError(f"{selected} has no row to train on: {why}")
    job = {
        "model": where,
        "dtype": dtype,
        "settings": settings.model_dump(mode="json", exclude={"trainjob"}) | {"learning_rate": settings.rate},
        "processes": processes,
        "gpu": gpu,
        "identity": identity,
        "counts": counts(examples),
    }
    try:
        with work.work_folder(out, identity) as (folder, lock):
            write_encoded(folder / work.ROWS, examples.rows)
            job["work"] = str(folder)
            if not place:
                job |= {"resume": work.last_checkpoint(folder), "checkpoints": None}
                told = content(job, work.train(job, here=here, held=lock), started)
                work.move_model(folder / work.MODEL, out)
                write_json(out / RESULT, told)
            elif settings.launcher == "trainjob":
                from tamis.finetune.trainjob import launch

                launch.train(place, job, settings, model=model)
                place.point(out)
            else:
                with hold(place.checkpoints) as claim:
                    if not place.finished():  # by another run, while this one waited for it
                        job["resume"] = checkpoints.restore(place.checkpoints, folder, range(here))
                        job["checkpoints"] = place.checkpoints
                        told = content(job, work.train(job, here=here, held=lock), started)
                        claim.check()
                        place.publish(folder / work.MODEL, told)
                place.point(out)
    except OSError as error:
        raise TamisError(
            f"{out} cannot be written: {error.strerror or error}; free some space or choose --out"
        ) from error
    shutil.rmtree(out / work.WORK, ignore_errors=True)
    return read_result(out)


def check_workspace(settings: TrainingSettings, workspace: str) -> None:
    """Refuses nodes without a store that all of them reach: they share nothing else.

    Raises:
        UserError: There is none.
    """
    if settings.launcher == "trainjob" and not (workspace and store.parse(workspace).kind == "s3"):
        raise UserError("training.launcher=trainjob needs a workspace in a store, such as s3://bucket/prefix")


def machine(settings: TrainingSettings) -> tuple[int, bool]:
    """Processes on each machine that will train, and whether they use GPUs.

    Raises:
        UserError: This machine has fewer GPUs.
    """
    if settings.launcher == "trainjob":
        gpus = settings.trainjob.gpus
    else:
        import torch

        gpus = torch.cuda.device_count()
    if gpus and settings.processes > gpus:
        raise UserError(f"training.processes is {settings.processes}, but there are {gpus} GPUs on each machine")
    return settings.processes or gpus or 1, bool(gpus)


def training_type(settings: TrainingSettings, gpu: bool) -> str:
    """The type to compute and to save in, by name; see `TrainingSettings.dtype`."""
    if settings.dtype != "auto" or not gpu:
        return settings.dtype if settings.dtype != "auto" else "float32"
    if settings.launcher == "trainjob":  # of GPUs that are elsewhere
        return "bfloat16"
    import torch

    return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"


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


def finished(out: Path, identity: dict[str, Any], place: Workspace | None) -> Training | None:
    """The training that a folder or its workspace holds, None where there is nothing or an unfinished one.

    Raises:
        UserError: The folder holds another training, or files that are not ours.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; choose another --out")
    if (out / RESULT).exists():
        found = read_result(out)
        there = {"model_uri": found.model_uri, **found.identity}
        wanted = {"model_uri": place and place.model, **identity}
        if there != wanted:
            raise UserError(f"{out} was trained with {difference(there, wanted)}; choose another --out, or delete it")
        if not place or place.finished():
            return found
    elif out.exists() and not (out / work.WORK).exists() and any(out.iterdir()):
        raise UserError(f"{out} holds files of something else; choose an empty --out")
    if place and place.finished():
        place.point(out)
        shutil.rmtree(out / work.WORK, ignore_errors=True)
        return read_result(out)
    return None
