"""Large objects: sent in parts and fetched in ranges, several at once, each tried again by itself.

Parts of 16 MiB over 8 streams keep memory under 8 x 16 MiB whatever the object's size. Before an upload the file is
read once for its digests (SHA-256 for the object, MD5 a part), and each part is held to that when it is sent, so a
file that changes meanwhile is noticed. An upload shows only when its last part is in; a download takes its name only
when its digest is right.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from xml.etree import ElementTree

from minio.error import S3Error

from tamis.errors import TamisError
from tamis.store import s3
from tamis.store.endpoint import connection, number
from tamis.store.faults import Conflict, Damaged, retrying
from tamis.store.local import atomic_write, explained, need_space
from tamis.store.progress import Progress
from tamis.store.uri import Uri

T = TypeVar("T")

PART = 16 << 20
_BLOCK = 1 << 20
_MOST_PARTS = 9000  # S3 allows 10000


@lru_cache(maxsize=1)
def _slots() -> threading.BoundedSemaphore:
    """Bounds what is in memory and under way in the whole process, however many files are sent at once."""
    return threading.BoundedSemaphore(number("TAMIS_S3_THREADS", 8))


def each(call: Callable[[T], Any], items: Iterable[T]) -> list[Any]:
    """Calls for each item, several at once; the first error stops what has not begun and is raised."""
    with ThreadPoolExecutor(number("TAMIS_S3_THREADS", 8), thread_name_prefix="tamis-store") as pool:
        futures = [pool.submit(call, item) for item in items]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            for future in futures:
                if future.done() and (error := future.exception()):
                    raise error
            return [future.result() for future in futures]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class Fingerprint:
    """Digests of a file as it was when it was read.

    Attributes:
        size: Bytes.
        sha256: Of the whole.
        part: Bytes a part.
        md5s: Of the parts, in order.
    """

    size: int
    sha256: str
    part: int
    md5s: tuple[str, ...]


def fingerprint(path: Path) -> Fingerprint:
    """Reads a file once for its digests, about 400 MB/s."""
    with explained(path), open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        part = max(PART, -(-size // (_MOST_PARTS * _BLOCK)) * _BLOCK)
        md5s: list[str] = []
        whole, read = hashlib.sha256(), 0
        while True:
            piece, got = hashlib.md5(usedforsecurity=False), 0
            while got < part and (block := file.read(min(_BLOCK, part - got))):
                whole.update(block)
                piece.update(block)
                got += len(block)
            if got or not md5s:
                md5s.append(piece.hexdigest())
            read += got
            if got < part:
                return Fingerprint(read, whole.hexdigest(), part, tuple(md5s))


def upload(uri: Uri, path: Path, seen: Fingerprint | None = None, progress: Progress | None = None) -> str:
    """Writes a file to an object; returns its SHA-256.

    Raises:
        UserError: The file or the bucket is missing, or may not be used.
        TamisError: It did not get there whole, or the file changed meanwhile.
    """
    seen = seen or fingerprint(path)
    if progress is None:
        with Progress(f"to {uri}", seen.size) as progress:
            return upload(uri, path, seen, progress)
    if len(seen.md5s) == 1:
        data = _piece(path, seen, 0)
        with _slots():
            s3.put(uri, data)
        progress.add(len(data))
    else:
        s3.need_bucket(uri)
        _upload_parts(uri, path, seen, progress)
    return seen.sha256


def _piece(path: Path, seen: Fingerprint, index: int) -> bytes:
    with explained(path), open(path, "rb") as file:
        file.seek(index * seen.part)
        data = file.read(seen.part)
    if s3.md5(data) != seen.md5s[index]:
        raise TamisError(f"{path} changed while it was being uploaded")
    return data


def _upload_parts(uri: Uri, path: Path, seen: Fingerprint, progress: Progress) -> None:
    headers = {s3.META: seen.sha256, "Content-Type": "application/octet-stream"}

    def begin(client: Any) -> str:
        answer = s3.execute(client, "POST", uri, {"uploads": ""}, headers=dict(headers), body=b"")
        return _text(answer.data, "UploadId")

    upload_id: str = s3.request("write", uri, begin)

    def send(index: int) -> str:
        with _slots():
            data = _piece(path, seen, index)
            query = {"uploadId": upload_id, "partNumber": str(index + 1)}
            etag: str = s3.request("write", uri, lambda client: s3.send(client, uri, data, seen.md5s[index], {}, query))
        progress.add(len(data))
        return etag

    try:
        etags = each(send, range(len(seen.md5s)))
        _complete(uri, upload_id, etags, seen)
    except BaseException:
        _abandon(uri, upload_id)
        raise


def _complete(uri: Uri, upload_id: str, etags: list[str], seen: Fingerprint) -> None:
    """Joins the parts, then asks what is there.

    So an answer that got lost does not become a failure, nor a wrong object a success.
    """
    listed = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{etag}</ETag></Part>" for n, etag in enumerate(etags, 1))

    def call(client: Any) -> None:
        data = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        try:
            answer = s3.execute(
                client, "POST", uri, {"uploadId": upload_id}, body=data, headers={"Content-Type": "text/xml"}
            )
            if ElementTree.fromstring(answer.data).tag.endswith("Error"):  # S3 may say 200 and then fail
                raise Damaged("the store could not join the parts")
        except S3Error as error:
            if error.code != "NoSuchUpload":  # joined by the try before, whose answer was lost: look
                raise
        there = s3.find(uri)
        if there is None or (there.size, there.sha256) != (seen.size, seen.sha256):
            raise Damaged("the store did not join the parts to what was sent")

    s3.request("write", uri, call)


def _abandon(uri: Uri, upload_id: str) -> None:
    """Frees the parts of an upload that failed; as well as can be, for the error on its way matters more."""
    try:
        at = connection()
        s3.execute(s3._client(at, os.getpid()), "DELETE", uri, {"uploadId": upload_id})
    except Exception:  # the store's own rule for abandoned uploads must do it
        pass


def _text(data: bytes, tag: str) -> str:
    for element in ElementTree.fromstring(data).iter():
        if element.tag.rpartition("}")[2] == tag and element.text:
            return element.text
    raise Damaged(f"the store's answer has no {tag}")


def download(uri: Uri, path: Path, progress: Progress | None = None) -> str:
    """Reads an object into a file, whole or not at all; returns the SHA-256 of the file.

    Raises:
        UserError: There is no such object, or the file cannot be written.
        TamisError: It does not arrive, or not as it was written, or the disk is full.
    """
    if progress is None:
        with Progress(f"from {uri}", s3.stat(uri).size) as progress:
            return download(uri, path, progress)
    return retrying(f"read {uri}", lambda: _download(uri, path, progress))


def _download(uri: Uri, path: Path, progress: Progress) -> str:
    there = s3.stat(uri)
    if there.size > PART:
        need_space(path, there.size)
    with atomic_write(path) as file:

        def fetch(start: int) -> None:
            with _slots():
                _range(uri, there, start, min(PART, there.size - start), file.fileno(), path)
            progress.add(min(PART, there.size - start))

        try:
            each(fetch, range(0, there.size, PART))
            file.flush()
            with open(file.name, "rb") as written:
                sha = hashlib.file_digest(written, "sha256").hexdigest()
                written.seek(0)
                md5 = (
                    ""
                    if there.sha256
                    else hashlib.file_digest(written, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
                )
            there.check_digest(os.fstat(file.fileno()).st_size, sha, md5)
        except Conflict:
            raise Damaged("the object changes while it is read") from None
    return sha


def _range(uri: Uri, there: s3.Stat, start: int, length: int, handle: int, path: Path) -> None:
    def call(client: Any) -> None:
        headers = {"Range": f"bytes={start}-{start + length - 1}", "If-Match": f'"{there.etag}"'}
        response = s3.execute(client, "GET", uri, headers=headers, preload_content=False)
        at = start
        try:
            if response.status != 206 and length != there.size:
                raise Damaged("the store sends another part than was asked for")
            for block in response.stream(_BLOCK):
                if at + len(block) > start + length:
                    raise Damaged("more bytes arrive than were asked for")
                with explained(path):
                    os.pwrite(handle, block, at)
                at += len(block)
            if at != start + length:
                raise Damaged(f"{at - start} of {length} bytes arrived")
        except BaseException:
            response.close()
            raise
        response.release_conn()

    s3.request("read", uri, call)
