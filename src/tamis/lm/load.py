"""A language model by folder, by hub id, by URI, or `demo`."""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from tamis import store
from tamis.errors import UserError
from tamis.lm import cores, dense, machine, pack
from tamis.lm.demo import NAME, demo_model

DType = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class LanguageModel:
    """A causal model ready for packed passes.

    Attributes:
        model: The Hugging Face model in evaluation mode, its attention set to packed rows.
        tokenizer: Its tokenizer.
        identity: Name, digest of weights and configuration, and the type it computes in; scores are kept under it.
        window: Tokens that it can read at once.
    """

    model: Any
    tokenizer: Any
    identity: dict[str, str]
    window: int

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def layers(self) -> Any:
        """Its decoder blocks, in order."""
        decoder = self.model.get_decoder() if hasattr(self.model, "get_decoder") else self.model.base_model
        for name in ("layers", "h", "blocks"):
            if hasattr(decoder, name):
                return getattr(decoder, name)
        raise UserError(f"{self.identity['model']}: no decoder layers found in {type(decoder).__name__}")


def resolve(name: str) -> str:
    """The local folder of a model (or the plain hub id, left as it is) for a name as the user gives it.

    A URI is fetched into the local cache first, in parallel and once for all processes of a machine; so is the model
    that a training published elsewhere and whose `training.json` says where.

    Args:
        name: A folder, `s3://bucket/key`, `minio://…`, `hf://org/name`, a hub id, or `demo`.

    Raises:
        UserError: There is no such model, or it is not whole.
        TamisError: It does not arrive from its store.
    """
    if name == NAME:
        return str(demo_model())
    where = location(name)
    place = store.parse(where)
    path = Path(place.path).expanduser() if place.kind == "local" else store.fetch(where)
    if path.is_dir():
        if not (path / "config.json").exists():
            raise UserError(f"{name}: no config.json there; a model's folder is needed")
        if not any((path / f).exists() for f in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")):
            raise UserError(f"{name}: the model's folder has no tokenizer; save the tokenizer beside the weights")
        return str(path)
    if place.kind != "local" or name.startswith((".", "/", "~", "file:")) or name.count("/") > 1:
        raise UserError(f"{name}: no such folder")
    return name


def location(name: str) -> str:
    """Where a model is: its name, or where the training in that folder published it."""
    if store.parse(name).kind == "local":
        with suppress(OSError, ValueError):
            return str(json.loads((Path(name) / "training.json").read_text()).get("model_uri") or name)
    return name


def digest(folder: Path) -> str:
    """SHA-256 over names and contents of the files that make the model (weights, configuration, tokenizer, code)."""
    total = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.name != store.MANIFEST and file.suffix in (".safetensors", ".json", ".jinja", ".model", ".py"):
            with file.open("rb") as stream:
                total.update(f"{file.name}:{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()[:32]


def load(name: str, dtype: DType = "auto", trusted: Sequence[str] = ()) -> LanguageModel:
    """Loads a model and its tokenizer for scoring.

    Only safetensors are read, and no code from the model's folder is run unless the model is named as trusted.

    Args:
        name: A folder, a URI, a hub id, or `demo`.
        dtype: The type to compute in; `auto` takes `machine.fast_type`.
        trusted: Names of models, as they are given, whose own Python code may be run.

    Raises:
        UserError: Nothing there, no tokenizer, or a model whose passes cannot be packed.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = resolve(name)
    trust = name in trusted
    pack.install()
    dense.keep_memory()
    cores.keep_to_limit()
    torch_type = machine.fast_type() if dtype == "auto" else getattr(torch, dtype)
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=trust)
        model = AutoModelForCausalLM.from_pretrained(
            where,
            dtype=torch_type,
            attn_implementation=pack.ATTENTION,
            trust_remote_code=trust,
            use_safetensors=True,
        )
    except (OSError, ValueError) as error:
        if "trust_remote_code" in str(error):
            raise UserError(
                f"model '{name}' brings code of its own, which is not run; if you have read and trust it, name it in "
                "trust_remote_code in the settings of scoring and evaluation"
            ) from error
        reason = str(error).strip().splitlines()[0]
        offline = " (the hub is switched off by HF_HUB_OFFLINE)" if os.environ.get("HF_HUB_OFFLINE") == "1" else ""
        raise UserError(f"model '{name}' cannot be loaded: {reason}{offline}") from error
    model.eval().requires_grad_(False)
    if torch.cuda.is_available():
        model.to("cuda")
    elif machine.packs_faster(torch_type):
        dense.accelerate(model)
    version = digest(Path(where)) if Path(where).is_dir() else str(getattr(model.config, "_commit_hash", ""))
    config = model.config.get_text_config()
    window = int(getattr(config, "max_position_embeddings", 0) or tokenizer.model_max_length)
    identity = {"model": location(name), "digest": version, "dtype": str(torch_type).removeprefix("torch.")}
    loaded = LanguageModel(model, tokenizer, identity, window)
    _check_packing(loaded)
    return loaded


def _check_packing(lm: LanguageModel) -> None:
    """Compares a packed pass with the model's own on two sentences: an odd architecture is refused, not misread.

    Sentences rather than any tokens: on text that a model knows, bfloat16 is off by 2 % of the logits' spread, on
    meaningless tokens by 20 %.
    """
    from tamis.lm.forward import hidden_states, logits

    first, second = (
        torch.tensor(lm.tokenizer(text, add_special_tokens=False)["input_ids"], device=lm.device)
        for text in ("Bees make honey in spring.", "The capital of France is Paris, and that of Italy is Rome.")
    )
    own = lm.model.config._attn_implementation
    packed = pack.pack([first.cpu().numpy(), second.cpu().numpy()])
    with torch.inference_mode():
        ours = logits(lm, hidden_states(lm, packed)[len(first) :]).float()
        lm.model.set_attn_implementation("eager")
        theirs = lm.model(input_ids=second[None], use_cache=False).logits[0].float()
        lm.model.set_attn_implementation(own)
    off = float((ours - theirs).abs().mean() / theirs.std())
    if not off < (1e-3 if lm.identity["dtype"] == "float32" else 0.1):
        raise UserError(
            f"model '{lm.identity['model']}' ({type(lm.model).__name__}) gives other logits when rows are packed "
            f"(mean difference {off:.2g} of their spread); this architecture is not supported"
        )
