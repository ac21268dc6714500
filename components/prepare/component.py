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
        pool: File or folder of candidate rows.
        target: File or folder of target rows; empty for none.
        heldout: File or folder of held-out rows; empty for none.
        options: Settings of the step: format, duplicates, contamination, shard_rows.
        fingerprint: Digest of the inputs; a changed one makes a cached step run again.

    Returns:
        Index of each shard of the pool.
    """
    from pathlib import Path

    from tamis.pool.prepare import PrepareSettings
    from tamis.pool.prepare import prepare as run
    from tamis.settings import parse

    result = run(
        Path(pool),
        Path(prepared.path),
        target=Path(target) if target else None,
        heldout=Path(heldout) if heldout else None,
        options=parse(PrepareSettings, options, "preparation"),
    )
    prepared.metadata.update({name: result[name]["digest"] for name in ("pool", "target", "heldout") if name in result})
    return list(range(result["pool"]["shards"]))
