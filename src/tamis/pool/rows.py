"""One row of a pool or a target, and the one Parquet schema that holds it."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("source", pa.string()),
        ("original", pa.string()),  # the row's own fields as JSON, so that any source fits one schema
    ]
)


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
    plain = json.dumps([(m.role, m.content) for m in messages], ensure_ascii=False)
    return hashlib.sha256(plain.encode()).hexdigest()[:32]


def draw(rows: Iterable[Row], number: int, seed: int) -> list[Row]:
    """At most `number` rows at random: the same ones in the same order, whatever the order of the rows."""
    return sorted(rows, key=lambda row: hashlib.sha256(f"{seed}:{row.id}".encode()).hexdigest())[:number]


def to_table(rows: Sequence[Row]) -> pa.Table:
    """Rows as an Arrow table of `SCHEMA`."""
    return pa.table(
        {
            "id": [row.id for row in rows],
            "messages": [[{"role": m.role, "content": m.content} for m in row.messages] for row in rows],
            "source": [row.source for row in rows],
            "original": [json.dumps(row.original, default=str) for row in rows],
        },
        schema=SCHEMA,
    )


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
