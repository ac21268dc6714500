"""Attention in blocks is PyTorch's own, for rows of all lengths, behind a prefix or not, and for shared heads."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from tamis.lm import blocks, dense, machine

LENGTHS = [1, 7, 8, 9, 64, 65, 130, 129, 400, 9]


def plain(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, before: range, own: range) -> torch.Tensor:
    places = [*before, *own]
    q, k, v = (whole.transpose(0, 1)[None] for whole in (query[list(own)], key[places], value[places]))
    mask = torch.ones(len(own), len(places), dtype=torch.bool).tril(len(before))
    return scaled_dot_product_attention(q, k, v, mask, scale=0.3, enable_gqa=True)[0].transpose(0, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("prefix", [0, 5, 390])
@pytest.mark.parametrize("shared", [1, 2, 6])
def test_rows_attend_to_themselves_and_their_prefix(
    dtype: torch.dtype, prefix: int, shared: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "packs_faster", dense.can_pack)
    ends = [sum(LENGTHS[: i + 1], prefix) for i in range(len(LENGTHS))]
    rows = [(range(0, prefix), range(end - length, end)) for end, length in zip(ends, LENGTHS, strict=True)]
    if prefix:
        rows.insert(0, (range(0), range(0, prefix)))
    tokens, generator = ends[-1], torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(tokens, heads, 16, generator=generator).to(dtype) for heads in (6, shared, shared))
    kept = query.clone()
    found = blocks.attend(query, key, value, blocks.layout(rows, 6, shared, dtype), 0.3)
    assert torch.equal(query, kept)
    off = {torch.float32: 1e-5, torch.bfloat16: 2e-2}[dtype]
    for before, own in rows:
        want = plain(query.float(), key.float(), value.float(), before, own)
        torch.testing.assert_close(found[list(own)].float(), want, rtol=off, atol=off)
