"""What is to be scored with: the methods, the model, and how it reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tamis import settings
from tamis.errors import UserError
from tamis.lm.observations import Embedded
from tamis.lm.sentences import locate
from tamis.scorers import SCORERS, Scorer


class ScoreSettings(settings.Settings):
    """How the model reads the pool."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type to compute in; `auto` is the one that is fastest on the machine."""
    max_length: int = Field(default=2048, ge=8)
    """Tokens of a row at most; a longer row is cut at its end and the column `cut` says by how many."""
    batch_tokens: int = Field(default=0, ge=0)
    """Tokens of a batch at most; 0 for as many as a probe of the memory finds."""
    trust_remote_code: tuple[str, ...] = ()
    """Names of models, as `model` gives them, whose own Python code may be run; none by default."""
    pre_experience: int = Field(default=0, ge=0)
    """Rows of the pool on which the model is trained before it scores (Cherry LLM's first stage: 1000); 0 for none."""


EXPERIENCED = "experienced"
"""Folder of the trained model, among what methods learned."""


@dataclass(frozen=True)
class Scoring:
    """Methods and a model.

    Attributes:
        methods: Names of methods.
        model: A model's folder, URI, hub id or `demo`.
        template: Name of the template.
        settings: Settings by method.
        options: How the model reads.
    """

    methods: Sequence[str]
    model: str
    template: str = "chat"
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: ScoreSettings = field(default_factory=ScoreSettings)

    @cached_property
    def scorers(self) -> dict[str, Scorer]:
        """The scorers by name.

        Raises:
            UserError: An unknown method or setting, or settings for a method that is not asked for.
        """
        if not self.methods:
            raise UserError(f"no method is named; installed are {', '.join(SCORERS.names())}")
        for name in self.settings:
            if name not in self.methods:
                raise UserError(f"settings for '{name}', which is not among the methods {', '.join(self.methods)}")
        return {
            name: SCORERS[name](
                settings.parse(SCORERS[name].Settings, self.settings.get(name) or {}, f"settings of {name}")
            )
            for name in dict.fromkeys(self.methods)
        }

    @property
    def learners(self) -> dict[str, Scorer]:
        """Those that learn something before they can score."""
        return {name: scorer for name, scorer in self.scorers.items() if type(scorer).fit is not Scorer.fit}

    def check(self, target: Path | None, learned: bool = False) -> None:
        """Refuses a run without what a method needs, before anything is loaded.

        Args:
            target: The target rows, if there are any.
            learned: Whether the methods have learned already, so that they need no target.

        Raises:
            UserError: Which method needs what: a target, or a sentence encoder that is not there.
        """
        for name, scorer in self.scorers.items():
            for want in scorer.observes.values():
                if isinstance(want, Embedded):
                    locate(want.encoder)
            if "target" in scorer.needs and target is None and not learned:
                raise UserError(f"method '{name}' needs a target: rows of what the model should be good at (--target)")

    def engine(self, states: Path | None = None) -> Any:
        """Loads the model; with pre-experience, the one that was trained into `states`.

        Raises:
            UserError: It cannot be loaded, or has no experience yet.
        """
        from tamis.lm.engine import Engine
        from tamis.lm.load import load

        options = self.options
        where = self.model
        if options.pre_experience:
            where = str((states or Path()) / EXPERIENCED)
            if states is None or not (states / EXPERIENCED / "training.json").exists():
                raise UserError(f"{where}: the model must gain experience first; run `tamis fit`")
        lm = load(where, options.dtype, options.trust_remote_code)
        if options.pre_experience:
            name = f"{self.model} after pre-experience on {options.pre_experience} rows"
            lm = replace(lm, identity=lm.identity | {"model": name})
        return Engine(lm, self.template, options.max_length, options.batch_tokens or Engine.batch_tokens)
