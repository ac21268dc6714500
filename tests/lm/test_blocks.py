"""Attention is, in each way, that of a row alone: for all lengths, behind a prefix or not, and for shared heads."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from tamis.lm import blocks, dense, machine
from tamis.lm.pack import Span, attending, packed_attention

LENGTHS = [1, 7, 8, 9, 64, 65, 130, 129, 400, 9]
WAYS = [(torch.float32, "pytorch"), (torch.float32, "blocks"), (torch.bfloat16, "pytorch"), (torch.bfloat16, "blocks")]
WAYS += [(torch.float32, "by head")] if dense.can_pack(torch.float32) else []


def plain(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, before: range, own: range) -> torch.Tensor:
    places = [*before, *own]
    q, k, v = (whole.transpose(0, 1)[None] for whole in (query[list(own)], key[places], value[places]))
    mask = torch.ones(len(own), len(places), dtype=torch.bool).tril(len(before))
    return scaled_dot_product_attention(q, k, v, mask, scale=0.3, enable_gqa=True)[0].transpose(0, 1)


@pytest.mark.parametrize("prefix", [0, 5, 390])
@pytest.mark.parametrize("shared", [1, 2, 6])
@pytest.mark.parametrize(("dtype", "way"), WAYS)
def test_rows_attend_to_themselves_and_their_prefix(
    dtype: torch.dtype, prefix: int, shared: int, way: blocks.Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "fastest_way", lambda dtype: way)
    ends = [sum(LENGTHS[: i + 1], prefix) for i in range(len(LENGTHS))]
    rows = [(range(0, prefix), range(end - length, end)) for end, length in zip(ends, LENGTHS, strict=True)]
    if prefix:
        rows.insert(0, (range(0), range(0, prefix)))
    tokens, generator = ends[-1], torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(tokens, heads, 16, generator=generator).to(dtype) for heads in (6, shared, shared))
    kept = query.clone()
    prefixes = {before.stop: Span(before.start, before.stop) for before, _ in rows if len(before)}
    spans = tuple(Span(own.start, own.stop, prefixes.get(before.stop)) for before, own in rows)
    with attending(spans):
        whole = (every.transpose(0, 1)[None] for every in (query, key, value))
        found = packed_attention(torch.nn.Module(), *whole, None, scaling=0.3)[0][0]
    assert torch.equal(query, kept)
    off = {torch.float32: 1e-5, torch.bfloat16: 2e-2}[dtype]
    for before, own in rows:
        want = plain(query.float(), key.float(), value.float(), before, own)
        torch.testing.assert_close(found[list(own)].float(), want, rtol=off, atol=off)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_fastest_way_is_measured_once(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path))
    seconds = {"pytorch": 2.0, "blocks": 1.0, "by head": 3.0}
    found: list[torch.Tensor] = []

    def fastest(ways: dict[str, Callable[[], torch.Tensor]]) -> dict[str, float]:
        found.extend(way() for way in ways.values())
        return {name: seconds[name] for name in ways}

    monkeypatch.setattr(machine, "_fastest", fastest)
    for _ in range(2):
        blocks.fastest_way.cache_clear()  # as in a later process, that would measure something else
        assert blocks.fastest_way(dtype) == "blocks"
        seconds["pytorch"] = 0.5
    blocks.fastest_way.cache_clear()
    assert len(found) == (3 if dtype == torch.float32 and dense.can_pack(dtype) else 2)
    assert all(torch.allclose(one, torch.ones(()).to(dtype), atol=1e-2) for one in found)
