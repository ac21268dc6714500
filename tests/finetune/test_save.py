"""The tuned weights as a model folder."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from tamis.finetune.save import gather, merge_adapters, save


def adapted(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The small model with adapters that change something."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    config = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=10, target_modules="all-linear")
    torch.manual_seed(0)
    model = get_peft_model(model, config, autocast_adapter_dtype=False)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    return model.eval()


def test_merged_adapters_give_what_the_adapters_gave(small_model: Path, tmp_path: Path) -> None:
    model = adapted(small_model)
    ids = torch.tensor([[1, 4093, 198, 1780, 314, 260]])
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        with model.disable_adapter():
            before = model(input_ids=ids).logits
    weights = merge_adapters(gather(model, sharded=False, keep=True), model, torch.float32)
    save(weights, model.get_base_model(), AutoTokenizer.from_pretrained(small_model), torch.float32, tmp_path)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path)
    with torch.no_grad():
        got = merged(input_ids=ids).logits
    assert float((expected - before).abs().max()) > 1.0  # the adapters do change something
    assert float((got - expected).abs().max()) < 1e-3
    theirs = model.merge_and_unload().state_dict()
    assert merged.state_dict().keys() == theirs.keys()
    for name, weight in merged.state_dict().items():
        torch.testing.assert_close(weight, theirs[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_saved_model_is_an_ordinary_folder(small_model: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    model = AutoModelForCausalLM.from_pretrained(small_model, dtype=dtype)
    tokenizer = AutoTokenizer.from_pretrained(small_model)
    with torch.no_grad():
        model.model.embed_tokens.weight[7] = 0.5
    save(gather(model, sharded=False, keep=True), model, tokenizer, dtype, tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert again.dtype == dtype
    assert again.lm_head.weight is again.model.embed_tokens.weight  # tied weights are stored once and tied again
    assert not [file for file in tmp_path.iterdir() if file.suffix in (".bin", ".pt", ".pth")]
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template == tokenizer.chat_template


def test_other_processes_gather_nothing(small_model: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(small_model)
    assert gather(model, sharded=False, keep=False) == {}


def test_adapters_that_nobody_merges_are_an_error(small_model: Path) -> None:
    model = adapted(small_model)
    weights = gather(model, sharded=False, keep=True) | {"base_model.model.lora_embedding_A": torch.zeros(1)}
    with pytest.raises(ValueError, match="cannot be merged: base_model.model.lora_embedding_A"):
        merge_adapters(weights, model, torch.float32)
