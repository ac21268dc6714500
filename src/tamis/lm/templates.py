"""Named templates: how the messages of a row become the text that the model reads.

A template cuts a row into segments, each a prompt, an answer or an end marker. Segments are tokenised one by one and
joined, so that which token belongs to an answer is known when the row is encoded and never searched for afterwards, and
an answer has the same tokens with and without its prompt. At the seam this may differ from tokenising the whole text at
once (a tokenizer could merge across it); the model that is trained sees the same seams.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from tamis.errors import UserError
from tamis.pool.rows import Message, Row
from tamis.settings import nearest


class Kind(IntEnum):
    """What a token is part of."""

    PROMPT = 0
    ANSWER = 1
    END = 2  # the marker that ends an answer: trained on, but not part of what the answer says


@dataclass(frozen=True)
class Segment:
    """A piece of text of one kind."""

    text: str
    kind: Kind


@dataclass(frozen=True)
class Template:
    """A way of writing conversations.

    Attributes:
        name: As the user gives it.
        segments: A row to segments, the last of which is the end of the last answer.
        header: What stands directly before an answer (`### Response:`), kept when an answer is read without its prompt.
        identity: Whatever else determines the text, for the digest.
    """

    name: str
    segments: Callable[[Row], list[Segment]]
    header: str
    identity: str = ""


def _preamble(with_input: bool) -> str:
    paired = ", paired with an input that provides further context" if with_input else ""
    return (
        f"Below is an instruction that describes a task{paired}. "
        "Write a response that appropriately completes the request.\n\n"
    )


def _alpaca(eos: str) -> Template:
    """The two prompts of Stanford Alpaca; the answer follows `### Response:` directly, as in Cherry LLM."""

    def segments(row: Row) -> list[Segment]:
        system = "".join(m.content + "\n\n" for m in row.messages if m.role == "system")
        result: list[Segment] = []
        for message in row.messages:
            if message.role == "user":
                instruction, context = message.content, ""
                if not result and "instruction" in row.original:
                    instruction, context = str(row.original["instruction"]), str(row.original.get("input") or "")
                head = "\n\n" if result else system or _preamble(bool(context.strip()))
                given = f"\n\n### Input:\n{context}" if context.strip() else ""
                result.append(Segment(f"{head}### Instruction:\n{instruction}{given}\n\n### Response:", Kind.PROMPT))
            elif message.role == "assistant":
                result += [Segment(message.content, Kind.ANSWER), Segment(eos, Kind.END)]
        return result

    return Template("alpaca", segments, "### Response:")


def _plain(eos: str) -> Template:
    """The bare texts joined by newlines, without markers, as Superfiltering reads them."""

    def segments(row: Row) -> list[Segment]:
        result: list[Segment] = []
        for message in row.messages:
            if message.role == "assistant":
                result += [Segment(message.content, Kind.ANSWER), Segment(eos, Kind.END)]
            else:
                result.append(Segment(message.content + "\n", Kind.PROMPT))
        return result

    return Template("plain", segments, "")


def _tulu(eos: str) -> Template:
    """The role markers of Tulu and open-instruct, contents stripped, end of sequence after every answer."""

    def segments(row: Row) -> list[Segment]:
        result: list[Segment] = []
        for message in row.messages:
            start = "\n" if result and result[-1].kind == Kind.END else ""
            if message.role == "assistant":
                result.append(Segment(f"{start}<|assistant|>\n", Kind.PROMPT))
                result += [Segment(message.content.strip(), Kind.ANSWER), Segment(eos, Kind.END)]
            else:
                result.append(Segment(f"{start}<|{message.role}|>\n{message.content.strip()}\n", Kind.PROMPT))
        return result

    return Template("tulu", segments, "<|assistant|>\n")


def _chat(tokenizer: Any) -> Template:
    """The tokenizer's own chat template.

    A rendered conversation is cut where the rendering of its beginning ends, so this holds for every template in which
    a later turn leaves the earlier text as it was; for another one the row is refused rather than cut at a wrong place.
    """

    def render(messages: Sequence[Message], prompt: bool) -> str:
        plain = [{"role": m.role, "content": m.content} for m in messages]
        return str(tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=prompt))

    def segments(row: Row) -> list[Segment]:
        result: list[Segment] = []
        done = ""
        for i, message in enumerate(row.messages):
            if message.role != "assistant":
                continue
            before, after = render(row.messages[:i], True), render(row.messages[: i + 1], False)
            answer = message.content if message.content in after[len(before) :] else message.content.strip()
            end = after[len(before) + len(answer) :]
            if not (before.startswith(done) and after.startswith(before + answer)):
                raise ValueError("the chat template rewrites earlier turns, so its answers cannot be told apart")
            result.append(Segment(before[len(done) :], Kind.PROMPT))
            result += [Segment(answer, Kind.ANSWER), Segment(end.rstrip(), Kind.END)]
            done = before + answer + end.rstrip()
        return result

    question = [Message("user", "?")]
    header = render(question, True).removeprefix(render(question, False))
    return Template("chat", segments, header, identity=str(tokenizer.chat_template))


NAMES = ("chat", "alpaca", "plain", "tulu")


def get_template(name: str, tokenizer: Any) -> Template:
    """The template of that name for this tokenizer.

    Raises:
        UserError: An unknown name, or `chat` with a tokenizer that has no chat template.
    """
    if name == "chat":
        if not getattr(tokenizer, "chat_template", None):
            raise UserError("the model's tokenizer has no chat template; choose --template alpaca, plain or tulu")
        return _chat(tokenizer)
    makers = {"alpaca": _alpaca, "plain": _plain, "tulu": _tulu}
    if name not in makers:
        raise UserError(f"no template '{name}'; {nearest(name, list(NAMES))}")
    return makers[name](tokenizer.eos_token or "")
