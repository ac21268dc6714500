"""Shows that a long transfer is alive: a bar on a terminal, a line every ten seconds in a log.

Transfers that end within that time stay silent. `TAMIS_PROGRESS=0` silences all.
"""

import os
import sys
import threading
import time
from types import TracebackType

_BAR = 30


class Progress:
    """Counts bytes, from any thread; bytes that had to come twice count twice."""

    def __init__(self, what: str, total: int) -> None:
        """Starts counting.

        Args:
            what: What is transferred, for the line.
            total: Bytes to come.
        """
        self.what, self.total, self.done = what, total, 0
        self._terminal = sys.stderr.isatty()
        self._every = 0.2 if self._terminal else 10.0
        self._silent = os.environ.get("TAMIS_PROGRESS") == "0"
        self._lock = threading.Lock()
        self._start = self._shown = time.monotonic()
        self._spoke = False

    def add(self, count: int) -> None:
        """Counts bytes that have arrived."""
        with self._lock:
            self.done += count
            now = time.monotonic()
            if not self._silent and now - self._shown >= (self._every if self._spoke else max(1.0, self._every)):
                self._show(now)

    def _show(self, now: float, end: str = "") -> None:
        share = min(1.0, self.done / self.total) if self.total else 1.0
        rate = self.done / max(now - self._start, 1e-9)
        text = f"{self.what}: {share:4.0%} of {self.total / 1e6:,.0f} MB, {rate / 1e6:.0f} MB/s"
        if self._terminal:
            filled = min(_BAR, round(share * _BAR))
            text = f"\r[{'#' * filled}{'.' * (_BAR - filled)}] {text}"
        print(text, file=sys.stderr, end=end if self._terminal else "\n", flush=True)
        self._shown, self._spoke = now, True

    def __enter__(self) -> "Progress":
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the line, if there was one."""
        if self._spoke:
            self._show(time.monotonic(), end="\n")
