"""Rows side by side: PyTorch's own attention of stacked rows is that of each row alone, forward and backward."""

import pytest
import torch
from torch import Tensor

from tamis.lm import pack, stacks
from tamis.lm.pack import Span
from tamis.lm.stacks import STEP

LENGTHS = [1, 7, 8, 9, 17, 33, 40, 40, 39, 6]


def alone(query: Tensor, key: Tensor, value: Tensor, window: int | None, cap: float | None) -> Tensor:
    """One row by the definition; [heads, tokens, width]."""
    groups = query.shape[0] // key.shape[0]
    key, value = key.repeat_interleave(groups, 0), value.repeat_interleave(groups, 0)
    scores = 0.3 * query @ key.transpose(1, 2)
    scores = scores if cap is None else cap * torch.tanh(scores / cap)
    before = key.shape[1] - query.shape[1]
    for i in range(query.shape[1]):
        scores[:, i, before + i + 1 :] = float("-inf")
        if window is not None:
            scores[:, i, : max(0, before + i + 1 - window)] = float("-inf")
    return torch.softmax(scores, -1) @ value


@pytest.mark.parametrize("prefix", [0, 5])
@pytest.mark.parametrize("shared", [2, 6])
@pytest.mark.parametrize(("window", "cap"), [(None, None), (10, None), (None, 2.0), (10, 2.0)])
def test_a_stacked_row_attends_as_it_does_alone(
    prefix: int, shared: int, window: int | None, cap: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacks, "TOGETHER", 100)  # so that a stack is full before all rows are in one
    first = Span(0, prefix) if prefix else None
    ends = [sum(LENGTHS[: i + 1], prefix) for i in range(len(LENGTHS))]
    spans = [Span(end - length, end, first) for end, length in zip(ends, LENGTHS, strict=True)]
    if first:
        spans.insert(0, first)
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, heads, ends[-1], 16, generator=generator).requires_grad_() for heads in (6, shared, shared)
    )
    with pack.attending(tuple(spans)):
        found, _ = pack.packed_attention(
            torch.nn.Module(), query, key, value, None, scaling=0.3, sliding_window=window, softcap=cap
        )
    parts = []
    for span in spans:
        places = [*range(span.prefix.start, span.prefix.end)] if span.prefix else []
        places += range(span.start, span.end)
        row = alone(query[0, :, span.start : span.end], key[0][:, places], value[0][:, places], window, cap)
        parts.append(row.transpose(0, 1))
    want = torch.cat(parts)[None]
    torch.testing.assert_close(found, want, rtol=1e-5, atol=1e-5)
    weights = torch.randn(want.shape, generator=generator)
    ours = torch.autograd.grad((found * weights).sum(), (query, key, value))
    theirs = torch.autograd.grad((want * weights).sum(), (query, key, value))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_every_token_stands_in_one_stack_of_rows_of_its_length() -> None:
    rows, start = [], 0
    for length in LENGTHS:
        rows.append((range(0), range(start, start + length)))
        start += length
    made = list(stacks.stacks(rows, 80))
    real = torch.cat([stack.queries[stack.real] for stack in made])
    assert sorted(real.tolist()) == list(range(start))
    for stack in made:
        assert stack.queries.numel() <= 80 and stack.queries.shape[1] % STEP == 0
        filled = stack.queries.shape[1] - stack.real.sum(1)
        assert (filled >= 0).all() and (filled < STEP).all()
