"""A folder in the store, and one on this machine: the same functions, the same results."""

from pathlib import Path

import pytest


@pytest.fixture(params=["s3", "local"])
def folder(request: pytest.FixtureRequest, bucket: str, tmp_path: Path) -> str:
    return bucket if request.param == "s3" else str(tmp_path / "folder")
