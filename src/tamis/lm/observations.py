"""What a scorer can ask to see of a row. Declarations only: naming one imports neither torch nor a model.

Observations that read the same view of a row (the same template and context) share one pass of the model, whoever
asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from tamis.lm.encode import Context

Tokens = Literal["answer", "answer+end", "all"]


@dataclass(frozen=True)
class Loss:
    """Mean negative log-likelihood in nats a token; float64 [rows].

    Attributes:
        tokens: The answers' own tokens; with the marker that ends them; or every token, the prompt too.
        context: What precedes the answers, see `Encoder.view`.
        template: A template's name where the method prescribes one; otherwise the run's.
    """

    tokens: Tokens = "answer"
    context: Context = "prompt"
    template: str | None = None


@dataclass(frozen=True)
class Hidden:
    """The last hidden state (after the final norm), pooled over all tokens in float32; float32 [rows, width].

    Attributes:
        pool: `position` weights token t of T by t / (1 + … + T); `mean`; `last`.
        context: See `Encoder.view`.
        template: See `Loss`.
    """

    pool: Literal["position", "mean", "last"] = "position"
    context: Context = "prompt"
    template: str | None = None


@dataclass(frozen=True)
class Activations:
    """One vector a decoder layer; float32 [rows, layers, width].

    Attributes:
        site: `resid` is the output of each decoder block; `ffn` the input of its down projection.
        feature: The last token's minus the first token's; the mean over the tokens; the last token's.
        context: See `Encoder.view`.
        template: See `Loss`.
    """

    site: Literal["resid", "ffn"] = "resid"
    feature: Literal["delta", "mean", "last"] = "delta"
    context: Context = "prompt"
    template: str | None = None


@dataclass(frozen=True)
class TokenCount:
    """Number of tokens of the whole row, no pass of the model; float64 [rows].

    Attributes:
        tokens: Which tokens, as in `Loss`.
        template: See `Loss`.
    """

    tokens: Tokens = "answer"
    template: str | None = None


@dataclass(frozen=True)
class Text:
    """The row's text, no pass of the model; objects (str) [rows].

    Attributes:
        part: The turns to join by newlines: all of them, those before the answers, or the answers.
    """

    part: Literal["all", "prompt", "answer"] = "all"


@dataclass(frozen=True)
class Embedded:
    """Unit vector of the row's text by a sentence encoder, no pass of the model; float32 [rows, width].

    Attributes:
        encoder: Its name, see `tamis.lm.sentences.locate`.
        part: As in `Text`.
    """

    encoder: str = "minilm"
    part: Literal["all", "prompt", "answer"] = "all"


@dataclass(frozen=True, eq=False)
class Classified:
    """Probability of class 1 by a classifier that was trained on the model, a pass of its own; float64 [rows].

    Attributes:
        weights: Its adapters and its head by name, as `tamis.lm.classifier.train` made them.
        context: See `Encoder.view`.
        template: See `Loss`.
    """

    weights: Mapping[str, NDArray[Any]]
    context: Context = "prompt"
    template: str | None = None


Observation = Loss | Hidden | Activations | TokenCount | Text | Embedded | Classified
"""Everything that can be observed."""
