"""What a benchmark reports: a figure, what it must reach, and how it was measured."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tamis.pool.formats import to_messages
from tamis.pool.inputs import files
from tamis.pool.read import records
from tamis.pool.rows import Row, row_id


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        name: What was measured.
        value: The figure.
        reach: What it must reach; None for one that is only shown.
        at_most: Whether it must stay below `reach` instead.
        detail: What it was computed from.
    """

    name: str
    value: float
    reach: float | None = None
    at_most: bool = False
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        if self.reach is None:
            return None
        return self.value <= self.reach if self.at_most else self.value >= self.reach


def show(figures: list[Figure]) -> None:
    """Prints one JSON line a figure, for the process that started this one."""
    for figure in figures:
        print(json.dumps(asdict(figure)), flush=True)


def alpaca(path: Path, source: str = "pool") -> Iterator[Row]:
    """The rows of a file in Alpaca's format that have an answer, in its order."""
    for _, record in records(files(path)[0]):
        if isinstance(record, dict) and record.get("output"):
            messages = tuple(to_messages(record, "alpaca"))
            yield Row(row_id(messages), messages, source, {})


def rows_of(data: Path, number: int) -> list[Row]:
    """Real rows, evenly spaced over the Dolly pool, so that their lengths are those of the pool."""
    every = list({row.id: row for row in alpaca(data / "pools" / "dolly.jsonl.gz")}.values())
    return every[:: len(every) // number][:number]
