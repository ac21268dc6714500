"""How `select` is used in a pipeline."""

from typing import List  # noqa: UP035

from kfp import dsl
from tamis.components.select import select


@dsl.pipeline(name="select-example")
def example_pipeline(prepared: str = "s3://data/prepared", scores: List[str] = ["s3://data/scores"]):  # noqa: B006, UP006
    """Selects a tenth of a pool by scores that are there already.

    Args:
        prepared: What `prepare` wrote.
        scores: What `score` wrote, a folder for each shard.
    """
    data = dsl.importer(artifact_uri=prepared, artifact_class=dsl.Dataset)
    with dsl.ParallelFor(scores) as uri:
        part = dsl.importer(artifact_uri=uri, artifact_class=dsl.Dataset)
    select(prepared=data.output, scores=dsl.Collected(part.output), methods=["ifd"], budget="10%")
