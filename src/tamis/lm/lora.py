"""Low-rank adapters (LoRA, arXiv 2106.09685) as hooks on a loaded model, so that the model itself stays as it is."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import dropout

from tamis.errors import UserError
from tamis.lm.cores import in_own_thread
from tamis.lm.load import LanguageModel

Pair = tuple[Tensor, Tensor]
"""The two factors of a change of weights: down [rank, inputs] and up [outputs, rank]."""


def linear_maps(lm: LanguageModel) -> dict[str, Any]:
    """The linear maps of the decoder's blocks (attention and feed-forward) by their name in the model, in its order."""
    from transformers.pytorch_utils import Conv1D

    inside = {module for layer in lm.layers for module in layer.modules()}
    kinds = (torch.nn.Linear, Conv1D)
    return {name: m for name, m in lm.model.named_modules() if m in inside and isinstance(m, kinds)}


def attention_maps(lm: LanguageModel) -> dict[str, Any]:
    """The query and value projections, or those of query, key and value where a model has them in one.

    Raises:
        UserError: None of the known names is there.
    """
    every = linear_maps(lm)
    for names in (("q_proj", "v_proj"), ("qkv_proj", "query_key_value", "c_attn", "Wqkv")):
        found = {name: module for name, module in every.items() if name.rsplit(".", 1)[-1] in names}
        if found:
            return found
    raise UserError(f"{lm.identity['model']} ({type(lm.model).__name__}): no query and value projections are found")


def sizes(module: Any) -> tuple[int, int]:
    """Inputs and outputs of a linear map."""
    if isinstance(module, torch.nn.Linear):
        return module.in_features, module.out_features
    return int(module.weight.shape[0]), int(module.weight.shape[1])


def fresh_down(name: str, module: Any, rank: int, seed: int) -> Tensor:
    """The random factor as peft begins it, uniform within 1 / sqrt(inputs); float32 [rank, inputs].

    It depends on the seed and the module's name only.
    """
    inputs = sizes(module)[0]
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    return torch.empty(rank, inputs).uniform_(-(inputs**-0.5), inputs**-0.5, generator=generator)


@contextmanager
def adapted(lm: LanguageModel, pairs: Mapping[str, Pair], drop: float = 0.0) -> Iterator[None]:
    """Inside, the maps of these names compute W x + up (down x), the second part in the factors' type.

    Args:
        lm: The model.
        pairs: By name in the model; a scale is part of `up`.
        drop: Dropout of the input of `down`.
    """

    def hook(down: Tensor, up: Tensor) -> Any:
        def add(_module: Any, args: Any, output: Tensor) -> Tensor:
            x = dropout(args[0].to(down.dtype), drop, training=drop > 0)
            return output + (x @ down.T @ up.T).to(output.dtype)

        return in_own_thread(add)

    hooks = [lm.model.get_submodule(name).register_forward_hook(hook(*pair)) for name, pair in pairs.items()]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()
