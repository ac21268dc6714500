"""Pre-experience: a short training on a few varied rows, after which the model scores.

The first stage of Cherry LLM (Li et al. 2024, arXiv 2308.12032), dropped by its authors for later models. As in their
code: each row's prompt as the mean of the last hidden states, k-means into clusters (10 rows are to come from each,
`random_state` 0), and of a cluster's rows those whose prompt perplexity lies in its middle half, evenly spaced; the
training is one epoch. Here a sample of the pool is clustered, ten rows for each that is wanted, and a step of the
training reads 8 rows instead of 128, so that a thousand rows are more than 8 steps. The trained model stands with what
the methods learned, and all methods of the run score with it.
"""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tamis.errors import UserError
from tamis.finetune import TrainingSettings, finetune
from tamis.lm.observations import Hidden, Loss
from tamis.pool import shards
from tamis.pool.rows import to_table
from tamis.scoring.plan import EXPERIENCED, Scoring

log = logging.getLogger("tamis")
PER_CLUSTER = 10
SAMPLED = 10
"""Rows of the pool that are looked at for each that is wanted."""


def gain_experience(pool: Path, states: Path, scoring: Scoring) -> None:
    """Trains the model as the run's `pre_experience` says; nothing if it is trained so already, or asks for none.

    Cost: a pass over the prompts of ten times the rows, and the training.

    Args:
        pool: The pool's shards.
        states: Gets the model as `experienced/`, its rows, and `experience.json`.
        scoring: The model, how it reads, and how many rows.

    Raises:
        UserError: The folder holds a model of other experience, or no row can be read.
    """
    wanted = scoring.options.pre_experience
    if not wanted:
        return
    parts = shards.shards(pool)
    sample = shards.sample(parts, SAMPLED * wanted)
    plain = replace(scoring, options=scoring.options.model_copy(update={"pre_experience": 0}))
    identity = {
        "model": scoring.model,
        "template": scoring.template,
        "rows": wanted,
        "max_length": scoring.options.max_length,
        "sample": shards.combined_digest(row.id for row in sample),
    }
    states.mkdir(parents=True, exist_ok=True)
    told, folder = states / "experience.json", states / EXPERIENCED
    if told.exists():
        differs = shards.difference(json.loads(told.read_text()), identity)
        if differs:
            raise UserError(f"{folder} was trained with {differs}; choose another folder")
        if (folder / "training.json").exists():
            return
    engine = plain.engine()
    wants = {"hidden": Hidden("mean", context="question"), "loss": Loss("all", context="question")}
    seen = engine.observe(sample, wants)
    del engine  # the training loads its own
    if not seen:
        raise UserError("pre-experience: no row of the sample can be read")
    chosen = varied(seen["hidden"], seen["loss"], wanted)
    log.info("pre-experience: training on %d rows of %d", len(chosen), len(sample))
    shards.write_json(told, identity)
    rows = states / "experience.parquet"
    pq.write_table(to_table([sample[i] for i in chosen]), rows)
    finetune(
        rows, scoring.model, folder, TrainingSettings(max_length=scoring.options.max_length), template=scoring.template
    )


def varied(vectors: NDArray[np.float32], losses: NDArray[np.float64], wanted: int) -> list[int]:
    """Rows of all clusters, none of them among the easiest or hardest of its cluster.

    Args:
        vectors: One a row; a row that is not finite is not chosen.
        losses: Of the prompt; ordered as the perplexity is.
        wanted: How many at most; a tenth of that is the number of clusters.

    Returns:
        Positions, in order. Fewer than wanted where clusters have few rows.
    """
    from sklearn.cluster import KMeans

    known = np.flatnonzero(np.isfinite(vectors).all(axis=1) & np.isfinite(losses))
    if len(known) == 0:
        raise UserError("pre-experience: no row of the sample can be read")
    clusters = min(max(1, wanted // PER_CLUSTER), len(known))
    labels = KMeans(clusters, random_state=0).fit_predict(vectors[known])
    chosen: list[int] = []
    for label in range(clusters):
        mine = known[labels == label]
        low, high = np.percentile(losses[mine], [25, 75])
        middle = mine[(losses[mine] >= low) & (losses[mine] <= high)]
        chosen += middle[:: max(1, len(middle) // PER_CLUSTER)][:PER_CLUSTER].tolist()
    return sorted(chosen)[:wanted]
