"""Packed passes against a plain computation of one row at a time, full logits and all hidden states, in float32."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_row

from tamis.errors import UserError
from tamis.lm import forward
from tamis.lm.encode import Encoded
from tamis.lm.engine import Engine, _batches
from tamis.lm.load import LanguageModel, load
from tamis.lm.observations import Activations, Hidden, Loss, TokenCount
from tamis.lm.pack import ATTENTION, attending, install, pack
from tamis.lm.templates import Kind
from tamis.pool.rows import Row

ROWS = [
    make_row("Hi", "Hello!"),
    make_row("Name a colour.", "Red"),
    make_row("Write about rivers. " * 12, "Rivers carry water to the sea, slowly and for ever. " * 9),
    make_row("What is 17 plus 25?", "17 plus 25 is 42. The answer is 42."),
    make_row("Repeat after me: " + "la " * 90, "la la la"),
    make_row("Why is the sky blue?", "Because air scatters short waves of light more than long ones."),
    make_row("q", "a"),
]
WANTS = {
    "given": Loss(),
    "alone": Loss(context="header"),
    "bare": Loss(context="none", template="plain"),
    "all": Loss(tokens="all"),
    "end": Loss(tokens="answer+end"),
    "pooled": Hidden(),
    "mean": Hidden(pool="mean"),
    "last": Hidden(pool="last"),
    "delta": Activations(),
    "token_mean": Activations(feature="mean"),
    "ffn": Activations(site="ffn", feature="last"),
}


def plain(folder: Path, engine: Engine, rows: Sequence[Row]) -> dict[str, list[Any]]:
    """What the observations mean, one row at a time with the model's own attention."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    inputs: list[torch.Tensor] = []
    model.model.layers[-1].mlp.down_proj.register_forward_pre_hook(lambda _m, args: inputs.append(args[0]))
    result: dict[str, list[Any]] = {name: [] for name in WANTS}

    def run(row: Encoded) -> Any:
        with torch.no_grad():
            return model(torch.from_numpy(row.ids.astype(np.int64))[None], output_hidden_states=True)

    def loss(row: Encoded, kinds: Sequence[Kind]) -> float:
        losses = torch.nn.functional.cross_entropy(
            run(row).logits[0, :-1], torch.from_numpy(row.ids[1:].astype(np.int64)), reduction="none"
        )
        return float(losses[np.isin(row.kinds[1:], kinds)].double().mean())

    encoder, bare = engine.encoder(), engine.encoder("plain")
    for row, whole, simple in zip(rows, encoder.encode(rows), bare.encode(rows), strict=True):
        assert isinstance(whole, Encoded) and isinstance(simple, Encoded), row
        result["given"].append(loss(whole, [Kind.ANSWER]))
        result["alone"].append(loss(encoder.view(whole, "header"), [Kind.ANSWER]))
        result["bare"].append(loss(bare.view(simple, "none"), [Kind.ANSWER]))
        result["all"].append(loss(whole, list(Kind)))
        result["end"].append(loss(whole, [Kind.ANSWER, Kind.END]))
        seen = run(whole).hidden_states
        inputs.clear()
        final = seen[-1][0].double()
        weights = torch.arange(1, len(final) + 1).double()
        result["pooled"].append((weights / weights.sum()) @ final)
        result["mean"].append(final.mean(0))
        result["last"].append(final[-1])
        raw: list[torch.Tensor] = []
        hooks = [
            layer.register_forward_hook(lambda _m, _a, out, raw=raw: raw.append(out)) for layer in model.model.layers
        ]
        run(whole)
        for hook in hooks:
            hook.remove()
        blocks = [(out[0] if isinstance(out, tuple) else out).reshape(-1, final.shape[1]) for out in raw]
        result["delta"].append(torch.stack([b[-1] - b[0] for b in blocks]))
        result["token_mean"].append(torch.stack([b.mean(0) for b in blocks]))
        result["ffn"].append(inputs[-1][0, -1])
    return result


@pytest.fixture(scope="module")
def small(small_model: Path) -> LanguageModel:
    return load(str(small_model), "float32")


@pytest.fixture(scope="module")
def expected(small: LanguageModel, small_model: Path) -> dict[str, list[Any]]:
    return plain(small_model, Engine(small), ROWS)


def close(got: Any, want: Any) -> None:
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets how many threads PyTorch has, and so how many batches are read at once."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("rows_at_once", [1, 7, 64])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("at_once", [1, 3])
def test_every_observation_equals_the_plain_computation(
    small: LanguageModel,
    expected: dict[str, list[Any]],
    rows_at_once: int,
    reverse: bool,
    at_once: int,
    threads: Callable[[int], None],
) -> None:
    threads(at_once)
    engine = Engine(small, batch_tokens={1: 1, 7: 600, 64: 100_000}[rows_at_once])
    order = list(range(len(ROWS)))[:: -1 if reverse else 1]
    got = engine.observe([ROWS[i] for i in order], WANTS)
    for name in WANTS:
        for place, i in enumerate(order):
            if name == "bare" and np.isnan(expected[name][i]):
                assert np.isnan(got[name][place])  # an answer of one token has no loss without context
            elif name == "ffn":
                close(got[name][place][-1], expected[name][i])
            else:
                close(got[name][place], expected[name][i])
    batches = {1: len(ROWS), 7: None, 64: 1 if at_once == 1 else None}[rows_at_once]
    assert batches is None or engine.work.batches == batches
    assert engine.work.tokens == sum(engine.read.values()) and 0 < engine.work.seconds < 60


def test_the_last_batches_are_small_where_several_are_read_at_once() -> None:
    lengths = dict.fromkeys(range(100), 100)
    assert [len(batch) for batch in _batches(lengths, 2048, 1)] == [20] * 5
    shared = [len(batch) for batch in _batches(lengths, 2048, 2)]
    assert sum(shared) == 100 and shared == sorted(shared, reverse=True) and shared[0] == 20
    assert shared[-2:] <= [5, 5]  # none ends more than `LEAST` tokens after the others
    assert list(_batches({0: 5000, 1: 5000}, 2048, 4)) == [[0], [1]]


def test_the_demo_model_itself_gives_the_plain_numbers(demo_folder: Path) -> None:
    engine = Engine(load("demo", "float32"), batch_tokens=400)
    rows = ROWS[:4]
    wanted = {"given": WANTS["given"], "alone": WANTS["alone"], "pooled": WANTS["pooled"]}
    got, want = engine.observe(rows, wanted), plain(demo_folder, engine, rows)
    for name in wanted:
        for i in range(len(rows)):
            close(got[name][i], want[name][i])


def test_many_methods_share_one_pass(small: LanguageModel) -> None:
    """Whatever else reads the same views costs no token more."""
    ifd, many = Engine(small), Engine(small)
    ifd.observe(ROWS, {"given": Loss(), "alone": Loss(context="header")})
    both = {name: want for name, want in WANTS.items() if name != "bare"}
    many.observe(ROWS, both)
    assert many.work.tokens == ifd.work.tokens
    assert many.work.batches == ifd.work.batches
    rds = Engine(small)
    rds.observe(ROWS, {"pooled": Hidden()})
    assert rds.work.scored == 0 and rds.work.tokens < ifd.work.tokens


def test_logits_exist_only_for_answers_and_in_chunks(small: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = forward.logits
    monkeypatch.setattr(forward, "LOGIT_ROWS", 8)
    monkeypatch.setattr(forward, "logits", lambda lm, hidden: asked.append(len(hidden)) or real(lm, hidden))
    engine = Engine(small)
    engine.observe(ROWS, {"given": Loss()})
    answers = sum(int((row.kinds == Kind.ANSWER).sum()) for row in engine.encode(ROWS) if isinstance(row, Encoded))
    assert sum(asked) == engine.work.scored == answers
    assert max(asked) <= 8


def test_rows_that_cannot_be_read_do_not_disturb_the_others(small: LanguageModel) -> None:
    engine = Engine(small, max_length=64)
    bad = make_row("long " * 100, "x")
    got = engine.observe([ROWS[0], bad, ROWS[3]], {"given": Loss(), "count": TokenCount()})
    alone = engine.observe([ROWS[0], ROWS[3]], {"given": Loss(), "count": TokenCount()})
    assert np.isnan(got["given"][1]) and np.isnan(got["count"][1])
    close(got["given"][[0, 2]], alone["given"])


def test_nan_in_a_pass_stays_in_its_row(small_model: Path) -> None:
    lm = load(str(small_model), "float32")
    word = lm.tokenizer(" sea", add_special_tokens=False)["input_ids"][0]
    with torch.no_grad():
        lm.model.get_input_embeddings().weight[word] = float("nan")
        lm.model.lm_head.weight = torch.nn.Parameter(torch.nan_to_num(lm.model.lm_head.weight.clone()))
    got = Engine(lm).observe(ROWS, {"given": Loss(), "pooled": Hidden()})
    sick = [i for i in range(len(ROWS)) if np.isnan(got["given"][i])]
    assert sick == [2]
    assert [i for i in range(len(ROWS)) if np.isnan(got["pooled"][i]).any()] == [2]


# Architectures, with random weights


def tiny(kind: str) -> Any:
    import transformers as t

    size = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}
    config = {
        "llama": lambda: t.LlamaConfig(**size, **heads),
        "qwen2": lambda: t.Qwen2Config(**size, **heads),
        "mistral": lambda: t.MistralConfig(**size, **heads, sliding_window=5),
        "gemma2": lambda: t.Gemma2Config(
            **size, **heads, head_dim=8, sliding_window=5, attn_logit_softcapping=2.0, final_logit_softcapping=3.0
        ),
        "gpt2": lambda: t.GPT2Config(vocab_size=96, n_embd=32, n_layer=3, n_head=4, n_positions=128),
    }[kind]()
    torch.manual_seed(0)
    with torch.no_grad():
        model = t.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
        for parameter in model.parameters():
            parameter.mul_(4.0)  # far from uniform, so that a wrong mask shows
    return model


@pytest.mark.parametrize("kind", ["llama", "qwen2", "mistral", "gemma2", "gpt2"])
def test_packed_rows_give_the_logits_of_each_row_alone(kind: str) -> None:
    model = tiny(kind)
    rows = [np.arange(3, 3 + n) % 96 for n in (9, 1, 14, 4)]
    with torch.no_grad():
        want = [model(torch.from_numpy(row)[None]).logits[0] for row in rows]
        install()
        model.set_attn_implementation(ATTENTION)
        lm = LanguageModel(model, None, {"model": kind, "dtype": "float32"}, 128)
        packed = pack(rows)
        got = forward.logits(lm, forward.hidden_states(lm, packed))
    for span, logits in zip(packed.spans, want, strict=True):
        close(got[span.start : span.end], logits)


@pytest.mark.parametrize("kind", ["llama", "mistral", "gemma2", "gpt2"])
def test_a_shared_prefix_is_the_same_as_writing_it_before_each(kind: str) -> None:
    model = tiny(kind)
    prefix, one, two = np.arange(5, 17), np.arange(30, 36), np.arange(60, 63)
    with torch.no_grad():
        want = [model(torch.from_numpy(np.concatenate([prefix, row]))[None]).logits[0, 12:] for row in (one, two)]
        install()
        model.set_attn_implementation(ATTENTION)
        lm = LanguageModel(model, None, {"model": kind, "dtype": "float32"}, 128)
        packed = pack([prefix, one, two], [None, 0, 0])
        got = forward.logits(lm, forward.hidden_states(lm, packed))
    for span, logits in zip(packed.spans[1:], want, strict=True):
        close(got[span.start : span.end], logits)
    with attending(packed.spans):
        assert packed.positions.tolist() == [*range(12), *range(12, 18), *range(12, 15)]


# Loading


def test_what_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        load(str(tmp_path / "none"))
    with pytest.raises(UserError, match="no config.json"):
        load(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="has no tokenizer"):
        load(str(tmp_path))
    with pytest.raises(UserError, match="'nobody/nothing' cannot be loaded.*switched off by HF_HUB_OFFLINE"):
        load("nobody/nothing")


def test_the_identity_follows_weights_and_type(small_model: Path, small: LanguageModel) -> None:
    again = load(str(small_model), "bfloat16")
    assert again.identity["digest"] == small.identity["digest"]
    assert (again.identity["dtype"], small.identity["dtype"]) == ("bfloat16", "float32")
    assert small.window == 8192
