"""lm-eval's likelihoods on packed rows are those that lm-eval itself computes."""

from pathlib import Path

import pytest
import torch

from tamis.lm.load import load


def test_packed_likelihoods_equal_lm_evals_own(small_model: Path) -> None:
    from lm_eval.models.huggingface import HFLM

    from tamis.evaluate.packed import PackedLM

    lm = load(str(small_model), "float32")
    lm.model.set_attn_implementation("sdpa")
    prompts = [[5, 9, 200, 31], [7], list(range(40, 75)), [5, 9, 200, 31]]
    choices = [[12, 13, 14], [90], [3, 3], [100, 101, 102, 103, 104], [12]]
    requests = [((str(p), str(c)), p, c) for p in prompts for c in choices]
    top = lm.model(torch.tensor([prompts[0]])).logits[0, -1].argmax().item()
    requests.append((("greedy", ""), prompts[0], [top]))
    want = HFLM(pretrained=lm.model, tokenizer=lm.tokenizer, batch_size=3, max_length=30)._loglikelihood_tokens(
        requests
    )
    got = PackedLM(lm, 3, 30)._loglikelihood_tokens(requests)
    assert [a for a, _ in got] == pytest.approx([a for a, _ in want], rel=1e-4)
    assert [g for _, g in got] == [g for _, g in want]
    assert got[-1][1] is True and not all(g for _, g in got)
