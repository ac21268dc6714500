"""How `score` is used in a pipeline."""

from kfp import dsl
from tamis.components.fit import fit
from tamis.components.score import score


@dsl.pipeline(name="score-example")
def example_pipeline(prepared: str = "s3://data/prepared", model: str = "s3://models/qwen3-1.7b"):
    """Scores four shards at a time by two methods that share a pass.

    Args:
        prepared: What `prepare` wrote, with a target.
        model: The model that reads.
    """
    data = dsl.importer(artifact_uri=prepared, artifact_class=dsl.Dataset)
    learned = fit(prepared=data.output, methods=["ifd", "rds"], model=model)
    with dsl.ParallelFor([0, 1, 2, 3], parallelism=4) as shard:
        task = score(
            prepared=data.output,
            states=learned.outputs["states"],
            methods=["ifd", "rds"],
            model=model,
            shard=shard,
        )
        task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(1)
