"""One way to name a place: `s3://bucket/key`, `minio://bucket/key`, `hf://org/name`, a local path.

`minio://` is what Kubeflow Pipelines writes for the same store. A URI says what, never where or as whom: endpoint and
keys come from the environment (`endpoint.py`), so that they cannot end up in a pipeline's parameters. Keys are
taken as they are, without percent-decoding. A name that could leave its folder, or that some store or file system
reads otherwise than another, is refused rather than encoded: what is written under a name is found under that name.
"""

import os
import re
from dataclasses import dataclass
from typing import Literal

from tamis.errors import UserError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_LOST_SLASH = re.compile(r"(s3|minio|hf|file):/(?!/)")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_HUB = re.compile(r"(?:(datasets)/)?([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", re.ASCII)


@dataclass(frozen=True)
class Uri:
    """A parsed URI.

    Attributes:
        kind: Which store it is in.
        root: The bucket of an S3 URI; `model` or `dataset` of a hub URI; empty for a local path.
        path: The key, perhaps empty; `org/name`, perhaps with `@revision`; the local path.
    """

    kind: Literal["s3", "hub", "local"]
    root: str
    path: str

    def __str__(self) -> str:
        """The URI again, with `s3://` for `minio://`."""
        if self.kind == "s3":
            return f"s3://{self.root}/{self.path}".rstrip("/")
        if self.kind == "hub":
            return f"hf://{'datasets/' if self.root == 'dataset' else ''}{self.path}"
        return self.path


def parse(uri: str | os.PathLike[str]) -> Uri:
    """Reads a URI.

    Raises:
        UserError: It is none, or its key could leave its bucket.
    """
    text = os.fspath(uri)
    if not text or "\0" in text:
        raise UserError("an empty path, or one with a NUL character, names nothing")
    if lost := _LOST_SLASH.match(text):
        raise UserError(f"'{lost[1]}:/' needs two slashes: pass the URI as text, a pathlib.Path drops one")
    scheme = _SCHEME.match(text)
    if not scheme:
        return Uri("local", "", text)
    name, rest = scheme[1].lower(), text[scheme.end() :]
    if name == "file":
        if not rest.startswith("/"):
            raise UserError("a file:// URI has three slashes and an absolute path: file:///data/pool")
        return Uri("local", "", rest)
    if name in ("s3", "minio"):
        return _parse_s3(rest)
    if name == "hf":
        hub = _HUB.fullmatch(rest)
        if not hub or ".." in rest:
            raise UserError(
                f"not a hub name: {rest!r}; write hf://org/name or hf://datasets/org/name, perhaps with @revision"
            )
        return Uri("hub", "dataset" if hub[1] else "model", hub[2] + (f"@{hub[3]}" if hub[3] else ""))
    raise UserError(f"unknown scheme '{name}://'; known: s3://, minio://, hf://, file:// and a plain path")


def _parse_s3(rest: str) -> Uri:
    bucket, _, key = rest.partition("/")
    if "@" in bucket or ":" in bucket:  # keys or an endpoint in the URI: not repeated in the error, it may be a secret
        raise UserError("an S3 URI is s3://bucket/key; endpoint and keys come from the environment, never from the URI")
    if not _BUCKET.fullmatch(bucket) or ".." in bucket:
        raise UserError(f"not a bucket name: {bucket[:70]!r}; 3 to 63 of a-z, 0-9, '.' and '-', as in s3://bucket/key")
    key = key.removesuffix("/")
    return Uri("s3", bucket, check_name(key) if key else "")


def check_name(name: str) -> str:
    """Returns a key or a member's name that stays in its folder, on every store and as a local file.

    Raises:
        UserError: It has an empty part, `.` or `..`, is absolute or too long, or has a character that not all can keep.
    """
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        why = "it must be relative, without empty parts, '.' and '..'"
    elif re.search(r"[\x00-\x1f\x7f-\x9f\\?\ud800-\udfff\u2028\u2029]", name):
        why = r"it has a control character, a '\' or a '?'"
    elif len(name.encode()) > 1024 or any(len(part.encode()) > 255 for part in parts):
        why = "it is longer than 1024 bytes, or a part of it than 255"
    else:
        return name
    raise UserError(f"unsafe name {name[:200]!r}: {why}")


def join(uri: str | os.PathLike[str], *names: str) -> str:
    """Puts checked names under a folder's URI, in the scheme as it was written.

    Raises:
        UserError: A name could leave the folder.
    """
    if parse(uri).kind == "hub":
        raise UserError(f"{uri}: files of a hub repository are read through fetch()")
    return "/".join([os.fspath(uri).rstrip("/"), *map(check_name, names)])
