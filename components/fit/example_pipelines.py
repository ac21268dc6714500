"""How `fit` is used in a pipeline."""

from kfp import dsl
from tamis.components.fit import fit


@dsl.pipeline(name="fit-example")
def example_pipeline(prepared: str = "s3://data/prepared", model: str = "s3://models/qwen3-1.7b"):
    """Learns once what NAIT needs of the target, to score several pools with it.

    Args:
        prepared: What `prepare` wrote, with a target.
        model: The model that reads.
    """
    data = dsl.importer(artifact_uri=prepared, artifact_class=dsl.Dataset)
    fit(prepared=data.output, methods=["nait"], model=model)
