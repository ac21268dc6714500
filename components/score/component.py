"""Scores one shard of a pool."""

from typing import List  # noqa: UP035

from kfp import dsl
from tamis.components.images import GPU


@dsl.component(base_image=GPU, install_kfp_package=False)
def score(
    prepared: dsl.Input[dsl.Dataset],
    states: dsl.Input[dsl.Artifact],
    scores: dsl.Output[dsl.Dataset],
    work: dsl.Output[dsl.Metrics],
    methods: List[str],  # noqa: UP006
    model: str,
    shard: int = 0,
    template: str = "chat",
    method_settings: dict = {},  # noqa: B006
    options: dict = {},  # noqa: B006
    fingerprint: str = "",
):
    """Scores the rows of one shard by all methods in one pass of the model.

    Args:
        prepared: Output of `prepare`.
        states: Output of `fit` for the same methods, model and template.
        scores: Folder with one score shard and `scored.json`.
        work: Tokens a second, passes a row, share of the machine's matrix rate, padding, memory and device-hours.
        methods: Names of scoring methods.
        model: A model's folder, hub id or `demo`.
        shard: Which shard of the pool.
        template: How conversations are written.
        method_settings: Settings by method.
        options: How the model reads: dtype, max_length, batch_tokens.
        fingerprint: Digest of the inputs; a changed one makes a cached step run again.
    """
    import json
    from pathlib import Path

    from tamis.scoring import ScoreSettings, Scoring
    from tamis.scoring import score as run
    from tamis.settings import parse

    scoring = Scoring(methods, model, template, method_settings, parse(ScoreSettings, options, "scoring"))
    result = run(
        Path(prepared.path) / "pool", Path(scores.path), scoring, states=Path(states.path), indices=[int(shard)]
    )
    work.metadata.update(result["work"])
    Path(work.path).write_text(json.dumps(result["work"]))
