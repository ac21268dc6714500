"""The score step: what methods learn first (`fit`), then one pass over the pool for all of them (`score`)."""

from tamis.scoring.fit import fit
from tamis.scoring.plan import ScoreSettings, Scoring
from tamis.scoring.score import score

__all__ = ["ScoreSettings", "Scoring", "fit", "score"]
