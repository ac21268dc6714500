"""Of two runs at once on one output location one wins, and the other says who holds it.

The claim is a file or object `<location>.lease` that says who, where and since when. On S3 it is made with
`If-None-Match: *` and kept alive with `If-Match` every 15 seconds; one that has been silent for 60 seconds by the
store's own clock, or whose process is known to be dead, is taken over. On a local path it is held by `flock`, which
the kernel drops with its holder, so there is nothing to expire. A holder that lost its claim (it slept longer than
that) learns it from `check()`, to be called before publishing.
"""

import fcntl
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tamis.errors import TamisError, UserError
from tamis.store import local, s3
from tamis.store.faults import Conflict, Missing
from tamis.store.files import Where
from tamis.store.uri import Uri, parse

TTL = 60.0


@dataclass
class Claim:
    """A location that this run holds.

    Attributes:
        uri: The location.
        lost: Somebody else took it over, because no sign of life of ours arrived in time.
    """

    uri: str
    lost: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Call before what must not happen twice, such as writing a manifest.

        Raises:
            TamisError: The claim was lost.
        """
        if self.lost.is_set():
            raise TamisError(f"another run took over {self.uri} while this one did not answer; this one stops")


@contextmanager
def claim(uri: Where, run: str = "", patience: float = 0.0) -> Iterator[Claim]:
    """Holds an output location for a block.

    Args:
        uri: A file or folder, in S3 or on this machine, that only this run may write.
        run: Shown to whoever else wants it.
        patience: Seconds to wait for a holder in S3 that gives no sign of life: a rerun on another machine comes while
            the claim of a killed one is still fresh, and needs a little more than `TTL`.

    Raises:
        UserError: Another run holds it; says which, where and since when.
        TamisError: The store cannot be reached.
    """
    place = parse(uri)
    if place.kind == "hub":
        raise UserError(f"{place}: a hub repository is never written")
    held = Claim(str(place))
    with _held_object(place, run, held, patience) if place.kind == "s3" else _held_file(place, run):
        yield held


def _identity(run: str) -> dict[str, Any]:
    return {
        "id": secrets.token_hex(8),
        "run": run,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "process": _process(os.getpid()),
    }


def _process(pid: int) -> list[str]:
    """Tells a process from another with its number: boot, namespace, start; empty where it is unknown or dead."""
    try:
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return [] if started[0] == "Z" else [boot, os.readlink("/proc/self/ns/pid"), started[19]]
    except (OSError, IndexError):
        return []


def _alive(other: dict[str, Any]) -> bool | None:
    """Whether the holder, a process of this machine, still runs; None if it is of another machine."""
    mine, theirs = _process(os.getpid()), other.get("process")
    if not mine or not isinstance(theirs, list) or theirs[:2] != mine[:2] or not isinstance(other.get("pid"), int):
        return None
    return _process(other["pid"]) == theirs


def _held_by(place: Uri, data: bytes) -> UserError:
    other = _load(data)
    run = f"run '{other['run']}'" if other.get("run") else "a run"
    return UserError(
        f"{place} is held by {run} on {other.get('host', 'an unknown host')}, process {other.get('pid', '?')},"
        f" since {other.get('since', '?')}; wait for it, stop it, or name another location"
    )


def _load(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


@contextmanager
def _held_file(place: Uri, run: str) -> Iterator[None]:
    path = Path(place.path.rstrip("/") + ".lease")
    with local.explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _locked(place, path)
        os.truncate(handle, 0)
        os.pwrite(handle, json.dumps(_identity(run)).encode(), 0)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while still locked, so that nobody can have locked this one in between
        os.close(handle)


def _locked(place: Uri, path: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.fstat(handle).st_ino == path.stat().st_ino:
                return handle
        except BlockingIOError:
            for _ in range(20):  # between locking and writing, the holder has no name yet
                data = os.pread(handle, 4096, 0)
                if data:
                    break
                time.sleep(0.05)
            os.close(handle)
            raise _held_by(place, data) from None
        os.close(handle)  # its last holder removed it between our opening and locking it


@contextmanager
def _held_object(place: Uri, run: str, held: Claim, patience: float) -> Iterator[None]:
    lease = Uri("s3", place.root, f"{place.path}.lease")
    data = json.dumps(_identity(run)).encode()
    etag = _acquire(place, lease, data, patience)
    done = threading.Event()

    def beat() -> None:
        nonlocal etag
        alive = time.monotonic()
        while not done.wait(TTL / 4):
            try:
                etag = s3.put(lease, data, {"If-Match": f'"{etag}"'})
                alive = time.monotonic()
            except Conflict:
                if not _is_ours(lease, data):
                    held.lost.set()
                    return
                alive = time.monotonic()
            except TamisError:
                if time.monotonic() - alive > TTL:  # by now others may take it
                    held.lost.set()
                    return

    thread = threading.Thread(target=beat, name="tamis-claim", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(TTL)
        if not held.lost.is_set() and _is_ours(lease, data):
            s3.delete(lease)


def _is_ours(lease: Uri, data: bytes) -> bool:
    try:
        return s3.get(lease) == data
    except TamisError:
        return False


def _acquire(place: Uri, lease: Uri, data: bytes, patience: float) -> str:
    condition = {"If-None-Match": "*"}
    end, age, tries = time.monotonic() + patience, 0.0, 0
    while tries < 5:
        try:
            return s3.put(lease, data, condition)
        except Conflict:
            pass
        try:
            there, other = s3.stat(lease), s3.get(lease)
        except Missing:  # released between the two
            condition = {"If-None-Match": "*"}
            tries += 1
            continue
        if other == data:  # our own try got there, only its answer was lost
            return there.etag
        alive = _alive(_load(other))
        if there.age <= TTL and alive is not False:
            if alive or there.age < age or time.monotonic() >= end:  # the second: it was renewed meanwhile
                raise _held_by(place, other)
            age = there.age
            time.sleep(TTL / 30)
            continue
        condition = {"If-Match": f'"{there.etag}"'}  # of several that take it over one succeeds
        tries += 1
    raise TamisError(f"cannot claim {place}: it changes hands all the time; run again")
