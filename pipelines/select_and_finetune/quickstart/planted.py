"""How many of the rows that are bad on purpose did each arm of a run choose?

    python pipelines/select_and_finetune/quickstart/planted.py runs/demo

Only this script reads `planted.jsonl`; the pipeline never does.
"""

import json
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

HERE = Path(__file__).parent


def planted() -> dict[str, dict[str, str]]:
    """What was planted, by the row's own id: its `defect`, and `of` which row."""
    rows = (json.loads(line) for line in (HERE / "planted.jsonl").read_text().splitlines())
    return {row["id"]: row for row in rows}


def kept(run: Path) -> dict[str, tuple[int, Counter[str]]]:
    """By arm: the number of rows chosen, and how many of them have each defect.

    A duplicate is bad beside the row that it copies; alone it is as good as that one.
    """
    defects = planted()
    result = {}
    for arm in sorted(path.parent for path in (run / "selections").glob("*/arm.json")):
        rows = pq.read_table(arm / "selected.parquet", columns=["original"]).column("original").to_pylist()
        ids = [json.loads(row)["id"] for row in rows]
        bad = [defects[i] for i in ids if i in defects]
        bad = [row for row in bad if row["defect"] != "duplicate" or row["of"] in ids]
        result[arm.name] = (len(ids), Counter(row["defect"] for row in bad))
    return result


def main(run: Path) -> None:
    """Prints a line for each arm."""
    print(f"planted: {dict(Counter(row['defect'] for row in planted().values()))}")
    for arm, (rows, found) in kept(run).items():
        print(f"{arm}: {found.total()} of {rows} chosen rows are bad {dict(found) or ''}".rstrip())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
