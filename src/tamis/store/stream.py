"""Reads an object from its start to its end without keeping it: for pools larger than memory and disk.

A connection that breaks is opened again at the byte where it broke, if the object is still the same. The digest can
only be known at the end, so it is compared there: **the last read raises if a byte on the way was wrong**, and what
was read before it must be thrown away. Where that is not acceptable, `tamis.store.fetch` checks first and reads
afterwards.
"""

import hashlib
import io
from typing import Any

from tamis.errors import TamisError
from tamis.store import s3
from tamis.store.faults import Conflict, Damaged
from tamis.store.uri import Uri


class _Stream(io.RawIOBase):
    def __init__(self, uri: Uri) -> None:
        self._uri = uri
        self._there = s3.stat(uri)
        self._at = 0
        self._sha256, self._md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        self._response: Any = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._at >= self._there.size:
            self._check()
            return 0
        try:
            data: bytes = s3.request("read", self._uri, lambda client: self._some(client, len(buffer)))
        except Conflict:
            raise TamisError(f"{self._uri} was replaced while it was being read; read it again") from None
        self._sha256.update(data)
        self._md5.update(data)
        self._at += len(data)
        if self._at == self._there.size:
            self._check()
        buffer[: len(data)] = data
        return len(data)

    def _some(self, client: Any, most: int) -> bytes:
        try:
            if self._response is None:
                headers = {"Range": f"bytes={self._at}-", "If-Match": f'"{self._there.etag}"'}
                self._response = s3.execute(client, "GET", self._uri, headers=headers, preload_content=False)
                if self._response.status != 206 and self._at:
                    raise Damaged("the store sends another part than was asked for")
            data: bytes = self._response.read(min(most, self._there.size - self._at))
            if not data:
                raise Damaged(f"{self._at} of {self._there.size} bytes arrived")
            return data
        except Exception:
            self._drop()
            raise

    def _check(self) -> None:
        try:
            self._there.check_digest(self._at, self._sha256.hexdigest(), self._md5.hexdigest())
        except Damaged as error:
            raise TamisError(f"cannot read {self._uri}: {error}; what was read of it must not be used") from None

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    def close(self) -> None:
        self._drop()
        super().close()


def open_stream(uri: Uri) -> io.BufferedReader:
    """Opens an object for reading once, in order.

    Raises:
        UserError: There is none, or it may not be read.
        TamisError: From a read: it does not arrive, was replaced meanwhile, or (at the end) is damaged.
    """
    return io.BufferedReader(_Stream(uri), 1 << 20)
