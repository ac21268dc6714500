"""How `advise` is used in a pipeline."""

from kfp import dsl
from tamis.components.advise import advise


@dsl.pipeline(name="advise-example")
def example_pipeline(prepared: str = "s3://data/prepared", model: str = "s3://models/qwen3-1.7b"):
    """Asks how many rows bring 90 % of what the whole pool would.

    Args:
        prepared: What `prepare` wrote, with a target.
        model: The model that reads.
    """
    data = dsl.importer(artifact_uri=prepared, artifact_class=dsl.Dataset)
    advise(prepared=data.output, budget="auto:0.9", model=model, settings={"family": "math"})
