"""Starts the training processes of this machine with torchrun: alone and without a network, or with other machines."""

import ctypes
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tamis.errors import TamisError

PARENT = "TAMIS_PARENT"
"""Variable that tells a process which one started it."""
_ERROR = re.compile(r"^([\w.]*(?:Error|Exception|Interrupt|Exit)\b)(:.*)?$")
_NOISE = re.compile(r"ChildFailedError|elastic|torch/distributed/run|^[-=\s<>]*$|^\[?[EWI]\d{4} ")
_RANK = re.compile(r"^\[rank\d+\]:\s?")


def environment(processes: int, gpu: bool, alone: bool = True) -> dict[str, str]:
    """Environment of the training processes; what the user has set stays."""
    from joblib import cpu_count

    own = dict(os.environ)
    defaults = {
        "OMP_NUM_THREADS": str(max(1, cpu_count() // processes)),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }
    if not gpu:
        # The allocator keeps freed buffers, which otherwise go back to the system and are zeroed again for every step.
        defaults |= {"DS_ACCELERATOR": "cpu", "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "-1"}
        if alone:  # loopback, because a container's own host name often resolves to nothing
            defaults |= {"GLOO_SOCKET_IFNAME": "lo"}
    return defaults | own


def launch(
    module: str,
    arguments: Sequence[str],
    *,
    processes: int,
    gpu: bool,
    log: Path,
    held: int | None = None,
    rendezvous: Sequence[str] = (),
) -> None:
    """Runs a module in several processes and waits for them; what they print goes to the log and to stderr.

    Args:
        module: The module to run.
        arguments: Its command line.
        processes: How many on this machine.
        gpu: Whether they use GPUs.
        log: Gets all that they print.
        held: A file descriptor to keep open as long as they run (the lock of the folder).
        rendezvous: torchrun's options by which several machines find each other; none if this one is alone.

    Raises:
        TamisError: One of them failed; says the last error that it printed, and where the rest is.
    """
    alone = ("--standalone", "--local-addr", "127.0.0.1")
    command = [sys.executable, "-m", "tamis.finetune.agent", *(rendezvous or alone)]
    command += ["--nproc-per-node", str(processes), "-m", module, *arguments]
    with log.open("w") as kept:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment(processes, gpu, alone=not rendezvous) | {PARENT: str(os.getpid())},
            pass_fds=[] if held is None else [held],
        )
        assert process.stdout
        try:
            for line in process.stdout:
                kept.write(line)
                kept.flush()
                sys.stderr.write(line)
            code = process.wait()
        except BaseException:  # also when interrupted: torchrun ends its processes when it is told to end
            process.terminate()
            process.wait()
            raise
    if code:
        raise TamisError(f"the training failed: {reason(log.read_text(errors='replace'))} (all of it: {log})")


def end_with_parent() -> None:
    """Has this process killed as soon as the one that started it is no more, however that ended; on Linux.

    If that is so already, as after a long import, it ends here.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.environ.get(PARENT, str(os.getppid())) != str(os.getppid()):
        sys.exit("the process that started this one is no more")


def reason(text: str) -> str:
    """The most telling line of a failed launch's output."""
    if "Signal 9 (SIGKILL)" in text.rpartition("Root Cause (first observed failure)")[2]:
        return "a process was ended by SIGKILL; the memory may not have been enough"  # the others only lost their peer
    lines = [_RANK.sub("", line).rstrip() for line in text.splitlines()]
    errors = [line for line in lines if _ERROR.match(line) and not _NOISE.search(line)]
    if errors:
        found = errors[-1][:300]
        if "out of memory" in found.lower() or found.startswith("MemoryError"):
            found += "; lower batch_size or max_length, or raise zero_stage"
        return found
    killed = re.search(r"Signal \d+ \((\w+)\) received", text)
    if killed:
        return f"a process was ended by {killed[1]}"
    told = re.search(r"got signal: (\d+)", text)
    if told:
        return f"it was told to end by signal {told[1]}"
    own = next((i for i, line in enumerate(lines) if "elastic" in line), len(lines))  # torchrun's report follows
    return next((line for line in reversed(lines[:own]) if not _NOISE.search(line)), "no reason was given")[:300]
