"""Measures how many rows the task needs, for a budget of `auto`."""

from kfp import dsl
from tamis.components.images import GPU


@dsl.component(base_image=GPU, install_kfp_package=False)
def advise(
    prepared: dsl.Input[dsl.Dataset],
    advice: dsl.Output[dsl.Artifact],
    budget: str,
    model: str,
    template: str = "chat",
    options: dict = {},  # noqa: B006
    settings: dict = {},  # noqa: B006
    fingerprint: str = "",
):
    """Measures how many rows the task needs for a share of the attainable performance; ends at once for other budgets.

    Args:
        prepared: Output of `prepare`.
        advice: The advice as JSON, which `select` reads.
        budget: `auto`, `auto:0.9`, or any other budget.
        model: A model's folder, hub id or `demo`.
        template: How conversations are written.
        options: How the model reads: dtype, max_length, batch_tokens.
        settings: Settings of the advice: family or slope and intercept, rows, labelled and so on.
        fingerprint: Digest of the inputs; a changed one makes a cached step run again.
    """
    from pathlib import Path

    from tamis.budget import AdviceSettings
    from tamis.budget.step import advise_budget as run
    from tamis.scoring import ScoreSettings, Scoring
    from tamis.settings import parse

    folder = Path(prepared.path)
    target = folder / "target" if (folder / "target").exists() else None
    scoring = Scoring([], model, template, {}, parse(ScoreSettings, options, "scoring"))
    run(folder / "pool", Path(advice.path), budget, scoring, parse(AdviceSettings, settings, "advice"), target)
