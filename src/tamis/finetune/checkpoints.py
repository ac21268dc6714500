"""Checkpoints in a store: each process sends its own part, and what is written last says that all parts are there.

    <location>/step-00000004/shared/          what process 0 wrote for all
    <location>/step-00000004/rank-00001/      what process 1 wrote: its share of the optimizer's states
    <location>/step-00000004/complete.json    last: the digest of every part's manifest

So nodes need no common file system, each sends and fetches only what its own processes need, and a step that was cut
off is never read. A training waits while its checkpoint is sent: about 14 bytes a parameter, shared out among the
processes.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from tamis import store
from tamis.errors import TamisError

COMPLETE = "complete.json"
SHARED = "shared"
_OWNER = re.compile(r"pp_rank_(\d+)|rng_state(?:_(\d+))?\.pth")
_STEP = re.compile(rf"step-(\d{{8}})/{COMPLETE}")


def part_of(name: str) -> str:
    """The part to which a file of a DeepSpeed checkpoint belongs: that of the process that wrote it."""
    owner = _OWNER.search(name)
    return _rank(int(owner[1] or owner[2] or 0)) if owner else SHARED


def _rank(rank: int) -> str:
    return f"rank-{rank:05d}"


def publish(folder: Path, location: str, step: int, rank: int, processes: int, barrier: Callable[[], None]) -> None:
    """Sends what this process wrote of a checkpoint; every process must call this. The older ones are then removed.

    Args:
        folder: The checkpoint on this machine, perhaps with parts of other processes.
        location: URI of all checkpoints of this training.
        step: Steps that it has seen.
        rank: This process.
        processes: How many there are.
        barrier: Waits for all of them.

    Raises:
        TamisError: The store cannot be written.
    """
    at = store.join(location, f"step-{step:08d}")
    if rank == 0:
        store.remove(store.join(at, COMPLETE))
    barrier()
    for part in [_rank(rank)] + ([SHARED] if rank == 0 else []):
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".part-") as links:
            for file in folder.rglob("*"):
                name = file.relative_to(folder)
                if file.is_file() and part_of(file.name) == part:
                    (links / name).parent.mkdir(parents=True, exist_ok=True)
                    os.link(file, links / name)
            store.upload_folder(links, store.join(at, part))
    barrier()
    if rank == 0:
        parts = [SHARED, *map(_rank, range(processes))]
        digests = {part: store.read_manifest(store.join(at, part)).digest for part in parts}
        store.write_bytes(store.join(at, COMPLETE), json.dumps(digests).encode())
        remove(location, but=step)


def last(location: str) -> int | None:
    """The newest complete step, None if there is none."""
    found = [_STEP.fullmatch(name) for name in _names(location)]
    return max((int(match[1]) for match in found if match), default=None)


def restore(location: str, work: Path, ranks: Iterable[int]) -> str | None:
    """Fetches the newest complete checkpoint, as far as some processes need it.

    Args:
        location: URI of all checkpoints of this training.
        work: Gets the folder `checkpoint-<step>`.
        ranks: The processes of this machine.

    Returns:
        That folder, None if there is no complete checkpoint.

    Raises:
        TamisError: A part is not the one that was written with the others.
    """
    step = last(location)
    if step is None:
        return None
    at = store.join(location, f"step-{step:08d}")
    digests = json.loads(store.read_bytes(store.join(at, COMPLETE)))
    target = work / f"checkpoint-{step}"
    for part in [SHARED, *map(_rank, ranks)]:
        with tempfile.TemporaryDirectory(dir=work, prefix=".part-") as parent:
            received = Path(parent, part)
            if store.download_folder(store.join(at, part), received).digest != digests[part]:
                raise TamisError(f"{at}/{part} is of another checkpoint; remove {at} to begin again")
            (received / store.MANIFEST).unlink()
            shutil.copytree(received, target, copy_function=os.replace, dirs_exist_ok=True)
    return str(target)


def remove(location: str, but: int | None = None) -> None:
    """Removes all checkpoints but one; what says that one is complete goes first."""
    kept = f"step-{but:08d}/" if but is not None else None
    names = [name for name in _names(location) if not (kept and name.startswith(kept))]
    for name in sorted(names, key=lambda name: not name.endswith(COMPLETE)):
        store.remove(store.join(location, name))
    if store.parse(location).kind == "local":  # folders, which a store does not have
        for folder in Path(location).glob("step-*"):
            if f"{folder.name}/" != kept:
                shutil.rmtree(folder)


def _names(location: str) -> list[str]:
    if store.parse(location).kind == "local" and not Path(location).is_dir():
        return []
    return [name for name, _ in store.list_keys(location)]
