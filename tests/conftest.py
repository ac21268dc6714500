"""Shared fixtures: a real small model, rows, and the demo model where its weights matter."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from collections.abc import Callable
from pathlib import Path

import pytest

from tamis.pool.rows import Message, Row, row_id

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
def shared_data() -> Path:
    """Public pools and evaluation sets kept beside the checkout; not part of the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the public data sets beside the checkout (../shared/data)")
    return SHARED_DATA
