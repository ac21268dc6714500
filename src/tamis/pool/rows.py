"""One row of a pool or a target, and the one Parquet schema that holds it."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import pyarrow as pa

_encode_any = json.JSONEncoder(default=str).encode
_encode = json.JSONEncoder(ensure_ascii=False).encode
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("source", pa.string()),
        ("original", pa.string()),  # the row's own fields as JSON, so that any source fits one schema
    ]
)


class Rejected(Exception):
    """This record cannot become a row; the message says why."""


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: str  # system, user or assistant
    content: str


@dataclass(frozen=True)
class Row:
    """One candidate row.

    Attributes:
        id: Digest of the messages, so that it names the content and not a place in a file.
        messages: The turns; at least one user turn and, last, an assistant turn that is not empty.
        source: Where it comes from; in a target, the name of its task.
        original: The fields that the row had in its file, kept for the reader of the selection.
    """

    id: str
    messages: tuple[Message, ...]
    source: str
    original: dict[str, Any]

    def text(self, *roles: str) -> str:
        """The contents of the turns of these roles (of all turns without any), joined by newlines."""
        return "\n".join(m.content for m in self.messages if not roles or m.role in roles)


def row_id(messages: Iterable[Message]) -> str:
    """128 bits of SHA-256 over roles and contents, in hex."""
    plain = _encode([(m.role, m.content) for m in messages])
    return hashlib.sha256(plain.encode()).hexdigest()[:32]


def draw(rows: Iterable[Row], number: int, seed: int) -> list[Row]:
    """At most `number` rows at random: the same ones in the same order, whatever the order of the rows."""
    return sorted(rows, key=lambda row: hashlib.sha256(f"{seed}:{row.id}".encode()).hexdigest())[:number]


def to_table(rows: Sequence[Row]) -> pa.Table:
    """Rows as an Arrow table of `SCHEMA`."""
    originals = [original_text(row.original) for row in rows]
    return columns_to_table([r.id for r in rows], [r.messages for r in rows], [r.source for r in rows], originals)


def columns_to_table(
    ids: Sequence[str], turns: Sequence[Sequence[Message]], sources: Sequence[str], originals: Sequence[str]
) -> pa.Table:
    """Rows, given column by column, as an Arrow table of `SCHEMA`."""
    every = [message for row in turns for message in row]
    columns = [pa.array([m.role for m in every], pa.string()), pa.array([m.content for m in every], pa.string())]
    kind = SCHEMA.field("messages").type
    messages = pa.ListArray.from_arrays(
        pa.array(accumulate(map(len, turns), initial=0), pa.int32()),
        pa.StructArray.from_arrays(columns, fields=list(kind.value_type)),
        type=kind,
    )
    return pa.table([ids, messages, sources, originals], schema=SCHEMA)


def original_text(original: Mapping[str, Any]) -> str:
    """The fields of a record as JSON; what JSON has not becomes text.

    Raises:
        Rejected: They are nested too deeply.
    """
    try:
        return _encode_any(original)
    except RecursionError:
        raise Rejected("its fields are nested too deeply") from None


def from_table(table: pa.Table) -> list[Row]:
    """The rows of a table of `SCHEMA`."""
    return [
        Row(
            record["id"],
            tuple(Message(m["role"], m["content"]) for m in record["messages"]),
            record["source"],
            json.loads(record["original"]),
        )
        for record in table.to_pylist()
    ]
