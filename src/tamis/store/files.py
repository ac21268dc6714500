"""One file or object by its URI, wherever it is: the same few functions for a local path and for S3.

All of them write whole or not at all, and those that write return the SHA-256 of what is there.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from tamis.errors import UserError
from tamis.store import local, s3, transfer
from tamis.store.progress import Progress
from tamis.store.stream import open_stream
from tamis.store.uri import Uri, parse

Where = str | os.PathLike[str]


def _place(uri: Where) -> Uri:
    place = parse(uri)
    if place.kind == "hub":
        raise UserError(f"{place}: a hub repository is read through fetch() and never written")
    return place


def _object(uri: Where) -> Uri:
    place = _place(uri)
    if not place.path:
        raise UserError(f"{place} names a bucket; an object is s3://bucket/key")
    return place


def exists(uri: Where) -> bool:
    """Whether there is such a file or object; a folder is not one, a missing bucket is an error."""
    place = _object(uri)
    return Path(place.path).is_file() if place.kind == "local" else s3.find(place) is not None


def read_bytes(uri: Where) -> bytes:
    """Reads all of a file into memory, checked against its digest.

    Raises:
        UserError: There is none, or it may not be read.
        TamisError: It does not arrive, or is damaged.
    """
    place = _object(uri)
    if place.kind == "s3":
        return s3.get(place)
    with local.explained(place.path):
        return Path(place.path).read_bytes()


def open_read(uri: Where) -> BinaryIO:
    """Opens a file to be read once, in order, in little memory.

    The digest is compared when the end is reached: a `TamisError` from the last read says that what was read before it
    must not be used.
    """
    place = _object(uri)
    if place.kind == "s3":
        return cast(BinaryIO, open_stream(place))
    with local.explained(place.path):
        return open(place.path, "rb")


def write_bytes(uri: Where, data: bytes) -> str:
    """Writes a small file from memory; returns its SHA-256.

    Raises:
        UserError: It may not be written there.
        TamisError: It did not get there whole, or the disk is full.
    """
    place = _object(uri)
    if place.kind == "s3":
        s3.put(place, data)
    else:
        with local.atomic_write(place.path) as file:
            file.write(data)
    return s3.sha256(data)


@contextmanager
def open_write(uri: Where) -> Iterator[BinaryIO]:
    """Opens a file to be written; it is there, whole, only after the block ended well.

    For S3 it is kept on the local disk until then, because its digest goes first and parts may go twice.
    """
    place = _object(uri)
    if place.kind == "local":
        with local.atomic_write(place.path) as file:
            yield file
        return
    with tempfile.TemporaryDirectory(prefix="tamis-") as folder:
        path = Path(folder, "object")
        with local.atomic_write(path) as file:
            yield file
        transfer.upload(place, path)


def write_file(
    uri: Where, path: Where, *, seen: transfer.Fingerprint | None = None, progress: Progress | None = None
) -> str:
    """Writes the local file `path` to `uri`, large ones in parallel parts; returns its SHA-256.

    Args:
        uri: Where to.
        path: The local file.
        seen: Its digests, if they are known already.
        progress: Counts the bytes of several files together.

    Raises:
        UserError: There is no such file, or it may not be written there.
        TamisError: It did not get there whole, or changed meanwhile, or the disk is full.
    """
    place = _object(uri)
    if place.kind == "s3":
        return transfer.upload(place, Path(path), seen, progress)
    digest = local.copy(path, place.path)
    if progress:
        progress.add(os.path.getsize(path))
    return digest


def read_file(uri: Where, path: Where, *, progress: Progress | None = None) -> str:
    """Reads `uri` into the local file `path`, large ones in parallel ranges; returns its SHA-256.

    Raises:
        UserError: There is none, or the file may not be written.
        TamisError: It does not arrive, or is damaged, or the disk is full.
    """
    place = _object(uri)
    if place.kind == "s3":
        return transfer.download(place, Path(path), progress)
    digest = local.copy(place.path, path)
    if progress:
        progress.add(os.path.getsize(path))
    return digest


def remove(uri: Where) -> None:
    """Removes a file; one that is not there is no error."""
    place = _object(uri)
    if place.kind == "s3":
        s3.delete(place)
    else:
        with local.explained(place.path):
            Path(place.path).unlink(missing_ok=True)


def list_keys(uri: Where) -> Iterator[tuple[str, int]]:
    """The files under a folder, however deep: names relative to it, and sizes; sorted.

    Names come as the store has them, for S3 without a digest of their own; a folder that must be right is read by its
    manifest (`download_folder`). `join` refuses the unsafe ones.

    Raises:
        UserError: There is no such folder or bucket.
    """
    place = _place(uri)
    if place.kind == "s3":
        yield from s3.names(place)
    else:
        for name, path in local.walk(place.path):
            yield name, path.stat().st_size
