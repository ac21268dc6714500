"""How `select_and_finetune` is used as a part of another pipeline."""

from kfp import dsl
from tamis.pipelines.select_and_finetune import select_and_finetune


@dsl.pipeline(name="select-and-finetune-example")
def example_pipeline(pool: str = "s3://data/pool/", target: str = "s3://data/target.jsonl"):
    """Compares RDS+ with random draws, fine-tuning on GPU nodes.

    Args:
        pool: Candidate rows.
        target: Rows that show what the model should become good at.
    """
    select_and_finetune(
        pool=pool,
        target=target,
        heldout="s3://data/heldout.jsonl",
        model="s3://models/qwen3-1.7b",
        methods=["rds"],
        training_accelerator_type="nvidia.com/gpu",
        training_memory="64Gi",
        training_node_selector={"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"},
    )
