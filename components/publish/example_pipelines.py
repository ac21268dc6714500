"""How `publish` is used in a pipeline."""

from kfp import dsl
from tamis.components.publish import publish


@dsl.pipeline(name="publish-example")
def example_pipeline(workspace: str = "s3://data/workspace"):
    """Publishes what a run has found, from artifacts that lie in a store.

    Args:
        workspace: Where the tuned models are and the release goes.
    """
    selections = dsl.importer(artifact_uri="s3://data/run/selections", artifact_class=dsl.Dataset)
    figures = dsl.importer(artifact_uri="s3://data/run/report.json", artifact_class=dsl.Artifact)
    page = dsl.importer(artifact_uri="s3://data/run/report.html", artifact_class=dsl.HTML)
    summary = dsl.importer(artifact_uri="s3://data/run/report.md", artifact_class=dsl.Markdown)
    publish(
        selections=selections.output,
        figures=figures.output,
        page=page.output,
        summary=summary.output,
        workspace=workspace,
        release="assistant/1.0.0",
    )
