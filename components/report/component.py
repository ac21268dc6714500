"""Says whether the selection was worth it."""

from typing import List  # noqa: UP035

from kfp import dsl
from tamis.components.images import CORE


@dsl.component(base_image=CORE, install_kfp_package=False)
def report(
    prepared: dsl.Input[dsl.Dataset],
    scores: dsl.Input[List[dsl.Dataset]],  # noqa: UP006
    selections: dsl.Input[dsl.Dataset],
    base: dsl.Input[dsl.Artifact],
    evaluations: dsl.Input[List[dsl.Artifact]],  # noqa: UP006
    page: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Markdown],
    figures: dsl.Output[dsl.Artifact],
):
    """Compares every arm with random ones: verdict, intervals, score histograms, best and worst rows, lineage.

    Args:
        prepared: Output of `prepare`.
        scores: Outputs of `score`.
        selections: Output of `select`.
        base: Output of `evaluate` for the untuned model.
        evaluations: Outputs of `evaluate` for the arms.
        page: The report as one HTML page.
        summary: The same in short, as Markdown.
        figures: All figures of the report, as JSON.
    """
    from pathlib import Path

    from tamis.report import report as run

    run(
        prepared=Path(prepared.path),
        scores=[Path(part.path) for part in scores],
        selections=Path(selections.path),
        evaluations=[Path(base.path), *(Path(part.path) for part in evaluations)],
        page=Path(page.path),
        summary=Path(summary.path),
        figures=Path(figures.path),
    )
