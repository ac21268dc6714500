"""Local files, each written whole or not at all.

A file is written under a temporary name beside its own, flushed to the disk and only then renamed, so that a reader, or
a rerun after a kill or a power cut, finds the old file or the new one and never a part. Costs two fsyncs a file
(about 1 ms on an SSD), so it is for shards and manifests, not for lines.
"""

import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tamis.errors import TamisError, UserError

_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.part")
_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Opens a file that takes its name only when the block ends well; makes its folder.

    The file that is being written has its temporary path as `.name`, for libraries that want a path.

    Raises:
        UserError: It cannot be written there (rights, a folder of that name, a read-only disk).
        TamisError: The disk is full, or fails.
    """
    path = Path(path)
    part = path.parent / temporary_name()
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        file = open(part, "xb")  # noqa: SIM115
    try:
        with file:
            try:
                yield file
            except OSError as error:
                if error.errno in _FULL:
                    raise _full(path) from None
                raise
            with explained(path):
                file.flush()
                os.fsync(file.fileno())
        with explained(path):
            os.replace(part, path)
            sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def explained(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns errors of the operating system about a path into ours."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise _full(Path(path)) from None
        reason = (error.strerror or type(error).__name__).lower()
        if isinstance(error, FileNotFoundError):
            raise UserError(f"{path}: no such file or folder") from None
        if isinstance(
            error, PermissionError | IsADirectoryError | NotADirectoryError | FileExistsError
        ) or error.errno in (
            errno.EROFS,
            errno.ENAMETOOLONG,
        ):
            raise UserError(f"{path}: {reason}") from None
        raise TamisError(f"{path}: {reason}") from None


def _full(path: Path) -> TamisError:
    return TamisError(
        f"{path}: the disk is full ({free_space(path) / 1e9:.1f} GB free); nothing was left half written there"
    )


def free_space(path: Path) -> int:
    """Free bytes where a path is or will be."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def need_space(path: Path, size: int) -> None:
    """Checks before a long transfer that it will fit.

    Raises:
        TamisError: It will not.
    """
    if size > (free := free_space(path)):
        raise TamisError(f"{path}: needs {size / 1e9:.1f} GB, but the disk has {free / 1e9:.1f} GB free")


def temporary_name() -> str:
    """A name that `is_temporary` knows."""
    return f".{secrets.token_hex(8)}.part"


def is_temporary(name: str) -> bool:
    """Whether a file is one that `atomic_write` had not finished when it was killed."""
    return _TEMPORARY.fullmatch(name) is not None


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:  # some network file systems cannot; their rename is as durable as it gets
        pass
    finally:
        os.close(handle)


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The digest of a file, about 1 GB/s."""
    with explained(path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> str:
    """Copies a file, whole or not at all; returns the digest of what was written."""
    digest = hashlib.sha256()
    with explained(source):
        file = open(source, "rb")  # noqa: SIM115
    with file, atomic_write(target) as out:
        while block := file.read(1 << 20):
            digest.update(block)
            out.write(block)
    return digest.hexdigest()


def walk(folder: str | os.PathLike[str]) -> Iterator[tuple[str, Path]]:
    """The files under a folder by their relative names, sorted, without half-written ones.

    Links to files count as files, as the hub's cache keeps its snapshots.

    Raises:
        UserError: There is no such folder, or it holds what is neither file nor folder, such as a link to a folder.
    """
    with explained(folder):
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            for name, path in walk(entry.path):
                yield f"{entry.name}/{name}", path
        elif not entry.is_file():
            raise UserError(f"{entry.path}: neither a file nor a folder (a link to a folder is not followed)")
        elif not is_temporary(entry.name):
            yield entry.name, Path(entry.path)
