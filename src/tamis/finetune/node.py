"""What each node of a TrainJob does: `python -m tamis.finetune.node INPUT DIGEST`.

It fetches the job, the model and its own part of the last checkpoint into a folder of its own, starts torchrun for its
processes, and node 0 publishes the tuned model. Nodes share nothing but the store. They find each other by the PET_*
variables that the Trainer sets and torchrun reads.
"""

import json
import os
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tamis import store
from tamis.errors import TamisError
from tamis.finetune import checkpoints, work
from tamis.finetune.result import content
from tamis.finetune.workspace import Workspace, hold

PATIENCE = 3600
"""Seconds that a node waits for the others: they may be scheduled later, or fetch their model more slowly."""


def main(uri: str, digest: str) -> None:
    """Takes part in a training, and returns when it is done.

    Args:
        uri: The published folder with `job.json` and the encoded rows.
        digest: Of its manifest.

    Raises:
        TamisError: The training failed, or what is there is something else.
    """
    from tamis.lm.load import resolve

    started = time.monotonic()
    rank, nodes = int(os.environ["PET_NODE_RANK"]), int(os.environ["PET_NNODES"])
    folder = Path(tempfile.mkdtemp(prefix="tamis-training-"))
    if store.download_folder(uri, folder / "input").digest != digest:
        raise TamisError(f"{uri} is not the job that this node was started for")
    job: dict[str, Any] = json.loads((folder / "input" / "job.json").read_text())
    os.replace(folder / "input" / work.ROWS, folder / work.ROWS)
    place = Workspace(job["workspace"], job["identity"])
    if place.finished():
        return  # started again after the model was published
    here = job["processes"] // nodes
    with hold(place.checkpoints) if rank == 0 else nullcontext() as claim:
        job |= {
            "model": resolve(job["model"]),
            "work": str(folder),
            "resume": checkpoints.restore(place.checkpoints, folder, range(rank * here, (rank + 1) * here)),
            "checkpoints": place.checkpoints,
        }
        result = work.train(job, here=here, rendezvous=("--rdzv-conf", f"timeout={PATIENCE}"))
        if claim:
            claim.check()
            place.publish(folder / work.MODEL, content(job, result, started))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except TamisError as error:
        sys.exit(f"tamis: {error}")  # the pod's last words, which Kubernetes keeps
