"""How `preflight` is used in a pipeline."""

from kfp import dsl
from tamis.components.preflight import preflight


@dsl.pipeline(name="preflight-example")
def example_pipeline(pool: str = "s3://data/pool/", heldout: str = "s3://data/heldout.jsonl"):
    """Checks a configuration before anything else runs.

    Args:
        pool: Candidate rows.
        heldout: Rows kept for evaluation.
    """
    checked = preflight(pool=pool, heldout=heldout, methods=["ifd"])
    checked.set_caching_options(False)  # what the names stand for may have changed
