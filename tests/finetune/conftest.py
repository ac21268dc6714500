"""A plain training loop, written separately, that DeepSpeed's must equal."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tamis.finetune.plan import plan
from tamis.finetune.settings import TrainingSettings
from tamis.lm.encode import Encoded

PlainTraining = Callable[[Any, list[Encoded], TrainingSettings], list[float]]


@pytest.fixture(scope="session")
def rows() -> list[Encoded]:
    """Eight short rows of different lengths."""
    import numpy as np

    random = np.random.default_rng(5)
    made = []
    for length in (9, 14, 6, 11, 20, 7, 16, 12):
        kinds = np.zeros(length, np.int8)
        kinds[length // 2 :] = 1
        kinds[-1] = 2
        made.append(Encoded(random.integers(100, 2000, length).astype(np.int32), kinds))
    return made


@pytest.fixture(scope="session")
def plain_training() -> PlainTraining:
    """Trains a model in one process, row by row: losses of the steps."""
    from transformers import get_scheduler

    def train(model: Any, rows: list[Encoded], settings: TrainingSettings) -> list[float]:
        steps = plan([len(row.ids) for row in rows], settings, 1)
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], settings.rate, weight_decay=0)
        schedule = get_scheduler(settings.schedule, optimizer, int(settings.warmup_ratio * len(steps)), len(steps))
        model.train()
        losses = []
        for step in steps:
            chosen = [rows[i] for batch in step for i in batch]
            count = sum(int((row.kinds[1:] > 0).sum()) for row in chosen)
            total = 0.0
            for row in chosen:
                ids = torch.from_numpy(row.ids.astype("int64"))
                logits = model(input_ids=ids[None]).logits[0, :-1]
                each = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
                loss = each[torch.from_numpy(row.kinds[1:]) > 0].sum() / count
                loss.backward()
                total += loss.item()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(total)
        return losses

    return train


@pytest.fixture(scope="session")
def small_causal_model(small_model: Path) -> Callable[[], Any]:
    """Loads the small model anew, in float32."""
    from transformers import AutoModelForCausalLM

    return lambda: AutoModelForCausalLM.from_pretrained(small_model, dtype=torch.float32, attn_implementation="eager")
