"""The private folder in which a training runs, what is in it, and how a training in it is started and ended.

A training is a job: plain values, in `job.json`.

| value | meaning |
|---|---|
| `model`, `dtype` | the model to start from, and the type to compute in |
| `settings`, `processes`, `gpu` | how to train, by how many processes in all, on GPUs or not |
| `identity`, `counts` | what it is made from, and what became of the selected rows |
| `work`, `resume`, `checkpoints` | its folder, the checkpoint to go on from, the URI that gets new ones (or None) |
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tamis.errors import UserError
from tamis.finetune.launch import launch
from tamis.pool.shards import difference, write_json

WORK = ".training"
ROWS = "rows.parquet"
MODEL = "model"


def train(job: dict[str, Any], *, rendezvous: Sequence[str] = (), here: int, held: int | None = None) -> dict[str, Any]:
    """Runs this machine's training processes in the job's folder, unless they were done already.

    Args:
        job: The job; its folder has the rows.
        rendezvous: torchrun's options where other machines take part.
        here: Processes on this machine.
        held: A file descriptor that they keep open.

    Returns:
        What they say of it: empty on machines that do not have the process 0.

    Raises:
        TamisError: They failed.
    """
    work = Path(job["work"])
    write_json(work / "job.json", job)
    result = work / "result.json"
    if not result.exists():  # it does where only the publication failed
        launch(
            "tamis.finetune.train",
            [str(work / "job.json")],
            processes=here,
            gpu=job["gpu"],
            log=work / "training.log",
            held=held,
            rendezvous=rendezvous,
        )
    return dict(json.loads(result.read_text())) if result.exists() else {}


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


def move_model(model: Path, out: Path) -> None:
    """Moves a model's files into their folder; the configuration last, so that it is no model before."""
    for file in sorted(model.iterdir(), key=lambda file: file.name == "config.json"):
        os.replace(file, out / file.name)
