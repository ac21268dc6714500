"""The formats in which instruction data comes, each a function from a record to the turns of a conversation."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from tamis.errors import UserError
from tamis.pool.rows import Message, Rejected
from tamis.settings import nearest

Record = Mapping[str, Any]
_BAD = re.compile("[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]")
_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}


def _string(record: Record, key: str, default: str | None = None) -> str:
    value = record.get(key, default)
    if value is None:
        value = default
    if not isinstance(value, str):
        raise Rejected(f"'{key}' is not text")
    return value


def _alpaca(record: Record) -> list[Message]:
    given = _string(record, "input", "")
    instruction = _string(record, "instruction")
    question = f"{instruction}\n\n{given}" if given.strip() else instruction
    system = _string(record, "system", "")
    start = [Message("system", system)] if system.strip() else []
    return [*start, Message("user", question), Message("assistant", _string(record, "output"))]


def _turns(turns: Any, role_key: str, content_key: str) -> list[Message]:
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        raise Rejected("the turns are not a list of objects")
    result = []
    for turn in turns:
        role = turn.get(role_key)
        if role not in _ROLES:
            raise Rejected(f"unknown role {role!r}"[:80])
        result.append(Message(_ROLES[role], _string(turn, content_key)))
    return result


def _messages(record: Record) -> list[Message]:
    return _turns(record.get("messages"), "role", "content")


def _sharegpt(record: Record) -> list[Message]:
    return _turns(record.get("conversations"), "from", "value")


def _completion(record: Record) -> list[Message]:
    answer = "completion" if "completion" in record else "response"
    return [Message("user", _string(record, "prompt")), Message("assistant", _string(record, answer))]


FORMATS: Mapping[str, tuple[set[str], Callable[[Record], list[Message]]]] = {
    "messages": ({"messages"}, _messages),
    "sharegpt": ({"conversations"}, _sharegpt),
    "alpaca": ({"instruction", "output"}, _alpaca),
    "prompt-completion": ({"prompt", "completion"}, _completion),
    "prompt-response": ({"prompt", "response"}, _completion),
}
"""By name: the fields by which a record is recognised, and how it is read."""


def check_format(name: str) -> None:
    """Refuses an unknown format's name.

    Raises:
        UserError: With the nearest name.
    """
    if name not in ("auto", *FORMATS):
        raise UserError(f"no format '{name}'; {nearest(name, ['auto', *FORMATS])}")


def detect(record: Record) -> str:
    """The format of a record.

    Raises:
        Rejected: It has the fields of none.
    """
    for name, (needed, _) in FORMATS.items():
        if needed <= record.keys():
            return name
    fields = (field if str(field).isprintable() else repr(field) for field in list(record)[:6])
    raise Rejected(f"no known format has the fields {', '.join(map(str, fields)) or '(none)'}"[:200])


def to_messages(record: Record, name: str) -> list[Message]:
    """The turns of a record, checked.

    A conversation ends with an answer; what a user says after it is left out, since nothing answers it.

    Raises:
        Rejected: Not a conversation with a question and an answer that is not empty, in valid Unicode.
    """
    turns = FORMATS[name][1](record)
    while turns and turns[-1].role != "assistant":
        turns.pop()
    if not turns:
        raise Rejected("there is no answer")
    if not any(turn.role == "user" and turn.content.strip() for turn in turns):
        raise Rejected("there is no question")
    for turn in turns:
        if turn.role == "assistant" and not turn.content.strip():
            raise Rejected("the answer is empty")
        bad = _BAD.search(turn.content)
        if bad:
            code = ord(bad[0])
            why = "a lone surrogate, not valid Unicode" if code >= 0xD800 else "a control character"
            raise Rejected(f"it holds U+{code:04X}, {why}")
    return turns
