"""The tuned weights out of DeepSpeed's hands and into an ordinary model folder."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def gather(model: Any, *, sharded: bool, keep: bool) -> dict[str, Tensor]:
    """All weights of a model by name, on the CPU.

    Args:
        model: The model inside the DeepSpeed engine; every process must call this.
        sharded: Whether the weights are shared out among the processes (ZeRO stage 3); they are then fetched one by
            one, so that no process ever holds more than one whole weight besides its share.
        keep: Whether this process wants them; the others get an empty dictionary.
    """
    import deepspeed

    weights: dict[str, Tensor] = {}
    for name, weight in model.named_parameters():
        with deepspeed.zero.GatheredParameters([weight], enabled=sharded):
            if keep:
                weights[name] = weight.detach().to("cpu", copy=True)
    return weights


def merge_adapters(weights: dict[str, Tensor], model: Any, dtype: torch.dtype) -> dict[str, Tensor]:
    """Adds LoRA adapters to the weights that they belong to: W + alpha / rank * B A, in float32.

    Args:
        weights: What `gather` gave for a model with adapters.
        model: That model; only its structure is read.
        dtype: Type of the result.

    Returns:
        The weights under the names that they have without adapters.
    """
    from peft.tuners.lora import Linear

    merged = dict(weights)
    for name, module in model.named_modules():
        if not isinstance(module, Linear):
            continue
        for adapter, scale in module.scaling.items():
            a = merged.pop(f"{name}.lora_A.{adapter}.weight").float()
            b = merged.pop(f"{name}.lora_B.{adapter}.weight").float()
            delta = scale * (b @ a)
            base = f"{name}.base_layer.weight"
            merged[base] = (merged[base].float() + (delta.T if module.fan_in_fan_out else delta)).to(dtype)
    left = [name for name in merged if "lora_" in name]
    if left:
        raise ValueError(f"adapters that cannot be merged: {', '.join(left[:3])}")
    return {name.removeprefix("base_model.model.").replace(".base_layer.", "."): w for name, w in merged.items()}


def save(weights: dict[str, Tensor], model: Any, tokenizer: Any, dtype: torch.dtype, out: Path) -> None:
    """Writes weights (safetensors), configuration and tokenizer as an ordinary model folder.

    Args:
        weights: All weights by their own names, without adapters.
        model: The model, without adapters around it; only its class and configuration are read.
        tokenizer: Its tokenizer.
        dtype: The type to save in.
        out: The folder.
    """
    config = model.config
    with torch.device("meta"):
        # A model without adapters and without content, so that the folder's configuration says what is in it.
        skeleton = type(model)._from_config(config, dtype=dtype)
    skeleton.generation_config = model.generation_config
    skeleton.save_pretrained(out, state_dict={name: weight.to(dtype) for name, weight in weights.items()})
    tokenizer.save_pretrained(out)
