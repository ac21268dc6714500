"""Shared fixtures: a real small model, rows, and the demo model where its weights matter."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tamis.pool.rows import Message, Row, row_id
from tamis.store import Connection, server

_count = itertools.count()
SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


def make_row(prompt: str, answer: str, source: str = "test", **original: object) -> Row:
    messages = (Message("user", prompt), Message("assistant", answer))
    return Row(row_id(messages), messages, source, dict(original))


@pytest.fixture
def row() -> Callable[..., Row]:
    """Makes a row of one question and one answer."""
    return make_row


@pytest.fixture(scope="session")
def demo_folder() -> Path:
    """The demo model (SmolLM2-135M-Instruct) as a folder."""
    from tamis.lm.demo import demo_model

    return demo_model()


@pytest.fixture(scope="session")
def small_model(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model cut to its first two layers: real weights and tokenizer, a fifteenth of the work."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("models") / "two-layers"
    model = AutoModelForCausalLM.from_pretrained(demo_folder, num_hidden_layers=2, dtype=torch.float32)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(demo_folder).save_pretrained(folder)
    return folder


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


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Public pools and evaluation sets kept beside the checkout; not part of the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the public data sets beside the checkout (../shared/data)")
    return SHARED_DATA
