"""What became of each record: counted by reason, and listed with file and line in Parquet."""

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tamis import store
from tamis.errors import TamisError

SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("line", pa.int64()),  # of CSV the first line of the record, of JSON and Parquet its number
        ("reason", pa.string()),
        ("text", pa.string()),
        ("id", pa.string()),  # of a record that was a row
    ]
)
_NAMES = 1000
_BLOCK = 1024


def plain(name: str) -> str:
    """A name that can be written as UTF-8; what cannot is escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


class Listing:
    """A Parquet file of records with reasons that is there whole or not at all."""

    def __init__(self, path: Path) -> None:
        """Nothing is written before it is entered."""
        self._path = path
        self._waiting: list[tuple[Any, ...]] = []

    def __enter__(self) -> "Listing":
        """Opens the file."""
        self._stack = ExitStack()
        file = self._stack.enter_context(store.atomic_write(self._path))
        self._writer = self._stack.enter_context(pq.ParquetWriter(file, SCHEMA, compression="zstd"))
        return self

    def add(self, file: str, line: int, reason: str, record: Any, row: str | None) -> None:
        """Lists one; of its text the first 500 characters are kept, as ASCII."""
        try:
            text = record if isinstance(record, str) else "" if isinstance(record, Exception) else str(record)
        except RecursionError:
            text = ""
        text = text[:500].encode("ascii", "backslashreplace").decode()
        self._waiting.append((plain(file), line, plain(reason), text, row))
        if len(self._waiting) == _BLOCK:
            self._flush()

    def _flush(self) -> None:
        columns = list(zip(*self._waiting, strict=True)) or [()] * len(SCHEMA)
        self._writer.write_table(pa.table([pa.array(c, t) for c, t in zip(columns, SCHEMA.types, strict=True)], SCHEMA))
        self._waiting.clear()

    def __exit__(self, *error: Any) -> None:
        """Takes the file's name if all went well."""
        if error[0] is None:
            try:
                self._flush()
            except BaseException as failed:
                self._stack.__exit__(type(failed), failed, failed.__traceback__)
                raise
        self._stack.__exit__(*error)


@dataclass
class Counts:
    """How many records an input has, and what became of them."""

    read: int = 0
    kept: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    flagged: Counter[str] = field(default_factory=Counter)
    contaminated: Counter[str] = field(default_factory=Counter)

    @staticmethod
    def add(counter: Counter[str], name: str) -> None:
        """Counts under a name; when there are very many names, under `(others)`."""
        counter[name if name in counter or len(counter) < _NAMES else "(others)"] += 1

    def summary(self) -> Mapping[str, Any]:
        """All of it as plain values.

        Raises:
            TamisError: A record has got lost.
        """
        if self.read != self.kept + self.rejected.total():
            raise TamisError(f"{self.read} records read, but {self.kept} kept and {self.rejected.total()} rejected")
        return {"read": self.read, "rows": self.kept} | {
            name: dict(getattr(self, name)) for name in ("formats", "sources", "rejected", "flagged", "contaminated")
        }
