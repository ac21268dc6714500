"""Which rows of a pool share text with what a model will be evaluated on.

A row is contaminated when any 13 words in a row of it stand in an evaluation row too (Brown et al. 2020, arXiv
2005.14165, appendix C); an evaluation text of fewer words must stand in it whole. Words are runs of letters and digits
in lower case.
"""

import re
from collections.abc import Iterable, Iterator

_WORD = re.compile(r"\w+")


class Overlap:
    """The n-grams of some evaluation texts.

    Args:
        texts: The texts.
        n: Words in a row that count as overlap.
    """

    def __init__(self, texts: Iterable[str], n: int = 13) -> None:  # noqa: D107
        self.n = n
        self._grams: set[tuple[str, ...]] = set()
        self._lengths: set[int] = set()
        for text in texts:
            words = _words(text)
            if len(words) < 4:  # too common to say anything
                continue
            length = min(n, len(words))
            self._lengths.add(length)
            self._grams.update(_runs(words, length))

    def touches(self, text: str) -> bool:
        """Whether the text shares a run of words with any of the evaluation texts."""
        words = _words(text)
        return any(run in self._grams for length in self._lengths for run in _runs(words, length))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _runs(words: list[str], length: int) -> Iterator[tuple[str, ...]]:
    return (tuple(words[i : i + length]) for i in range(len(words) - length + 1))
