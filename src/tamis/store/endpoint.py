"""Where the S3 store is and who we are: from the environment or a mounted secret, never from a parameter.

Read anew for each use, so a rotated secret is picked up by a step that is already running.

| variable | meaning |
|---|---|
| `TAMIS_S3_ENDPOINT`, `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL` | `http://host:port` or `https://host` |
| `TAMIS_S3_SECRET_DIR` | folder with files `accesskey`, `secretkey` and perhaps `sessiontoken`, as KFP's secret has |
| `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` | used where there is no such folder |
| `AWS_REGION`, `AWS_DEFAULT_REGION` | default `us-east-1` |
| `TAMIS_S3_CA_FILE`, `AWS_CA_BUNDLE`, `SSL_CERT_FILE` | PEM file of the authority behind the certificate |
| `TAMIS_S3_ATTEMPTS`, `TAMIS_S3_TIMEOUT`, `TAMIS_S3_THREADS` | tries (8), seconds of silence (60), streams (8) |
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tamis.errors import UserError


@dataclass(frozen=True)
class Connection:
    """An S3 endpoint and the identity to use there; keys never show in its `repr`.

    Attributes:
        endpoint: `http://host:port` or `https://host:port`.
        access_key: Access key id.
        secret_key: Secret key.
        session_token: Of temporary credentials.
        region: Signed with each request.
        ca_file: PEM file to trust instead of the usual authorities.
    """

    endpoint: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    region: str = "us-east-1"
    ca_file: str | None = None

    def environ(self) -> dict[str, str]:
        """The variables that make another process use this connection; secret."""
        values = {
            "TAMIS_S3_ENDPOINT": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_SESSION_TOKEN": self.session_token,
            "AWS_REGION": self.region,
            "TAMIS_S3_CA_FILE": self.ca_file,
        }
        return {name: value for name, value in values.items() if value}


def connection() -> Connection:
    """Reads the environment.

    Raises:
        UserError: Something is missing or unreadable; says which variable to set and repeats no value of a secret.
    """
    access, secret, token = _keys()
    ca_file = _first("TAMIS_S3_CA_FILE", "AWS_CA_BUNDLE", "SSL_CERT_FILE")
    if ca_file and not os.access(ca_file, os.R_OK):
        raise UserError(f"cannot read the certificates in {ca_file} (TAMIS_S3_CA_FILE, AWS_CA_BUNDLE or SSL_CERT_FILE)")
    region = _first("AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1"
    if not re.fullmatch(r"[A-Za-z0-9_-]+", region):
        raise UserError("AWS_REGION is not a region; most stores that are not AWS take us-east-1")
    return Connection(_endpoint(), access, secret, token, region, ca_file)


def use(at: Connection) -> None:
    """Makes this process, and those that it starts, use a connection, whatever else the environment says."""
    for name in list(os.environ):
        if name in ("TAMIS_S3_SECRET_DIR", "TAMIS_S3_CA_FILE") or re.fullmatch("AWS_[A-Z_0-9]+", name):
            del os.environ[name]
    os.environ.update(at.environ())


def _endpoint() -> str:
    text = _first("TAMIS_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    if not text:
        raise UserError(
            "no S3 endpoint: set TAMIS_S3_ENDPOINT, for example to http://seaweedfs.kubeflow:9000 or https://s3.amazonaws.com"
        )
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.path in ("", "/") and parts.port != 0
    except ValueError:
        good = False
    if not good or "@" in text or parts.query or parts.fragment:  # not repeated: someone may have put keys into it
        raise UserError("TAMIS_S3_ENDPOINT (or AWS_ENDPOINT_URL) must be http://host:port or https://host, and no more")
    return f"{parts.scheme}://{parts.netloc}"


def _keys() -> tuple[str, str, str | None]:
    if folder := os.environ.get("TAMIS_S3_SECRET_DIR"):
        access, secret = (_secret(folder, name) for name in ("accesskey", "secretkey"))
        if not access or not secret:
            raise UserError(f"TAMIS_S3_SECRET_DIR={folder} must hold the readable files 'accesskey' and 'secretkey'")
        return access, secret, _secret(folder, "sessiontoken")
    keys = _first("AWS_ACCESS_KEY_ID"), _first("AWS_SECRET_ACCESS_KEY")
    if not keys[0] or not keys[1]:
        raise UserError(
            "no S3 keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or mount a secret and set TAMIS_S3_SECRET_DIR"
        )
    return keys[0], keys[1], _first("AWS_SESSION_TOKEN")


def _secret(folder: str, name: str) -> str | None:
    try:
        return Path(folder, name).read_text(encoding="utf-8").strip() or None
    except (OSError, ValueError):
        return None


def _first(*names: str) -> str | None:
    return next((value for name in names if (value := os.environ.get(name, "").strip())), None)


def number(name: str, default: int) -> int:
    """A whole number of at least 1 from the environment.

    Raises:
        UserError: It is set to something else.
    """
    text = os.environ.get(name, "").strip() or str(default)
    if not re.fullmatch(r"[1-9][0-9]{0,6}", text):
        raise UserError(f"{name} must be a whole number of at least 1")
    return int(text)
