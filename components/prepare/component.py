"""Reads, checks and shards a pool."""

from typing import List  # noqa: UP035

from kfp import dsl
from tamis.components.images import CORE


@dsl.component(base_image=CORE, install_kfp_package=False)
def prepare(
    prepared: dsl.Output[dsl.Dataset],
    pool: str,
    target: str = "",
    heldout: str = "",
    options: dict = {},  # noqa: B006
    fingerprint: str = "",
) -> List[int]:  # noqa: UP006
    """Reads a pool of instruction data in any known format, checks every row and writes sharded Parquet.

    Args:
        prepared: Folder with `pool/`, `target/`, `heldout/`, `rejected.parquet` and `prepared.json`.
        pool: File, folder or pattern of candidate rows: a path, s3://bucket/key or hf://datasets/org/name.
        target: The same for target rows; empty for none.
        heldout: The same for held-out rows; empty for none.
        options: Settings: format, duplicates, near_duplicates, contamination, tasks, max_characters, shard_rows.
        fingerprint: Digest of the inputs; a changed one makes a cached step run again.

    Returns:
        Index of each shard of the pool.
    """
    from pathlib import Path

    from tamis.pool.prepare import PrepareSettings
    from tamis.pool.prepare import prepare as run
    from tamis.settings import parse

    result = run(
        pool,
        Path(prepared.path),
        target=target,
        heldout=heldout,
        options=parse(PrepareSettings, options, "preparation"),
    )
    prepared.metadata.update({name: result[name]["digest"] for name in ("pool", "target", "heldout") if name in result})
    return list(range(result["pool"]["shards"]))
