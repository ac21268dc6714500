"""Which rows of a pool share text with what a model will be evaluated on.

A row is contaminated when any 13 words in a row of it stand in an evaluation text too (Brown et al. 2020, arXiv
2005.14165, appendix C); an evaluation text of fewer words must stand in it whole. Words are runs of letters and digits
in lower case; a Chinese character or Japanese kana is a word by itself, for they are written without blanks.
"""

import re
import sys
from collections.abc import Iterable

_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(f"[^\\W{_UNSPACED}]+|[{_UNSPACED}]")
_LEAST = 4
_ASCII_WORD = re.compile(r"\w+", re.ASCII)


def words(text: str) -> list[str]:
    """The words of a text."""
    return (_ASCII_WORD if text.isascii() else _WORD).findall(text.lower())


class Overlap:
    """The runs of words of some evaluation texts, by where they come from.

    Memory is about 400 bytes a word of evaluation text. Asking costs one look-up a word, more only where four words in
    a row are those that begin such a run.

    Args:
        n: Words in a row that count as overlap.
    """

    def __init__(self, n: int = 13) -> None:  # noqa: D107
        self.n = n
        self._lengths: dict[tuple[str, ...], tuple[int, ...]] = {}  # of the runs that begin with these words
        self._runs: dict[tuple[str, ...], str] = {}

    def __bool__(self) -> bool:
        """Whether there is anything to share."""
        return bool(self._runs)

    def add(self, label: str, texts: Iterable[str], least: int = _LEAST) -> None:
        """Adds texts.

        Args:
            label: Where they come from.
            texts: The texts.
            least: Texts of fewer words are too common to say anything; at least 4.
        """
        for text in texts:
            found = list(map(sys.intern, words(text)))
            length = min(self.n, len(found))
            if len(found) < least:
                continue
            for i in range(len(found) - length + 1):
                run = tuple(found[i : i + length])
                self._runs.setdefault(run, label)
                known = self._lengths.get(run[:_LEAST], ())
                if length not in known:
                    self._lengths[run[:_LEAST]] = (*known, length)

    def labels(self, found: list[str]) -> set[str]:
        """Where the evaluation texts come from with which a row of these words shares a run."""
        lengths, runs = self._lengths, self._runs
        labels = set()
        for i, start in enumerate(zip(found, found[1:], found[2:], found[3:], strict=False)):
            for length in lengths.get(start, ()):
                label = runs.get(tuple(found[i : i + length]))
                if label is not None:
                    labels.add(label)
        return labels
