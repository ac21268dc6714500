"""The S3 requests: one object, read or written whole, and checked.

Every object that we write carries its SHA-256 as `x-amz-meta-sha256`; reading compares it. For writing, the body's
MD5 goes along (SeaweedFS checks that one and, tried, not the SHA-256 of the signature) and the ETag that comes back
is compared. Objects of other tools are held to their ETag where it is an MD5 (not multipart, not KMS), else to their
length.

The `minio` client signs and parses. Its own retries are off: `faults.retrying` is the one place that decides.
Conditional and multipart writes go through its `_execute`, since its public methods offer no condition and restart a
whole object for one bad part.
"""

import base64
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from itertools import islice
from typing import Any

import certifi
import urllib3
from minio import Minio
from minio.commonconfig import REPLACE, CopySource
from minio.error import S3Error

from tamis.errors import UserError
from tamis.store.endpoint import Connection, connection, number
from tamis.store.faults import Damaged, Missing, retrying
from tamis.store.uri import Uri

META = "x-amz-meta-sha256"
_MD5 = re.compile(r"[0-9a-f]{32}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PAGE = 1000


@dataclass(frozen=True)
class Stat:
    """What the store says of an object.

    Attributes:
        size: Bytes.
        etag: Changes with the content.
        sha256: Recorded by us when it was written; None for an object of another tool.
        md5: Where the ETag is one.
        age: Seconds since it was written, by the store's own clock.
    """

    size: int
    etag: str
    sha256: str | None
    md5: str | None
    age: float

    def check(self, data: bytes) -> None:
        """Raises Damaged unless these are the object's bytes."""
        self.check_digest(len(data), sha256(data) if self.sha256 else "", md5(data) if self.md5 else "")

    def check_digest(self, size: int, sha: str, md5_: str) -> None:
        """Raises Damaged unless length and digests are the object's."""
        if size != self.size:
            raise Damaged(f"{size} of {self.size} bytes arrived")
        if self.sha256 and sha != self.sha256:
            raise Damaged(f"the bytes do not match their SHA-256 {self.sha256[:12]}...; the object is damaged")
        if not self.sha256 and self.md5 and md5_ != self.md5:
            raise Damaged(f"the bytes do not match their MD5 {self.md5[:12]}...; the object is damaged")


def sha256(data: bytes) -> str:
    """SHA-256, as hex."""
    return hashlib.sha256(data).hexdigest()


def md5(data: bytes) -> str:
    """MD5, as hex; for S3's own fields, not for trust."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@lru_cache(maxsize=8)
def _client(at: Connection, pid: int) -> Any:
    """A client a process (a forked one must not share sockets), safe for threads."""
    secure, _, host = at.endpoint.partition("://")
    timeout = float(number("TAMIS_S3_TIMEOUT", 60))
    pool = urllib3.PoolManager(
        maxsize=2 * number("TAMIS_S3_THREADS", 8),
        timeout=urllib3.Timeout(connect=min(timeout, 10.0), read=timeout),
        retries=False,
        cert_reqs="CERT_REQUIRED",
        ca_certs=at.ca_file or certifi.where(),
    )
    return Minio(
        host,
        access_key=at.access_key,
        secret_key=at.secret_key,
        session_token=at.session_token,
        secure=secure == "https",
        region=at.region,
        http_client=pool,
    )


def request(what: str, uri: Uri, call: Callable[[Any], Any]) -> Any:
    """Calls with a client, again when that may help; names the URI and the endpoint in errors."""
    at = connection()
    return retrying(f"{what} {uri}", lambda: call(_client(at, os.getpid())), at.endpoint)


def execute(client: Any, method: str, uri: Uri, query: Mapping[str, str] | None = None, **more: Any) -> Any:
    """One signed request to an object, or to a bucket."""
    return client._execute(method, uri.root, object_name=uri.path or None, query_params=dict(query or {}), **more)


def _stat(headers: Mapping[str, str], size: int) -> Stat:
    etag = headers.get("etag", "").strip('"')
    recorded = headers.get(META)
    if recorded is not None and not _SHA256.fullmatch(recorded):
        raise Damaged("the recorded SHA-256 is none")
    plain = _MD5.fullmatch(etag) and "kms" not in headers.get("x-amz-server-side-encryption", "")
    age = 0.0
    if "last-modified" in headers and "date" in headers:
        age = (parsedate_to_datetime(headers["date"]) - parsedate_to_datetime(headers["last-modified"])).total_seconds()
    return Stat(size, etag, recorded, etag if plain else None, age)


def stat(uri: Uri) -> Stat:
    """Asks for an object's size and digest.

    Raises:
        Missing: There is none.
        UserError: It may not be read.
    """

    def call(client: Any) -> Stat:
        try:
            headers = execute(client, "HEAD", uri).headers
        except S3Error as error:
            if error.response.status < 500:  # the answer to HEAD has no body that says why; that to GET has
                body(execute(client, "GET", uri, headers={"Range": "bytes=0-0"}, preload_content=False))
                raise Damaged("the object came or went at this moment") from None
            raise
        return _stat(headers, int(headers["content-length"]))

    answer: Stat = request("read", uri, call)
    return answer


def find(uri: Uri) -> Stat | None:
    """Like `stat`, None where there is no such object; a missing bucket is still an error."""
    try:
        return stat(uri)
    except Missing:
        return None


def body(response: Any) -> bytes:
    """Reads an answer to its end and gives its connection back, or closes it."""
    try:
        data: bytes = response.read()
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return data


def get(uri: Uri) -> bytes:
    """Reads a whole object into memory, checked.

    Raises:
        UserError: There is none, or it may not be read.
        TamisError: It does not arrive, or not as it was written.
    """

    def call(client: Any) -> bytes:
        response = execute(client, "GET", uri, preload_content=False)
        data = body(response)
        _stat(response.headers, int(response.headers["content-length"])).check(data)
        return data

    data: bytes = request("read", uri, call)
    return data


def put(uri: Uri, data: bytes, condition: Mapping[str, str] | None = None) -> str:
    """Writes an object in one request; returns its ETag.

    Args:
        uri: The object.
        data: Its bytes.
        condition: `If-None-Match` or `If-Match`.

    Raises:
        Conflict: The condition does not hold.
        UserError: The bucket is missing, or may not be written.
        TamisError: It did not get there whole.
    """
    need_bucket(uri)
    headers = {META: sha256(data), "Content-Type": "application/octet-stream", **(condition or {})}
    digest = md5(data)
    etag: str = request("write", uri, lambda client: send(client, uri, data, digest, headers))
    return etag


def send(
    client: Any, uri: Uri, data: bytes, digest: str, headers: Mapping[str, str], query: Mapping[str, str] | None = None
) -> str:
    """Puts an object or a part of one with this MD5, and compares what the store says that it received."""
    headers = {**headers, "Content-MD5": base64.b64encode(bytes.fromhex(digest)).decode()}
    answer = execute(client, "PUT", uri, query, body=data, headers=headers).headers
    etag: str = answer.get("etag", "").strip('"')
    if etag != digest and "kms" not in answer.get("x-amz-server-side-encryption", ""):
        raise Damaged("the store received other bytes than were sent")
    return etag


def copy(source: Uri, target: Uri) -> Stat:
    """Copies an object within the store: no byte of it passes through this machine.

    Raises:
        Missing: There is no such object.
        UserError: It may not be read, or not be written there.
        TamisError: What is there afterwards is not the same.
    """
    need_bucket(target)
    there = stat(source)
    recorded = {"sha256": there.sha256} if there.sha256 else None

    def call(client: Any) -> Stat:
        client.copy_object(
            target.root,
            target.path,
            CopySource(source.root, source.path, match_etag=there.etag),
            metadata=recorded,
            metadata_directive=REPLACE if recorded else None,
        )
        made = stat(target)
        if (made.size, made.sha256) != (there.size, there.sha256) or (there.md5 and made.md5 not in (None, there.md5)):
            raise Damaged("the store's copy is not what was copied")
        return made

    made: Stat = request("write", target, call)
    return made


@lru_cache(maxsize=64)
def _bucket_seen(at: Connection, bucket: str) -> None:
    uri = Uri("s3", bucket, "")

    def call(client: Any) -> bool:
        try:
            return bool(client.bucket_exists(bucket))
        except S3Error as error:
            if error.code == "AccessDenied":  # perhaps allowed to write but not to look: the write itself will say
                return True
            raise

    if not request("write to", uri, call):
        raise UserError(
            f"cannot write to {uri}: there is no such bucket at {at.endpoint}; create it or correct the URI"
        )


def need_bucket(uri: Uri) -> None:
    """Checks once that a bucket is there, for SeaweedFS makes a mistyped one without a word."""
    _bucket_seen(connection(), uri.root)


def delete(uri: Uri) -> None:
    """Removes an object; one that is not there is no error."""
    request("remove", uri, lambda client: execute(client, "DELETE", uri))


def names(uri: Uri) -> Iterator[tuple[str, int]]:
    """The objects under a key taken as a folder: relative names and sizes, sorted as the store does, 1000 a request."""
    prefix = f"{uri.path}/" if uri.path else ""
    last: str | None = None
    while True:

        def page(client: Any, after: str | None = last) -> list[Any]:
            return list(islice(client.list_objects(uri.root, prefix=prefix, recursive=True, start_after=after), _PAGE))

        objects = request("list", uri, page)
        for entry in objects:
            if not entry.object_name.endswith("/"):  # markers of empty folders
                yield entry.object_name.removeprefix(prefix), entry.size
        if len(objects) < _PAGE:
            return
        last = objects[-1].object_name
