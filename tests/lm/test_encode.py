"""Templates and the answer mask, by hand."""

from typing import Any

import numpy as np
import pytest

from tamis.errors import UserError
from tamis.lm.encode import Encoded, Encoder, Unscorable
from tamis.lm.templates import Kind, get_template
from tamis.pool.rows import Message, Row, row_id


def conversation(*turns: tuple[str, str], **original: Any) -> Row:
    messages = tuple(Message(role, text) for role, text in turns)
    return Row(row_id(messages), messages, "test", original)


ONE = conversation(("user", "Add 1 and 2."), ("assistant", "3"))
TWO = conversation(("user", "Hi"), ("assistant", "Hello."), ("user", "Bye"), ("assistant", "See you."))


class Letters:
    """A tokenizer of one token a character, so that masks can be written by hand."""

    eos_token, eos_token_id, bos_token_id = "$", ord("$"), None
    chat_template: str | None = None

    def __init__(self, bos: str | None = None, adds: bool = False) -> None:
        self.bos_token_id = ord(bos) if bos else None
        self.adds = adds

    def __call__(self, texts: Any, add_special_tokens: bool = True, **_: Any) -> dict[str, Any]:
        def ids(text: str) -> list[int]:
            start = [self.bos_token_id] if self.adds and add_special_tokens else []
            return [*start, *map(ord, text)]

        return {"input_ids": ids(texts) if isinstance(texts, str) else [ids(t) for t in texts]}


def encode(row: Row, template: str, tokenizer: Any = None, limit: int = 10_000) -> Encoded:
    tokenizer = tokenizer or Letters()
    (got,) = Encoder(tokenizer, get_template(template, tokenizer), limit).encode([row])
    assert isinstance(got, Encoded), got
    return got


def shown(row: Encoded) -> str:
    """The text, with [answer] and <end> marked."""
    marks = {Kind.PROMPT: "{}", Kind.ANSWER: "[{}]", Kind.END: "<{}>"}
    edges = [0, *(np.flatnonzero(np.diff(row.kinds)) + 1).tolist(), len(row.ids)]
    parts = zip(edges, edges[1:], strict=False)
    return "".join(marks[Kind(row.kinds[a])].format("".join(map(chr, row.ids[a:b]))) for a, b in parts)


def test_plain() -> None:
    assert shown(encode(ONE, "plain")) == "Add 1 and 2.\n[3]<$>"
    assert shown(encode(TWO, "plain")) == "Hi\n[Hello.]<$>Bye\n[See you.]<$>"


def test_tulu() -> None:
    assert shown(encode(ONE, "tulu")) == "<|user|>\nAdd 1 and 2.\n<|assistant|>\n[3]<$>"
    assert shown(encode(TWO, "tulu")) == (
        "<|user|>\nHi\n<|assistant|>\n[Hello.]<$>\n<|user|>\nBye\n<|assistant|>\n[See you.]<$>"
    )


def test_alpaca_has_two_prompts_and_glues_the_answer_on() -> None:
    without = shown(encode(ONE, "alpaca"))
    assert without.startswith("Below is an instruction that describes a task. Write a response that appropriately")
    assert without.endswith("request.\n\n### Instruction:\nAdd 1 and 2.\n\n### Response:[3]<$>")
    row = conversation(("user", "Add.\n\n1, 2"), ("assistant", "3"), instruction="Add.", input="1, 2")
    given = shown(encode(row, "alpaca"))
    assert "a task, paired with an input that provides further context. Write" in given
    assert given.endswith("### Instruction:\nAdd.\n\n### Input:\n1, 2\n\n### Response:[3]<$>")


def test_chat_is_the_tokenizers_own_template(demo_folder: Any) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(demo_folder)
    got = encode(TWO, "chat", tokenizer)
    turns = [{"role": m.role, "content": m.content} for m in TWO.messages]
    whole = tokenizer.apply_chat_template(turns, tokenize=False).rstrip()
    assert tokenizer.decode(got.ids) == whole
    answers = [tokenizer.decode(got.ids[got.kinds == kind]) for kind in (Kind.ANSWER, Kind.END)]
    assert answers == ["Hello.See you.", "<|im_end|><|im_end|>"]


def test_a_tokenizer_without_a_chat_template_is_refused_with_the_way_out() -> None:
    with pytest.raises(UserError, match="has no chat template; choose --template alpaca, plain or tulu"):
        get_template("chat", Letters())
    with pytest.raises(UserError, match="no template 'tula'; did you mean 'tulu'"):
        get_template("tula", Letters())


def test_a_template_that_rewrites_earlier_turns_loses_the_row_not_the_run() -> None:
    class Forgetful(Letters):
        chat_template = "forgets"

        def apply_chat_template(self, turns: Any, tokenize: bool, add_generation_prompt: bool) -> str:
            last = "".join(f"{t['role']}:{t['content']}|" for t in turns[-2:])
            return last + ("assistant:" if add_generation_prompt else "")

    tokenizer = Forgetful()
    one, two = Encoder(tokenizer, get_template("chat", tokenizer), 100).encode([ONE, TWO])
    assert isinstance(one, Encoded)
    assert isinstance(two, Unscorable) and "rewrites earlier turns" in two.reason


def test_cut_at_the_window() -> None:
    got = encode(conversation(("user", "abc"), ("assistant", "defgh")), "plain", limit=7)
    assert (shown(got), got.cut) == ("abc\n[def]", 3)
    (lost,) = Encoder(Letters(), get_template("plain", Letters()), 4).encode([ONE])
    assert lost == Unscorable("the prompt alone fills the 4 tokens that the model may read")
    (empty,) = Encoder(Letters(), get_template("tulu", Letters()), 99).encode([conversation(("user", "a"))])
    assert empty == Unscorable("the answer is empty")


def test_the_beginning_of_a_text() -> None:
    assert shown(encode(ONE, "plain", Letters("^", adds=True))) == "^Add 1 and 2.\n[3]<$>"
    assert shown(encode(ONE, "plain", Letters("^", adds=False))) == "Add 1 and 2.\n[3]<$>"


@pytest.mark.parametrize(
    ("template", "tokenizer", "header", "none"),
    [
        ("alpaca", Letters(), "### Response:[3]<$>", "[3]<$>"),
        ("tulu", Letters("^", adds=True), "^<|assistant|>\n[3]<$>", "[3]<$>"),
        ("plain", Letters(), "$[3]<$>", "[3]<$>"),  # no header: the end of another text begins this one
        ("plain", Letters("^"), "^[3]<$>", "[3]<$>"),
    ],
)
def test_1d_an_answer_alone_has_the_same_tokens(template: str, tokenizer: Any, header: str, none: str) -> None:
    encoder = Encoder(tokenizer, get_template(template, tokenizer), 1000)
    (row,) = encoder.encode([ONE])
    assert isinstance(row, Encoded)
    assert encoder.view(row, "prompt") is row
    assert [shown(encoder.view(row, view)) for view in ("header", "none")] == [header, none]


def test_1d_several_answers_alone_keep_their_headers_and_their_cut() -> None:
    tokenizer = Letters()
    encoder = Encoder(tokenizer, get_template("tulu", tokenizer), 63)
    (row,) = encoder.encode([TWO])
    assert isinstance(row, Encoded)
    assert shown(encoder.view(row, "header")) == "<|assistant|>\n[Hello.]<$><|assistant|>\n[Se]"
    for view in ("header", "none"):
        alone = encoder.view(row, view)  # type: ignore[arg-type]
        assert (alone.ids[alone.kinds > 0] == row.ids[row.kinds > 0]).all()
