from typing import Any

import pytest

from tamis.selectors import SELECTORS, Selector
from tamis.testing import SelectorContract

# `threshold` has no default: a bound that lets every row through.
SETTINGS: dict[str, dict[str, Any]] = {"threshold": {"at_least": -1e9}}
MORE = [
    ("top", {"order": "lowest"}),
    ("round-robin", {"on_duplicate": "next_best"}),
    ("round-robin", {"over": "rows"}),
    ("round-robin", {"over": "rows", "on_duplicate": "next_best"}),
    ("facility-location", {"part_rows": 7}),
    ("k-center", {"part_rows": 2}),
]


class TestInstalled(SelectorContract):
    @pytest.fixture(params=[(name, SETTINGS.get(name, {})) for name in SELECTORS.names()] + MORE, ids=str)
    def selector(self, request: pytest.FixtureRequest) -> Selector:
        name, settings = request.param
        kind = SELECTORS[name]
        return kind(kind.Settings(**settings))
