"""A real S3 server for all tests of this folder, and a folder of its own for each."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tamis.store import Connection, server

_count = itertools.count()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    server._GRACE = 3.0  # after broken uploads it can take long, and nobody needs this data
    with server.running(tmp_path_factory.mktemp("s3")) as at:
        yield at


@pytest.fixture
def s3(s3_server: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Connection:
    """The server in the environment, with little patience and a cache of this test's own."""
    for name in (
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT_URL",
        "AWS_SESSION_TOKEN",
        "TAMIS_S3_SECRET_DIR",
        "AWS_CA_BUNDLE",
        "SSL_CERT_FILE",
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in s3_server.environ().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "cache"))
    return s3_server


@pytest.fixture
def bucket(s3: Connection) -> str:
    """A folder in the store that no other test uses."""
    return f"s3://{server.BUCKET}/test-{next(_count)}"


@pytest.fixture(params=["s3", "local"])
def folder(request: pytest.FixtureRequest, bucket: str, tmp_path: Path) -> str:
    """A folder in the store, and one on this machine: the same functions, the same results."""
    return bucket if request.param == "s3" else str(tmp_path / "folder")
