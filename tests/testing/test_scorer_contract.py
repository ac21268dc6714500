from typing import Any

import pytest

from tamis.scorers import SCORERS, Scorer
from tamis.testing import ScorerContract

SETTINGS: dict[str, dict[str, Any]] = {"rico": {"candidates": 6, "share": 0.3, "epochs": 1, "batch_rows": 4}}
MORE = [
    ("ifd", {"ratio": "perplexity"}),
    ("perplexity", {"tokens": "all", "select": "low"}),
    ("nait", {"site": "ffn", "feature": "mean", "centred": False, "normalize": True}),
    ("embedding", {"part": "prompt"}),
]


class TestInstalled(ScorerContract):
    @pytest.fixture(params=[(name, SETTINGS.get(name, {})) for name in SCORERS.names()] + MORE, ids=str)
    def scorer(self, request: pytest.FixtureRequest) -> Scorer:
        name, settings = request.param
        kind = SCORERS[name]
        return kind(kind.Settings(**settings))
