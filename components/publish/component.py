"""Publishes the best arm of a run."""

from kfp import dsl
from tamis.components.images import CORE


@dsl.component(base_image=CORE, install_kfp_package=False)
def publish(
    selections: dsl.Input[dsl.Dataset],
    figures: dsl.Input[dsl.Artifact],
    page: dsl.Input[dsl.HTML],
    summary: dsl.Input[dsl.Markdown],
    released: dsl.Output[dsl.Artifact],
    workspace: str,
    release: str,
    publication: dict = {},  # noqa: B006
) -> str:
    """Publishes model, selection, report and manifest of the best arm; again the same is a no-op.

    Args:
        selections: Output of `select`.
        figures: All figures of the report, as JSON.
        page: The report as one HTML page.
        summary: The same in short, as Markdown.
        released: What became of it, as JSON: where, which arm, why, digest.
        workspace: Where the models are and the release goes, such as s3://bucket/prefix.
        release: Name and version, as name/version.
        publication: Settings: only_if, arm, licences, registry.

    Returns:
        URI of the release, also where it was decided not to publish.
    """
    from pathlib import Path

    from tamis.publish import Publication
    from tamis.publish import publish as run
    from tamis.settings import parse

    result = run(
        figures=Path(figures.path),
        page=Path(page.path),
        summary=Path(summary.path),
        selections=Path(selections.path),
        workspace=workspace,
        release=release,
        options=parse(Publication, publication, "publication"),
        out=Path(released.path),
    )
    released.metadata.update({"arm": result.arm, "why": result.why, "digest": result.digest})
    return result.uri
