"""A folder of files, published at once: data first, `manifest.json` last, and readers trust only the manifest.

The manifest names every file with its size and SHA-256 and carries a digest of itself. A folder without one is
unfinished; a file that it does not name is not part of the folder. Publishing again sends only what differs, so a
rerun after a kill continues and publishing the same twice does nothing.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tamis.errors import TamisError, UserError
from tamis.store import files, local, s3, transfer
from tamis.store.faults import Missing
from tamis.store.files import Where
from tamis.store.progress import Progress
from tamis.store.uri import check_name, join, parse

MANIFEST = "manifest.json"
_FORMAT = "tamis-folder/1"


@dataclass(frozen=True)
class Manifest:
    """What a published folder holds.

    Attributes:
        files: Size and SHA-256 by relative name.
        about: What its maker says of it: identity, lineage; plain values.
    """

    files: Mapping[str, tuple[int, str]]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for size, _ in self.files.values())

    @property
    def digest(self) -> str:
        """SHA-256 over names, sizes, digests and `about`: two folders with the same digest are the same."""
        return s3.sha256(json.dumps(self._plain(), sort_keys=True).encode())

    def _plain(self) -> dict[str, Any]:
        listed = [{"name": name, "size": size, "sha256": sha} for name, (size, sha) in sorted(self.files.items())]
        return {"format": _FORMAT, "files": listed, "about": dict(self.about)}

    def dump(self) -> bytes:
        """As JSON, the same bytes for the same content."""
        return json.dumps({**self._plain(), "digest": self.digest}, indent=1, sort_keys=True).encode() + b"\n"

    @classmethod
    def load(cls, data: bytes, where: str) -> "Manifest":
        """Reads it back; every name in it is safe to use as a local path.

        Raises:
            UserError: It is not a manifest of ours, or has an unsafe name.
            TamisError: It is damaged.
        """
        try:
            plain = json.loads(data)
            if plain["format"] != _FORMAT:
                raise KeyError("format")
            listed = {str(one["name"]): (int(one["size"]), str(one["sha256"])) for one in plain["files"]}
            found = cls(listed, dict(plain["about"]))
            digest = str(plain["digest"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise UserError(
                f"{where} is not a manifest of the form {_FORMAT}, or is damaged; publish the folder again"
            ) from None
        if digest != found.digest:
            raise TamisError(f"{where} is damaged: it does not match its own digest; publish the folder again")
        for name in listed:
            check_name(name)
        return found


def read_manifest(uri: Where) -> Manifest:
    """Reads what a published folder holds.

    Raises:
        UserError: There is no folder with a manifest.
        TamisError: The manifest does not arrive, or is damaged.
    """
    place = join(uri, MANIFEST)
    missing = UserError(
        f"{os.fspath(uri)} is not a published folder (no {MANIFEST}): missing, unfinished,"
        " or uploaded by another tool; in the last case `tamis store seal` gives it its manifest"
    )
    if parse(uri).kind == "local" and not os.path.isfile(parse(place).path):
        raise missing
    try:
        return Manifest.load(files.read_bytes(place), place)
    except Missing:
        raise missing from None


def _members(folder: Where) -> dict[str, Path]:
    """The files to publish; a manifest that an earlier publication left is not one."""
    members = {check_name(name): path for name, path in local.walk(folder)}
    if not members:
        raise UserError(f"{os.fspath(folder)} is empty; there is nothing to publish")
    if MANIFEST in members:
        try:
            Manifest.load(members[MANIFEST].read_bytes(), MANIFEST)
        except TamisError:
            raise UserError(
                f"{members[MANIFEST]}: this name is kept for the list of a folder's files; rename it"
            ) from None
        del members[MANIFEST]
    return members


Listed = Mapping[str, tuple[int, str]]
"""Size and SHA-256 by name."""


def describe(folder: Where, about: Mapping[str, Any] | None = None, also: Listed | None = None) -> Manifest:
    """The manifest that `upload_folder` would write, for the same arguments.

    Raises:
        UserError: There is no such folder, or it has names that cannot be kept.
    """
    members = _members(folder)
    return _manifest(
        dict(zip(members, transfer.each(transfer.fingerprint, members.values()), strict=True)), about, also
    )


def _manifest(
    seen: Mapping[str, transfer.Fingerprint], about: Mapping[str, Any] | None, also: Listed | None
) -> Manifest:
    return Manifest({**(also or {}), **{name: (one.size, one.sha256) for name, one in seen.items()}}, dict(about or {}))


def upload_folder(
    folder: Where, uri: Where, about: Mapping[str, Any] | None = None, also: Listed | None = None
) -> Manifest:
    """Publishes a local folder at a URI, files in parallel.

    Args:
        folder: The local folder; every file under it.
        uri: Where to, in S3 or on this machine.
        about: Kept in the manifest: what made these files.
        also: Files that are under the URI already and belong to the folder too.

    Raises:
        UserError: There is no such folder, or it has names that cannot be kept, or it may not be written there.
        TamisError: Something did not get there whole; the folder is then not published, and a rerun continues.
    """
    members = _members(folder)
    seen = dict(zip(members, transfer.each(transfer.fingerprint, members.values()), strict=True))
    manifest = _manifest(seen, about, also)
    with (
        _replacing(uri, manifest),
        Progress(f"to {os.fspath(uri)}", sum(one.size for one in seen.values())) as progress,
    ):

        def send(name: str) -> None:
            target = join(uri, name)
            if _is_there(target, (seen[name].size, seen[name].sha256)):
                progress.add(seen[name].size)
            elif files.write_file(target, members[name], seen=seen[name], progress=progress) != seen[name].sha256:
                raise TamisError(f"{members[name]} changed while it was being published")

        transfer.each(send, members)
    return manifest


def copy_folder(source: Where, target: Where) -> Manifest:
    """Copies a published folder; within S3 by the store itself, so that a model does not pass through this machine.

    Raises:
        UserError: There is no such published folder, or it may not be written there.
        TamisError: Something did not get there whole; the copy is then not published, and a rerun continues.
    """
    manifest = read_manifest(source)
    with _replacing(target, manifest):

        def send(name: str) -> None:
            old, new = parse(join(source, name)), parse(join(target, name))
            size, sha = manifest.files[name]
            if _is_there(str(new), (size, sha)):
                return
            if old.kind == new.kind == "s3":
                made = s3.copy(old, new)
                same = (made.size, made.sha256 or sha) == (size, sha)
            elif old.kind == "local":
                same = files.write_file(str(new), old.path) == sha
            else:
                same = files.read_file(str(old), new.path) == sha
            if not same:
                raise TamisError(f"{old} is not what its folder's manifest says; publish that folder again")

        transfer.each(send, manifest.files)
    return manifest


@contextmanager
def _replacing(uri: Where, manifest: Manifest) -> Iterator[None]:
    """Around the writing of a folder's files: its old manifest goes first, the new one comes last."""
    old = _old_manifest(uri)
    same = old is not None and old.digest == manifest.digest
    if old and not same:
        files.remove(join(uri, MANIFEST))  # from here until the end there is no folder to read, never a mixed one
        for name in set(old.files) - set(manifest.files):
            files.remove(join(uri, name))
    yield
    if not same:
        files.write_bytes(join(uri, MANIFEST), manifest.dump())


def _old_manifest(uri: Where) -> Manifest | None:
    if not files.exists(join(uri, MANIFEST)):
        return None
    try:
        return read_manifest(uri)
    except TamisError:  # damaged: replaced like one that differs
        return Manifest({})


def _is_there(target: str, wanted: tuple[int, str]) -> bool:
    place = parse(target)
    if place.kind == "s3":
        there = s3.find(place)
        return there is not None and (there.size, there.sha256) == wanted
    path = Path(place.path)
    return path.is_file() and (path.stat().st_size, local.sha256_of(path)) == wanted


def download_folder(uri: Where, folder: Where) -> Manifest:
    """Reads a published folder into a local one that appears at once, with its manifest.

    Raises:
        UserError: There is no such published folder, or the local one exists and holds something else.
        TamisError: A file does not arrive as the manifest says, or the disk is full; nothing is left then.
    """
    manifest, target = read_manifest(uri), Path(folder)
    if target.exists() and any(target.iterdir() if target.is_dir() else [target]):
        if target.is_dir() and (old := _old_manifest(target)) and old.digest == manifest.digest:
            return manifest
        raise UserError(f"{target} exists and holds something else; remove it or name another folder")
    local.need_space(target, manifest.size)
    part = target.parent / f".{target.name[:200]}.{secrets.token_hex(4)}.part"
    try:
        fill_folder(uri, manifest, part)
        with local.explained(target):
            os.replace(part, target)
            local.sync_folder(target.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return manifest


def fill_folder(uri: Where, manifest: Manifest, folder: Path) -> None:
    """Reads every file of a manifest into a folder, and the manifest; the folder is not yet to be trusted meanwhile."""
    with Progress(f"from {os.fspath(uri)}", manifest.size) as progress:

        def receive(name: str) -> None:
            sha = files.read_file(join(uri, name), join(folder, name), progress=progress)
            if sha != manifest.files[name][1]:
                raise TamisError(f"{join(uri, name)} is not what the manifest says; it was replaced or is damaged")

        transfer.each(receive, manifest.files)
    files.write_bytes(join(folder, MANIFEST), manifest.dump())


def seal(uri: Where, about: Mapping[str, Any] | None = None) -> Manifest:
    """Gives a folder that another tool wrote its manifest, by reading all of it once.

    Raises:
        UserError: There is nothing, or a name that cannot be kept.
        TamisError: Something does not arrive.
    """
    listed: dict[str, tuple[int, str]] = {}
    for name, _ in sorted(files.list_keys(uri)):
        if name != MANIFEST:
            size, digest = 0, hashlib.sha256()
            with files.open_read(join(uri, name)) as file:
                while block := file.read(1 << 20):
                    size += len(block)
                    digest.update(block)
            listed[name] = (size, digest.hexdigest())
    if not listed:
        raise UserError(f"{os.fspath(uri)} holds no files; there is nothing to seal")
    manifest = Manifest(listed, dict(about or {}))
    files.write_bytes(join(uri, MANIFEST), manifest.dump())
    return manifest
