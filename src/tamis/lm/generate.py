"""Greedy continuations of many prompts at once, and how sure the model is of each token."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.lm.engine import Engine
from tamis.lm.forward import logits
from tamis.lm.load import LanguageModel

Ids = NDArray[np.int32]


@dataclass(frozen=True)
class Continuation:
    """What the model writes behind a prompt.

    Attributes:
        ids: Token ids, the end marker included if it came, int64 [tokens].
        chances: The probability of each, which is the highest of all tokens at its place, float32 [tokens].
    """

    ids: NDArray[np.int64]
    chances: NDArray[np.float32]


def continue_greedily(engine: Engine, prompts: Sequence[Ids], tokens: int) -> list[Continuation]:
    """The most probable token again and again, until the end marker or `tokens` tokens.

    Prompts of like length are read together, padded on the left; keys and values are cached. Cost: one pass over each
    prompt and one over each new token, with logits at one position a row.

    Args:
        engine: The model and the tokens of a batch.
        prompts: Token ids, none of them empty.
        tokens: New tokens at most.
    """
    ends = end_markers(engine.lm)
    result: dict[int, Continuation] = {}
    with unpacked(engine.lm), torch.inference_mode():
        for batch in _batches([len(p) for p in prompts], tokens, engine.batch_tokens):
            for i, made in zip(batch, _continue(engine, [prompts[i] for i in batch], tokens, ends), strict=True):
                result[i] = made
    return [result[i] for i in range(len(prompts))]


def end_markers(lm: LanguageModel) -> set[int]:
    """The tokens with which the model ends an answer."""
    generation = getattr(lm.model, "generation_config", None)
    named = [getattr(generation, "eos_token_id", None), lm.model.config.eos_token_id, lm.tokenizer.eos_token_id]
    return {int(i) for ids in named if ids is not None for i in (ids if isinstance(ids, list) else [ids])}


@contextmanager
def unpacked(lm: LanguageModel) -> Iterator[None]:
    """Inside, the model reads padded batches in the usual way, and may cache keys and values."""
    packed = lm.model.config._attn_implementation
    try:
        lm.model.set_attn_implementation("sdpa")
    except ValueError:  # an architecture without it
        lm.model.set_attn_implementation("eager")
    try:
        yield
    finally:
        lm.model.set_attn_implementation(packed)


def _continue(engine: Engine, prompts: Sequence[Ids], tokens: int, ends: set[int]) -> list[Continuation]:
    from transformers import DynamicCache

    lm = engine.lm
    longest = max(len(p) for p in prompts)
    ids = torch.zeros(len(prompts), longest, dtype=torch.int64)
    mask = torch.zeros(len(prompts), longest, dtype=torch.int64)
    for i, prompt in enumerate(prompts):
        ids[i, longest - len(prompt) :] = torch.from_numpy(np.asarray(prompt, np.int64))
        mask[i, longest - len(prompt) :] = 1
    ids, mask = ids.to(lm.device), mask.to(lm.device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    stop = torch.tensor(sorted(ends), device=lm.device)
    done = torch.zeros(len(prompts), dtype=torch.bool, device=lm.device)
    cache: Any = DynamicCache(config=lm.model.config)
    decoder = lm.model.get_decoder() if hasattr(lm.model, "get_decoder") else lm.model.base_model
    made, chances, real = [], [], []
    for _ in range(tokens):
        hidden = decoder(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        ).last_hidden_state[:, -1]
        chance, token = logits(lm, hidden).float().softmax(-1).max(-1)
        made.append(token)
        chances.append(chance)
        real.append(~done)
        done = done | torch.isin(token, stop)
        engine.work.scored += len(prompts)
        engine.work.batches += 1
        if bool(done.all()):
            break
        ids, positions = token[:, None], positions[:, -1:] + 1
        mask = torch.cat([mask, torch.ones_like(ids)], 1)
    lengths = torch.stack(real, 1).sum(1).tolist()
    written, sure = torch.stack(made, 1).cpu().numpy(), torch.stack(chances, 1).cpu().numpy()
    engine.work.tokens += sum(map(len, prompts)) + sum(lengths)
    return [Continuation(w[:n], c[:n]) for w, c, n in zip(written, sure, lengths, strict=True)]


def _batches(lengths: Sequence[int], tokens: int, budget: int) -> Iterator[list[int]]:
    """Rows, longest first, in batches of at most `budget` positions with what they will write, or of one row."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batch and (len(batch) + 1) * (lengths[batch[0]] + tokens) > budget:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
