"""Tests that every plugin must pass, ours or another wheel's. Needs pytest and, for scorers, the extra `lm`.

In a test file of the wheel:

    import pytest
    from tamis.testing import ScorerContract, SelectorContract

    class TestMyScorer(ScorerContract):
        @pytest.fixture
        def scorer(self):
            return MyScorer(MyScorer.Settings())

    class TestMySelector(SelectorContract):
        @pytest.fixture
        def selector(self):
            return MySelector(MySelector.Settings())

Scorers run on a model of random weights that is made on the spot (`make_model`), so nothing is downloaded.
"""

from tamis.testing.model import make_model
from tamis.testing.scorers import ScorerContract
from tamis.testing.selectors import SelectorContract, make_scores

__all__ = ["ScorerContract", "SelectorContract", "make_model", "make_scores"]
