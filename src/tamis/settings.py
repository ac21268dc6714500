"""Typed settings that refuse what they do not know, and say which name was probably meant."""

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tamis.errors import UserError


class Settings(BaseModel):
    """Base of every settings class: frozen, and an unknown key is an error rather than a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


S = TypeVar("S", bound=BaseModel)


def nearest(name: str, known: list[str]) -> str:
    """Ends an error about an unknown name: the nearest known one, or all of them."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(sorted(known)) or 'none'}"


def parse(cls: type[S], values: Mapping[str, Any], where: str) -> S:
    """Makes a settings object from plain values.

    Args:
        cls: The settings class.
        values: Names to values, as read from YAML or a pipeline parameter.
        where: What these settings belong to, for the error ("settings of ifd", a file's name).

    Raises:
        UserError: An unknown name (with the nearest known one), or a value of the wrong kind.
    """
    try:
        return cls.model_validate(dict(values))
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            name = ".".join(str(part) for part in problem["loc"])
            if problem["type"] == "extra_forbidden":
                lines.append(f"unknown setting '{name}'; {nearest(name, list(cls.model_fields))}")
            else:
                lines.append(f"'{name}': {problem['msg'].removeprefix('Value error, ')}")
        raise UserError(f"{where}: {'; '.join(lines)}") from None
