"""Models and data sets of the Hugging Face hub, through `huggingface_hub`, imported only here and only when used.

The hub keeps its own cache as ours is: content addressed, locked, complete or not there. Of a model only what is
not pickled is downloaded.
"""

import importlib
import os
from pathlib import Path

from tamis.errors import TamisError, UserError
from tamis.store.uri import Uri

_PICKLED = ["*.bin", "*.pt", "*.pth", "*.pkl", "*.pickle", "*.ckpt", "*.h5", "*.msgpack", "*.npy", "*.npz", "*.joblib"]
_OTHERS = ["*.onnx", "*.gguf", "*.tflite", "*.ot", "onnx/*", "openvino/*", "coreml/*", "original/*"]


def snapshot(uri: Uri) -> Path:
    """The local folder of a repository, downloaded when it is not there yet.

    Raises:
        UserError: The hub is switched off, not installed, or has no such repository (or a private one).
        TamisError: It cannot be reached.
    """
    name, _, revision = uri.path.partition("@")
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        raise UserError(
            f"{uri} needs the hub, but HF_HUB_OFFLINE is set; copy it to your store once and use its s3:// URI"
        )
    try:
        hub = importlib.import_module("huggingface_hub")
        errors = importlib.import_module("huggingface_hub.errors")
    except ImportError:
        raise UserError(f"{uri} needs huggingface_hub; install tamis[lm]") from None
    ignored = _PICKLED + _OTHERS if uri.root == "model" else None
    try:
        return Path(hub.snapshot_download(name, repo_type=uri.root, revision=revision or None, ignore_patterns=ignored))
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.GatedRepoError):
        raise UserError(f"{uri}: no such {uri.root} or revision on the hub, or it needs HF_TOKEN") from None
    except Exception as error:
        raise TamisError(f"cannot read {uri} from the hub: {type(error).__name__}; it may be unreachable") from None
