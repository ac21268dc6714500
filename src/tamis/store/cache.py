"""What was downloaded, kept by its digest: a model is fetched once a node, whoever asks and however often.

`$TAMIS_CACHE/<digest>/` appears by a rename when all of it is there and right, so what is in the cache is whole. A
lock a digest lets one process download while the others wait. A hit costs one request (the manifest or the object's
digest) and a look at the sizes; the files are read-only. Nothing is evicted: remove the folder when it is too large.
"""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tamis.errors import TamisError, UserError
from tamis.store import files, hub, local, s3, transfer
from tamis.store.files import Where
from tamis.store.folders import MANIFEST, Manifest, fill_folder, read_manifest
from tamis.store.uri import join, parse


def cache_folder() -> Path:
    """`$TAMIS_CACHE`, or `~/.cache/tamis`.

    Raises:
        UserError: It cannot be made, as in a container without a home.
    """
    folder = Path(os.environ.get("TAMIS_CACHE") or os.path.expanduser("~/.cache/tamis"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder.absolute()
    except OSError:
        pass
    raise UserError(f"cannot write to the cache {folder}; set TAMIS_CACHE to a folder with room for the models")


def fetch(uri: Where) -> Path:
    """The local path of what a URI names: a file, or a published folder.

    A local path is itself; S3 is downloaded into the cache, in parallel; a hub repository into the hub's own cache.

    Raises:
        UserError: There is no such thing, or it may not be read, or the hub is switched off.
        TamisError: It does not arrive, or is damaged, or the disk is full.
    """
    place = parse(uri)
    if place.kind == "hub":
        return hub.snapshot(place)
    if place.kind == "local":
        path = Path(place.path)
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
        return path
    there = s3.find(place) if place.path else None
    if there is None:
        manifest = read_manifest(str(place))
        return _keep(manifest.digest, str(place), manifest)
    name = place.path.rpartition("/")[2]
    content = there.sha256 or f"{place} {there.etag} {there.size}"
    identity = s3.sha256(f"{name}\n{content}".encode())
    return _keep(identity, str(place), Manifest({name: (there.size, there.sha256 or "")}), single=True) / name


def identify(uri: Where) -> str:
    """What tells a URI's present content from another, in S3 without reading it; a hub repository only by its name.

    Raises:
        UserError: There is no such thing, or it is a local folder that was never published.
    """
    place = parse(uri)
    if place.kind == "hub":
        return str(place)
    if place.kind == "local":
        return local.sha256_of(place.path) if Path(place.path).is_file() else read_manifest(uri).digest
    if place.path and (there := s3.find(place)):
        return there.sha256 or f"{there.etag} {there.size}"
    if files.exists(join(uri, MANIFEST)):
        return read_manifest(uri).digest
    names = [name for name, _ in files.list_keys(uri)]
    found = transfer.each(lambda name: s3.stat(parse(join(uri, name))), names)
    lines = [f"{name} {there.sha256 or there.etag} {there.size}" for name, there in zip(names, found, strict=True)]
    return s3.sha256("\n".join(lines).encode())


def _keep(digest: str, uri: str, manifest: Manifest, single: bool = False) -> Path:
    root = cache_folder()
    final, part = root / digest, root / f".{digest}.part"
    if _whole(final, manifest):
        return final
    with _locked(root / f".{digest}.lock", uri):
        if _whole(final, manifest):  # by the one we waited for
            return final
        with local.explained(root):
            for old in (final, part):  # damaged by hand, or half done when its process was killed
                if old.exists():
                    shutil.rmtree(old)
            local.need_space(root, manifest.size)
            part.mkdir()
            if single:
                name, (_, wanted) = next(iter(manifest.files.items()))
                if (sha := files.read_file(uri, part / name)) != (wanted or sha):
                    raise TamisError(f"{uri} was replaced while it was being read; run again")
            else:
                fill_folder(uri, manifest, part)
            for _, path in local.walk(part):
                path.chmod(0o444)
            os.replace(part, final)
            local.sync_folder(root)
    return final


def _whole(folder: Path, manifest: Manifest) -> bool:
    try:
        return all((folder / name).stat().st_size == size for name, (size, _) in manifest.files.items())
    except OSError:
        return False


@contextmanager
def _locked(path: Path, what: str) -> Iterator[None]:
    """Holds a lock that ends with its process, however that ends."""
    with local.explained(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print(f"waiting for another process that fetches {what}", file=sys.stderr, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
