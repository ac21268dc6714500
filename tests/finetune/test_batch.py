"""Packed batches: what is read, what is learned, and that packing changes nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from tamis.finetune.batch import check_packing, collate, summed_loss
from tamis.lm.encode import Encoded
from tamis.lm.pack import ATTENTION, install


def encoded(ids: list[int], kinds: list[int]) -> Encoded:
    return Encoded(np.array(ids, np.int32), np.array(kinds, np.int8))


def test_a_batch_by_hand() -> None:
    batch = collate([encoded([11, 12, 13, 14], [0, 1, 1, 2]), encoded([21, 22, 23], [0, 0, 1])])
    assert batch["input_ids"].tolist() == [[11, 12, 13, 14, 21, 22, 23]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 0, 1, 2]]
    assert batch["at"].tolist() == [0, 1, 2, 5]
    assert batch["labels"].tolist() == [12, 13, 14, 23]
    assert [(span.start, span.end) for span in batch["spans"]] == [(0, 4), (4, 7)]


def test_a_batch_without_rows_learns_nothing() -> None:
    batch = collate([])
    assert batch["input_ids"].shape == (1, 2)
    assert batch["at"].tolist() == batch["labels"].tolist() == []


@pytest.fixture(scope="module")
def models(small_model: Path) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The same weights, reading packed rows and reading one row at a time."""
    install()
    load = AutoModelForCausalLM.from_pretrained
    packed = load(small_model, dtype=torch.float32, attn_implementation=ATTENTION)
    return packed, load(small_model, dtype=torch.float32, attn_implementation="eager")


@pytest.mark.parametrize("picks_logits", [True, False])
def test_packing_changes_neither_loss_nor_gradients(
    models: tuple[torch.nn.Module, torch.nn.Module], picks_logits: bool
) -> None:
    packed, plain = models
    random = np.random.default_rng(0)
    rows = []
    for length in (3, 40, 17):
        kinds = np.zeros(length, np.int8)
        kinds[length // 2 :] = 1
        rows.append(Encoded(random.integers(3, 49000, length).astype(np.int32), kinds))
    ours = summed_loss(packed, collate(rows), picks_logits)
    theirs = torch.zeros(())
    for row in rows:  # row by row, with the model's own loss
        ids = torch.from_numpy(row.ids.astype(np.int64))[None]
        labels = torch.where(torch.from_numpy(row.kinds)[None] == 0, -100, ids)
        theirs = theirs + plain(input_ids=ids, labels=labels).loss * (row.kinds == 1).sum()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    packed.zero_grad()
    plain.zero_grad()
    ours.backward()
    theirs.backward()
    for (name, one), other in zip(packed.named_parameters(), plain.parameters(), strict=True):
        scale = float(other.grad.abs().max())
        assert float((one.grad - other.grad).abs().max()) < 1e-4 * scale, name


def test_a_batch_without_rows_has_no_gradient(models: tuple[torch.nn.Module, torch.nn.Module]) -> None:
    model = models[0]
    model.zero_grad()
    loss = summed_loss(model, collate([]))
    loss.backward()
    assert loss.item() == 0.0
    assert all(p.grad is None or float(p.grad.abs().max()) == 0.0 for p in model.parameters())


def test_an_architecture_that_mixes_rows_is_refused(models: tuple[torch.nn.Module, torch.nn.Module]) -> None:
    packed, plain = models
    check_packing(packed, torch.device("cpu"), exact=True)
    with pytest.raises(ValueError, match="mixes the rows of a batch"):
        # Attention of its own, which knows nothing of the rows in a batch (sdpa and eager would see the positions).
        check_packing(Recurrent(), torch.device("cpu"), exact=True)


class Recurrent(torch.nn.Module):
    """A model whose state runs on from one row to the next."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.cell, self.head = (
            torch.nn.Embedding(32, 8),
            torch.nn.GRU(8, 8, batch_first=True),
            torch.nn.Linear(8, 32),
        )

    def forward(self, input_ids: torch.Tensor, position_ids: torch.Tensor) -> object:
        class Output:
            logits = self.head(self.cell(4 * self.embed(input_ids))[0])

        return Output()
