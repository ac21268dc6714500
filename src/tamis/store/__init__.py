"""Files wherever they are: `s3://bucket/key`, `minio://bucket/key`, `hf://org/name`, a local path.

One file: `exists`, `read_bytes`, `open_read`, `read_file`, `write_bytes`, `open_write`, `write_file`, `remove`.
A folder: `upload_folder`, `download_folder`, `copy_folder`, `describe`, `read_manifest`, `seal`, `list_keys`.
To work with: `fetch` (a local path, cached), `identify` (which content is there), `claim` (hold an output location),
`join` (a name in a folder).
For local files of any kind: `atomic_write`. The embedded server is `tamis.store.server`.

What is written appears whole or not at all, what is read is what was written, what fails is tried again, and what still
fails says why in a line (`UserError`, `TamisError`). `endpoint.py` lists the environment variables.
"""

from tamis.store.cache import fetch, identify
from tamis.store.endpoint import Connection, connection, use
from tamis.store.files import (
    exists,
    list_keys,
    open_read,
    open_write,
    read_bytes,
    read_file,
    remove,
    write_bytes,
    write_file,
)
from tamis.store.folders import (
    MANIFEST,
    Manifest,
    copy_folder,
    describe,
    download_folder,
    read_manifest,
    seal,
    upload_folder,
)
from tamis.store.lease import Claim, claim
from tamis.store.local import atomic_write
from tamis.store.uri import join, parse

__all__ = [
    "MANIFEST",
    "Claim",
    "Connection",
    "Manifest",
    "atomic_write",
    "claim",
    "connection",
    "copy_folder",
    "describe",
    "download_folder",
    "exists",
    "fetch",
    "identify",
    "join",
    "list_keys",
    "open_read",
    "open_write",
    "parse",
    "read_bytes",
    "read_file",
    "read_manifest",
    "remove",
    "seal",
    "upload_folder",
    "use",
    "write_bytes",
    "write_file",
]
