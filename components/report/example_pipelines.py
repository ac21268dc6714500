"""How `report` is used in a pipeline."""

from typing import List  # noqa: UP035

from kfp import dsl
from tamis.components.report import report


@dsl.pipeline(name="report-example")
def example_pipeline(
    prepared: str = "s3://data/prepared",
    scores: List[str] = ["s3://data/scores"],  # noqa: B006, UP006
    selections: str = "s3://data/selections",
    base: str = "s3://data/evaluated/base",
    arms: List[str] = ["s3://data/evaluated/rds", "s3://data/evaluated/random-0"],  # noqa: B006, UP006
):
    """Compares arms that were evaluated elsewhere.

    Args:
        prepared: What `prepare` wrote.
        scores: What `score` wrote, a folder for each shard.
        selections: What `select` wrote.
        base: What `evaluate` wrote for the untuned model.
        arms: What it wrote for the arms.
    """
    data = dsl.importer(artifact_uri=prepared, artifact_class=dsl.Dataset)
    chosen = dsl.importer(artifact_uri=selections, artifact_class=dsl.Dataset)
    untuned = dsl.importer(artifact_uri=base, artifact_class=dsl.Artifact)
    with dsl.ParallelFor(scores) as uri:
        part = dsl.importer(artifact_uri=uri, artifact_class=dsl.Dataset)
    with dsl.ParallelFor(arms) as uri:
        arm = dsl.importer(artifact_uri=uri, artifact_class=dsl.Artifact)
    report(
        prepared=data.output,
        scores=dsl.Collected(part.output),
        selections=chosen.output,
        base=untuned.output,
        evaluations=dsl.Collected(arm.output),
    )
