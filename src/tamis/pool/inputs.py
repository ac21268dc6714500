"""Files of records wherever they are: a local path, `s3://…`, `minio://…` or `hf://datasets/org/name`.

A place is a file, a folder, or a pattern such as `data/*.parquet` in which `*` also stands for folders. Of a folder
all files of a known kind are read, in order of name, hidden ones aside; of one that was published, those that its
manifest names. Names that a store lists are read under their own place only and never written to.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import pyarrow as pa

from tamis import store
from tamis.errors import TamisError, UserError
from tamis.pool.shards import combined_digest
from tamis.store import local, s3, transfer

COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
KINDS = (".jsonl", ".json", ".csv", ".parquet")
_SPLIT = re.compile(r"(?:^|[/_.-])(train|test|validation|valid|val|dev|eval)(?=[/_.-]|$)")
_HUB = re.compile(r"(hf://datasets/[^/@]+/[^/@]+(?:@[^/]+)?)/(.+)")


@dataclass(frozen=True)
class File:
    """One file of records.

    Attributes:
        uri: Where it is.
        name: Relative to the folder that was named.
        listed: Its SHA-256 by the manifest of a published folder in S3.
    """

    uri: str
    name: str
    listed: str = ""

    @property
    def kind(self) -> str | None:
        """How it is read: its ending, without that of its compression; None if it is not read."""
        stem, ending = os.path.splitext(self.name)
        plain = os.path.splitext(stem)[1] if ending in COMPRESSED else ending
        return plain if plain in KINDS else None

    @contextmanager
    def open(self) -> Iterator[Any]:
        """Its bytes, decompressed, in little memory; the last read says if they are not what the store holds."""
        compression = COMPRESSED.get(os.path.splitext(self.name)[1])
        with store.open_read(self.uri) as raw:
            yield pa.CompressedInputStream(pa.PythonFile(raw, "r"), compression) if compression else raw

    @contextmanager
    def open_local(self) -> Iterator[BinaryIO]:
        """The same as a local file, for formats that are read from their end; a copy is removed afterwards."""
        place, plain = store.parse(self.uri), os.path.splitext(self.name)[1] not in COMPRESSED
        if place.kind == "local" and plain:
            with store.open_read(self.uri) as file:
                yield file
            return
        with TemporaryDirectory(prefix="tamis-") as folder:
            copy = Path(folder, "file")
            if plain:
                store.read_file(self.uri, copy)
            else:
                with self.open() as stream, local.atomic_write(copy) as out:
                    while block := stream.read(1 << 20):
                        out.write(block)
            with copy.open("rb") as file:
                yield file

    def digest(self) -> str:
        """What tells its content from another: SHA-256, or for another tool's object in S3 the store's own tag."""
        place = store.parse(self.uri)
        if place.kind == "local":
            return local.sha256_of(place.path)
        there = s3.stat(place)
        if self.listed and there.sha256 and there.sha256 != self.listed:
            raise TamisError(f"{self.uri} is not what its folder's manifest says; publish the folder again")
        return there.sha256 or self.listed or f"{there.etag}:{there.size}"


def digest(files: Iterable[File]) -> str:
    """Identity of the names and contents of files; objects in S3 are asked for theirs, not downloaded."""
    files = list(files)
    return combined_digest(f"{f.name}:{d}" for f, d in zip(files, transfer.each(File.digest, files), strict=True))


def files(where: str | os.PathLike[str]) -> list[File]:
    """The files of a place.

    Raises:
        UserError: Nothing there, or nothing of a kind that is read, or a hub data set whose split is not named.
    """
    uri, pattern = _parts(os.fspath(where))
    kinds = f"{', '.join(KINDS)} (or .gz, .zst of them)"
    hub = store.parse(uri).kind == "hub"
    if hub and not uri.startswith("hf://datasets/"):
        raise UserError(f"{uri} is a model; a data set is hf://datasets/org/name")
    if not pattern and not hub and store.parse(uri).path and store.exists(uri):
        file = File(uri, uri.rstrip("/").rpartition("/")[2])
        if file.kind is None:
            raise UserError(f"{uri}: not a kind that is read; give {kinds}")
        return [file]
    found = [file for file in _members(os.fspath(store.fetch(uri)) if hub else uri) if file.kind]
    found = [f for f in found if not any(part.startswith(".") for part in f.name.split("/"))]
    if pattern:
        found = [f for f in found if fnmatchcase(f.name, pattern) or f.name.startswith(f"{pattern}/")]
    elif hub:
        found = [f for f in found if f.name != "dataset_infos.json"]
        splits = sorted({split for f in found for split in _SPLIT.findall(f.name)})
        if len(splits) > 1:
            raise UserError(f"{uri} has the splits {', '.join(splits)}; name the files, such as {uri}/*{splits[-1]}*")
    if not found:
        raise UserError(f"{where}: no file there that ends in {kinds}")
    return found


def _parts(uri: str) -> tuple[str, str]:
    """A place and the pattern in it."""
    if hub := _HUB.fullmatch(uri):
        return (hub[1], hub[2]) if "@" not in hub[1] or "*" in hub[2] else (uri, "")
    if "*" not in uri or (store.parse(uri).kind == "local" and os.path.exists(uri)):
        return uri, ""
    parts = uri.split("/")
    first = next(i for i, part in enumerate(parts) if "*" in part)
    folder = "/".join(parts[:first]) or ("/" if uri.startswith("/") else ".")
    return folder, "/".join(parts[first:])


def _members(folder: str) -> list[File]:
    place = store.parse(folder)
    if place.kind == "local" and not os.path.isdir(place.path):
        raise UserError(f"{folder}: no such file or folder")
    names = {name: "" for name, _ in store.list_keys(folder)}
    if store.MANIFEST in names:
        with suppress(UserError):  # a file of that name that is not ours is one of records
            names = {name: sha for name, (_, sha) in store.read_manifest(folder).files.items()}
    listed = place.kind == "s3"
    return [File(store.join(folder, name), name, sha if listed else "") for name, sha in sorted(names.items())]
