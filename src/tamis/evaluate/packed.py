"""lm-eval's model on packed rows: no padding, each question's prompt read once for all its choices.

lm-eval asks for the likelihood of each choice with its whole prompt before it. Here the choices of one prompt stand in
one pack and share it as their prefix, and logits exist only for the choices' own tokens. The figures are those of
padded batches up to rounding; generation is lm-eval's own.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM

from tamis.lm import pack
from tamis.lm.cores import overlapped
from tamis.lm.forward import LOGIT_ROWS, hidden_states, log_likelihoods, logits
from tamis.lm.load import LanguageModel

BATCH_TOKENS = 2048
"""Tokens of a pack at most, unless one prompt with its choices has more."""

Request = tuple[Any, list[int], list[int]]


class PackedLM(HFLM):
    """A loaded model for lm-eval whose likelihoods are computed on packed rows.

    Args:
        lm: The model; it reads padded batches where lm-eval generates.
        batch_size: Rows of a batch where lm-eval generates.
        max_length: Tokens of a prompt and its choice at most; a longer prompt loses its beginning.
    """

    def __init__(self, lm: LanguageModel, batch_size: int, max_length: int) -> None:  # noqa: D107
        super().__init__(pretrained=lm.model, tokenizer=lm.tokenizer, batch_size=batch_size, max_length=max_length)
        self._lm = lm

    def _loglikelihood_tokens(
        self, requests: Sequence[Request], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        """For each request the log-likelihood of its choice in nats, and whether it is what greedy decoding gives."""
        self._lm.model.set_attn_implementation(pack.ATTENTION)
        answers: dict[int, tuple[float, bool]] = {}
        try:
            batches = list(self._batches(requests))
            for found in overlapped(partial(self._batch, requests), batches, self._lm.device):
                answers |= found
        finally:
            self._lm.model.set_attn_implementation("sdpa")
        for i, (key, _, _) in enumerate(requests):
            if key is not None:
                self.cache_hook.add_partial("loglikelihood", key, answers[i])
        return [answers[i] for i in range(len(requests))]

    def _batches(self, requests: Sequence[Request]) -> Iterator[dict[tuple[int, ...], list[int]]]:
        """Requests by prompt, longest first, in groups that fit a pack."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, (_, whole, choice) in enumerate(requests):
            groups.setdefault(tuple(whole[-(self.max_length + 1 - len(choice)) :]), []).append(i)
        size = {prompt: len(prompt) + sum(len(requests[i][2]) for i in some) for prompt, some in groups.items()}
        batch: dict[tuple[int, ...], list[int]] = {}
        for prompt in sorted(groups, key=lambda p: (-size[p], p)):
            if batch and sum(size[p] for p in batch) + size[prompt] > BATCH_TOKENS:
                yield batch
                batch = {}
            batch[prompt] = groups[prompt]
        if batch:
            yield batch

    @torch.inference_mode()
    def _batch(
        self, requests: Sequence[Request], batch: dict[tuple[int, ...], list[int]]
    ) -> Callable[[], dict[int, tuple[float, bool]]]:
        """Reads a batch; what it returns gives each request's answer."""
        rows: list[list[int]] = []
        prefixes: list[int | None] = []
        asked: list[tuple[int, int]] = []  # request, row
        for prompt, some in batch.items():
            prefix = len(rows) if len(prompt) > 1 else None
            if prefix is not None:
                rows.append(list(prompt[:-1]))
                prefixes.append(None)
            for i in some:
                asked.append((i, len(rows)))
                rows.append([prompt[-1], *requests[i][2][:-1]])
                prefixes.append(prefix)
        packed = pack.pack(rows, prefixes)
        hidden = hidden_states(self._lm, packed)
        spans = [packed.spans[row] for _, row in asked]
        read = torch.cat([hidden[span.start : span.end] for span in spans])
        labels = torch.tensor([token for i, _ in asked for token in requests[i][2]], device=hidden.device)
        likely, greedy = [], []
        for part, label in zip(torch.split(read, LOGIT_ROWS), torch.split(labels, LOGIT_ROWS), strict=True):
            scores = logits(self._lm, part)
            likely.append(log_likelihoods(scores, label))
            greedy.append(scores.argmax(-1) == label)
        sizes = [len(span) for span in spans]

        def answers() -> dict[int, tuple[float, bool]]:
            sums = [float(part.double().sum()) for part in torch.split(torch.cat(likely).cpu(), sizes)]
            right = [bool(part.all()) for part in torch.split(torch.cat(greedy).cpu(), sizes)]
            return {i: (sums[k], right[k]) for k, (i, _) in enumerate(asked)}

        return answers
