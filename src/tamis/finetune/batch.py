"""What the model reads and learns in one pass: rows side by side, without padding, as when they are scored."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tamis.finetune.examples import learned
from tamis.lm.encode import Encoded
from tamis.lm.pack import attending, pack

NOTHING = Encoded(np.zeros(2, np.int32), np.zeros(2, np.int8))
"""Two tokens of a prompt: for a process that has no row in an incomplete step, but must take part in it."""


def collate(rows: Sequence[Encoded]) -> dict[str, Any]:
    """Packs rows.

    Returns:
        `input_ids` and `position_ids`, int64 [1, tokens]; `at`, the positions whose logits are read, and `labels`, the
        tokens that they should predict, int64 [learned]; `spans`, where each row is.
    """
    rows = rows or [NOTHING]
    packed = pack([row.ids for row in rows])
    targets = np.concatenate([learned(row) + span.start for row, span in zip(rows, packed.spans, strict=True)])
    to_predict = torch.from_numpy(targets.astype(np.int64))
    return {
        "input_ids": packed.ids[None],
        "position_ids": packed.positions[None],
        "at": to_predict - 1,
        "labels": packed.ids[to_predict],
        "spans": packed.spans,
    }


def summed_loss(model: Any, batch: dict[str, Any], picks_logits: bool = True) -> Tensor:
    """Sum of the cross-entropies of a batch's learned tokens in nats, float32; logits exist at their positions only.

    Args:
        model: The model, or what wraps it.
        batch: What `collate` gave, on the model's device.
        picks_logits: Whether its forward takes `logits_to_keep`; otherwise all logits are computed first.
    """
    inputs = {name: batch[name] for name in ("input_ids", "position_ids")}
    at = batch["at"]
    with attending(batch["spans"]):
        if picks_logits:
            logits = model(**inputs, logits_to_keep=at).logits[0]
        else:
            logits = model(**inputs).logits[0, at]
    return torch.nn.functional.cross_entropy(logits.float(), batch["labels"], reduction="sum")


def check_packing(model: Any, device: torch.device, exact: bool) -> None:
    """Refuses an architecture that mixes the rows of a batch: a row must give the same alone and behind another.

    Args:
        model: The model, or what wraps it.
        device: Where it computes.
        exact: Whether it computes in float32.

    Raises:
        ValueError: The row differs.
    """
    row = Encoded(np.arange(10, 16, dtype=np.int32), np.ones(6, np.int8))
    other = Encoded(row.ids[::-1].copy(), np.zeros(6, np.int8))
    losses = []
    with torch.no_grad():  # not inference mode: ZeRO stage 3 keeps the weights that it gathers here
        for rows in ([row], [other, row]):
            batch = collate(rows)
            tensors = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in batch.items()}
            losses.append(float(summed_loss(model, tensors, picks_logits=False)))
    if not abs(losses[0] - losses[1]) < (1e-3 if exact else 0.1) * losses[0]:
        raise ValueError(
            f"this architecture mixes the rows of a batch (loss {losses[0]:.4f} alone, {losses[1]:.4f} behind another "
            "row), so it cannot be trained here"
        )
