"""The pass itself: hidden states of a pack, and losses at the positions that somebody reads."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from tamis.errors import UserError
from tamis.lm.cores import in_own_thread
from tamis.lm.load import LanguageModel
from tamis.lm.pack import Pack, attending

LOGIT_ROWS = 1024 if torch.cuda.is_available() else 128
"""Positions whose logits exist at one time: 1024 of a 150k vocabulary are 0.6 GiB in float32; of more than 128, a CPU's
caches no longer hold them, and the loss takes three times as long."""
LOG2_E = 1.4426950408889634


def hidden_states(lm: LanguageModel, pack: Pack) -> Tensor:
    """Last hidden states after the final norm, [tokens, width]; the head is not computed."""
    decoder = lm.model.get_decoder() if hasattr(lm.model, "get_decoder") else lm.model.base_model
    ids, positions = pack.ids.to(lm.device), pack.positions.to(lm.device)
    with attending(pack.spans):
        out: Tensor = decoder(input_ids=ids[None], position_ids=positions[None], use_cache=False).last_hidden_state
    return out[0]


def logits(lm: LanguageModel, hidden: Tensor) -> Tensor:
    """Logits of these hidden states, [positions, vocabulary], scaled and capped as the model's configuration says."""
    config = lm.model.config.get_text_config()
    out: Tensor = lm.model.get_output_embeddings()(hidden)
    scale = float(getattr(config, "logit_scale", None) or 1.0) / float(getattr(config, "logits_scaling", None) or 1.0)
    if scale != 1.0:  # most models have none, and a pass over the logits costs as much as an exponential of them
        out = out * scale
    cap = float(getattr(config, "final_logit_softcapping", None) or 0.0)
    return cap * torch.tanh(out / cap) if cap else out


def token_losses(lm: LanguageModel, hidden: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood in nats of `labels` under these hidden states, float32 [positions], in chunks."""
    losses = []
    for part, label in zip(torch.split(hidden, LOGIT_ROWS), torch.split(labels, LOGIT_ROWS), strict=True):
        losses.append(-log_likelihoods(logits(lm, part), label))
    return torch.cat(losses) if losses else hidden.new_zeros(0, dtype=torch.float32)


def log_likelihoods(scores: Tensor, labels: Tensor) -> Tensor:
    """Log-likelihood of a label under each row of logits, in nats, float32 [rows].

    On a CPU a few rows at a time, so that they stay in its caches, and with powers of two, which PyTorch computes four
    times as fast there as those of e: a quarter less time than `log_softmax`, which also writes all that nobody reads.
    """
    found = []
    rows = 8 if scores.device.type == "cpu" else max(1, len(scores))
    for some, label in zip(torch.split(scores, rows), torch.split(labels, rows), strict=True):
        own = some.gather(-1, label[:, None])[:, 0].float()
        every = some.float()
        top = every.detach().amax(-1)  # the result does not depend on it, so neither does the gradient
        rest = torch.add(-LOG2_E * top[:, None], every, alpha=LOG2_E).exp2_().sum(-1)
        found.append(own - top - rest.log())
    return torch.cat(found)


@contextmanager
def activations(lm: LanguageModel, site: str) -> Iterator[list[Tensor]]:
    """Collects one [tokens, width] tensor for each decoder layer during a pass made inside.

    Args:
        lm: The model.
        site: `resid`, the output of each block, or `ffn`, the input of its down projection.
    """
    seen: list[Tensor] = []
    hooks = []

    def keep_output(_module: Any, _args: Any, output: Any) -> None:
        seen.append((output[0] if isinstance(output, tuple) else output).reshape(-1, output[0].shape[-1]))

    def keep_input(_module: Any, args: Any) -> None:
        seen.append(args[0].reshape(-1, args[0].shape[-1]))

    for layer in lm.layers:
        if site == "resid":
            hooks.append(layer.register_forward_hook(in_own_thread(keep_output)))
        else:
            hooks.append(_down_projection(layer).register_forward_pre_hook(in_own_thread(keep_input)))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _down_projection(layer: Any) -> Any:
    for path in ("mlp.down_proj", "mlp.c_proj", "mlp.fc2", "fc2"):
        try:
            return layer.get_submodule(path)
        except AttributeError:
            continue
    raise UserError(f"{type(layer).__name__} has no down projection that is known; use the setting `site=resid`")
