"""Rows to token ids with an explicit answer mask, all rows in one call of the tokenizer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tamis.lm.templates import Kind, Template
from tamis.pool.rows import Row

Context = Literal["prompt", "header", "none", "question"]


@dataclass(frozen=True)
class Encoded:
    """A row as the model reads it.

    Attributes:
        ids: Token ids, int32 [tokens].
        kinds: A `Kind` for each token, int8 [tokens]: the answer mask.
        cut: Tokens cut off at the end because the row is longer than the window; 0 for a whole row.
    """

    ids: NDArray[np.int32]
    kinds: NDArray[np.int8]
    cut: int = 0


@dataclass(frozen=True)
class Unscorable:
    """Why a row cannot be read by the model."""

    reason: str


class Encoder:
    """Encodes rows with one tokenizer, one template and one length limit.

    Args:
        tokenizer: A Hugging Face tokenizer.
        template: Its way of writing conversations.
        max_length: Tokens at most; a longer row is cut at its end, as the papers do, and says so.
    """

    def __init__(self, tokenizer: Any, template: Template, max_length: int) -> None:  # noqa: D107
        self.tokenizer = tokenizer
        self.template = template
        self.max_length = max_length
        self.header = self._ids([template.header])[0] if template.header else []
        # Tokenizers that begin every text with a marker (Llama's <s>) do so here too, unless the template wrote it.
        added = list(tokenizer("", add_special_tokens=True)["input_ids"])
        bos = tokenizer.bos_token_id
        self.start = [bos] if bos is not None and added[:1] == [bos] else []
        start = bos if bos is not None else tokenizer.eos_token_id
        # An answer read alone needs a token before its first one; without header that is the beginning of a text.
        self._alone = self.start + self.header or ([] if start is None else [start])

    def _ids(self, texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]
        return ids

    def encode(self, rows: Sequence[Row]) -> list[Encoded | Unscorable]:
        """Encodes rows; one that cannot be encoded is `Unscorable` with its reason and stops nobody."""
        segments: list[Any] = []
        for row in rows:
            try:
                segments.append(self.template.segments(row))
            except Exception as error:  # a chat template is a program that may refuse a row in any way
                segments.append(Unscorable(f"the template '{self.template.name}' refuses it: {error}"))
        texts = list(dict.fromkeys(s.text for row in segments if isinstance(row, list) for s in row if s.text))
        ids = dict(zip(texts, self._ids(texts), strict=True)) if texts else {}
        return [row if isinstance(row, Unscorable) else self._join(row, ids) for row in segments]

    def _join(self, segments: list[Any], ids: dict[str, list[int]]) -> Encoded | Unscorable:
        tokens: list[int] = []
        kinds: list[int] = []
        for segment in segments:
            part = ids.get(segment.text, [])
            tokens += part
            kinds += [segment.kind] * len(part)
        if Kind.ANSWER not in kinds:
            return Unscorable("the answer is empty")
        if self.start and tokens[: len(self.start)] != self.start:
            tokens, kinds = self.start + tokens, [Kind.PROMPT] * len(self.start) + kinds
        cut = max(0, len(tokens) - self.max_length)
        if cut:
            tokens, kinds = tokens[: self.max_length], kinds[: self.max_length]
            if Kind.ANSWER not in kinds:
                return Unscorable(f"the prompt alone fills the {self.max_length} tokens that the model may read")
        return Encoded(np.array(tokens, np.int32), np.array(kinds, np.int8), cut)

    def view(self, row: Encoded, context: Context) -> Encoded:
        """What the model reads of a row.

        Args:
            row: The whole row.
            context: `prompt` for the row as it is; `header` for its answers alone, each after the header that precedes
                it in the template (of the same tokens as in the whole row, so that both losses average over the same
                ones); `none` for the bare answers, the first token of which then has no loss; `question` for what
                precedes the first answer, alone.
        """
        if context == "prompt":
            return row
        if context == "question":
            end = int(np.flatnonzero(row.kinds != Kind.PROMPT)[0])
            ids = row.ids[:end] if end else np.array(self._alone, np.int32)
            return Encoded(ids, np.full(len(ids), Kind.PROMPT, np.int8), row.cut)
        first, later = (self._alone, self.header) if context == "header" else ([], [])
        parts_ids: list[NDArray[np.int32]] = []
        parts_kinds: list[NDArray[np.int8]] = []
        edges = np.flatnonzero(np.diff((row.kinds != Kind.PROMPT).astype(np.int8), prepend=0, append=0))
        for start, end in edges.reshape(-1, 2):
            before = np.array(later if parts_ids else first, np.int32)
            parts_ids += [before, row.ids[start:end]]
            parts_kinds += [np.zeros(len(before), np.int8), row.kinds[start:end]]
        return Encoded(np.concatenate(parts_ids), np.concatenate(parts_kinds), row.cut)
