"""How `evaluate` is used in a pipeline."""

from kfp import dsl
from tamis.components.evaluate import evaluate


@dsl.pipeline(name="evaluate-example")
def example_pipeline(prepared: str = "s3://data/prepared", model: str = "s3://models/qwen3-1.7b"):
    """Evaluates an untuned model on held-out rows and on GSM8K.

    Args:
        prepared: What `prepare` wrote, with held-out rows.
        model: The model to evaluate.
    """
    data = dsl.importer(artifact_uri=prepared, artifact_class=dsl.Dataset)
    task = evaluate(prepared=data.output, arm="base", model=model, evaluation={"tasks": ["gsm8k"]})
    task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(1)
