"""What a person sees of a local run: which step runs, how far it is, what fails. Everything else goes to a file.

KFP's local runner prints each step's whole input as JSON; on a screen that hides what matters.
"""

import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

_COLOUR = re.compile(r"\x1b\[\d*m")
_RUNNER = re.compile(r"(\d\d:\d\d:\d\d)\.\d+ - \w+ - (Executing task .*|Task .* finished with status .*)")
_OWN = r"(?!Looking for|Loading KFP|Got executor|Wrote)(.*)"  # what KFP itself says of a step is not shown
_STEP = re.compile(r"\s*\[KFP Executor \S+ (\d\d:\d\d:\d\d),\d+ \w+\]: " + _OWN)
_TRAINING = re.compile(r"\s*()(step \d+/\d+: loss .*)")
_ERROR = re.compile(r"\s*(?:\[rank\d+\]:\s*)?((?:[\w]+\.)*\w*(?:Error|Exception)): (.*)")


class _Lines(io.TextIOBase):
    """Takes text, keeps all of it in a file and shows the lines that a person wants to see."""

    def __init__(self, log: io.TextIOBase, screen: io.TextIOBase) -> None:
        self._log, self._screen, self._line = log, screen, ""

    def write(self, text: str) -> int:
        self._log.write(_COLOUR.sub("", text))
        *lines, self._line = (self._line + text).split("\n")
        for line in map(shown, lines):
            if line:
                self._screen.write(line + "\n")
                self._screen.flush()
        return len(text)

    def flush(self) -> None:
        self._log.flush()


def shown(line: str) -> str | None:
    """A line of the runner's output as it is shown, None if it is not."""
    plain = _COLOUR.sub("", line)
    for kind in (_RUNNER, _STEP, _TRAINING):
        if found := kind.match(plain):
            return f"{found[1]:8}  {found[2]}"
    return None


@contextmanager
def quiet(log: Path) -> Iterator[None]:
    """Inside, what is printed goes to the file, and to the screen only what `shown` says."""
    with log.open("w", encoding="utf-8") as file:
        lines = _Lines(file, sys.stdout)  # type: ignore[arg-type]
        with redirect_stdout(lines), redirect_stderr(lines):  # type: ignore[type-var]
            yield


def last_error(log: Path) -> str:
    """The last error that a step printed, empty if there is none."""
    errors = [found for line in log.read_text("utf-8").splitlines() if (found := _ERROR.match(line))]
    return f"{errors[-1][2]}" if errors else ""
