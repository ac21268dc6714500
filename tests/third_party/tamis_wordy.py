"""A scorer and a selector outside of tamis."""

import numpy as np
from pydantic import Field

from tamis import settings
from tamis.lm.observations import Text
from tamis.scorers import Scorer, Selection
from tamis.selectors import Selector


class Wordiness(Scorer):
    """How many words the answer has."""

    class Settings(settings.Settings):
        weight: float = Field(default=1.0, gt=0)
        """What a word counts."""

    paper = "none"
    cost = "no pass, text only"
    columns = {"wordiness": "words of the answer"}

    @property
    def observes(self):
        return {"answer": Text("answer")}

    def score(self, seen, state):
        return {"wordiness": np.array([self.settings.weight * len(text.split()) for text in seen["answer"]])}

    @property
    def selection(self):
        return Selection("every-other", "wordiness")


class EveryOther(Selector):
    """The highest, the third, the fifth and so on, then those between."""

    paper = "none"

    def select(self, candidates, k, seed):
        rows = np.flatnonzero(candidates.eligible)
        rows = rows[np.lexsort((candidates.keys[rows], -candidates.values[rows]))]
        return np.concatenate([rows[::2], rows[1::2]])[:k].astype(np.int64)
