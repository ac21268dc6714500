"""On real rows the methods point where their papers say; see `tests/benchmarks/bench_methods.py` for the table."""

import os
from pathlib import Path

import pytest
from benchmarks.bench_methods import run

from tamis.scorers import SCORERS

DATA = Path(os.environ.get("TAMIS_DATA") or Path(__file__).parents[3] / "shared" / "data")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("methods", "rows"), [([n for n in SCORERS.names() if n != "rico"], 200), (["rico"], 100)], ids=["one pass", "rico"]
)
def test_directions(methods: list[str], rows: int, tmp_path: Path) -> None:
    if not (DATA / "pools").is_dir():
        pytest.skip(f"needs the public data sets (TAMIS_DATA, or {DATA.name} beside the checkout)")
    checks = run(DATA, methods, rows, work=tmp_path).checks()
    assert checks and all(checks.values()), [check for check, holds in checks.items() if not holds]
