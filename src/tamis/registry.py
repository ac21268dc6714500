"""How plugins are found, checked and named.

Scorers and selectors are entry points (groups `tamis.scorers` and `tamis.selectors`), the built-in ones included, so a
method from another wheel is used exactly like ours. Listing names imports nothing; a class is imported and checked when
it is first asked for.
"""

import inspect
import re
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from tamis.errors import UserError
from tamis.settings import Settings, nearest

T = TypeVar("T")
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


class Registry(Generic[T]):
    """The installed plugins of one kind, by name.

    Args:
        group: The entry-point group.
        base: The class that every plugin derives from.
    """

    def __init__(self, group: str, base: type[T]) -> None:  # noqa: D107
        self.group = group
        self.base = base
        self._loaded: dict[str, type[T]] = {}

    @property
    def kind(self) -> str:
        """What one of them is called, such as `scorer`."""
        return self.group.rsplit(".", 1)[-1].removesuffix("s")

    def _points(self) -> dict[str, EntryPoint]:
        found: dict[str, EntryPoint] = {}
        for point in entry_points(group=self.group):
            other = found.setdefault(point.name, point)
            if other.value != point.value:
                raise UserError(
                    f"two packages provide the {self.kind} '{point.name}': {other.value} and {point.value}; "
                    "uninstall one of them"
                )
        return found

    def names(self) -> list[str]:
        """All installed names, sorted, without importing any of them."""
        return sorted(self._points())

    def __getitem__(self, name: str) -> type[T]:
        """The class of that name.

        Raises:
            UserError: No such name (with the nearest), or a plugin that breaks the contract.
        """
        if name not in self._loaded:
            points = self._points()
            if name not in points:
                raise UserError(f"no {self.kind} '{name}'; {nearest(name, list(points))}")
            try:
                plugin = points[name].load()
            except (ImportError, AttributeError) as error:
                raise UserError(f"{self.kind} '{name}' ({points[name].value}) does not import: {error}") from error
            self._loaded[name] = check(name, plugin, self.base)
        return self._loaded[name]

    def origin(self, name: str) -> str:
        """The package that provides the name, with its version."""
        dist = self._points()[name].dist
        return f"{dist.name} {dist.version}" if dist else "unknown"


def check(name: str, plugin: object, base: type[T]) -> type[T]:
    """Refuses a plugin that breaks its contract, before anything runs.

    A class may bring `verify(name)`, a class method that returns what is wrong with it in words.

    Raises:
        UserError: The plugin's first fault.
    """

    def refuse(why: str) -> UserError:
        return UserError(f"{base.__name__.lower()} '{name}' ({plugin!r}) is not usable: {why}")

    if not _NAME.fullmatch(name):
        raise refuse("its name must be lower-case words joined by '-'")
    if not (inspect.isclass(plugin) and issubclass(plugin, base)):
        raise refuse(f"it must be a class derived from {base.__module__}.{base.__name__}")
    if not inspect.getdoc(plugin):
        raise refuse("it has no docstring")
    settings = getattr(plugin, "Settings", None)
    if not (inspect.isclass(settings) and issubclass(settings, Settings)):
        raise refuse("its Settings must derive from tamis.settings.Settings")
    for method, wanted in inspect.getmembers(base, inspect.isfunction):
        if method.startswith("_"):
            continue
        expected = list(inspect.signature(wanted).parameters)
        got = list(inspect.signature(getattr(plugin, method)).parameters)
        if got != expected:
            raise refuse(f"{method}({', '.join(got)}) should be {method}({', '.join(expected)})")
    fault = getattr(plugin, "verify", lambda _: None)(name)
    if fault:
        raise refuse(fault)
    return plugin
