"""How `prepare` is used in a pipeline."""

from kfp import dsl
from tamis.components.prepare import prepare


@dsl.pipeline(name="prepare-example")
def example_pipeline(pool: str = "s3://data/pool/"):
    """Reads a pool once, for steps that want it checked and in shards.

    Args:
        pool: Candidate rows in any known format.
    """
    prepare(pool=pool, options={"shard_rows": 50_000})
