"""How `finetune` is used in a pipeline."""

from kfp import dsl
from tamis.components.finetune import finetune


@dsl.pipeline(name="finetune-example")
def example_pipeline(selections: str = "s3://data/selections", model: str = "s3://models/qwen3-1.7b"):
    """Fine-tunes on the rows that RDS+ chose, on two GPUs.

    Args:
        selections: What `select` wrote.
        model: The model to start from.
    """
    chosen = dsl.importer(artifact_uri=selections, artifact_class=dsl.Dataset)
    task = finetune(selections=chosen.output, arm="rds", model=model, training={"method": "lora"})
    task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(2)
