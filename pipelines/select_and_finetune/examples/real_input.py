"""Makes the input of `dolly_gsm8k.yaml` from public data sets.

    python pipelines/select_and_finetune/examples/real_input.py DATA runs/dolly-gsm8k-input

DATA is a folder with `pools/dolly.jsonl.gz`, `pools/gsm8k_train.jsonl.gz` (instruction, input, output) and
`evals/arc_easy_test.jsonl.gz` (the set's own fields).
"""

import gzip
import json
import random
import sys
from pathlib import Path

ARC_TASK = """\
include: lm_eval/tasks/arc/arc_easy.yaml
task: arc_easy
dataset_path: json
dataset_name: null
dataset_kwargs:
  data_files:
    train: arc_easy.jsonl
    validation: arc_easy.jsonl
    test: arc_easy.jsonl
"""


def lines(path: Path) -> list[str]:
    """The lines of a gzip file."""
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        return [line for line in stream if line.strip()]


def main(data: Path, out: Path) -> None:
    """Draws 1,200 Dolly and 400 GSM8K rows as the pool, 16 and 200 other GSM8K rows as target and held-out rows."""
    draw = random.Random(0)
    dolly = draw.sample(lines(data / "pools" / "dolly.jsonl.gz"), 1200)
    gsm8k = draw.sample(lines(data / "pools" / "gsm8k_train.jsonl.gz"), 400 + 16 + 200)
    arc = draw.sample(lines(data / "evals" / "arc_easy_test.jsonl.gz"), 200)
    parts = {
        "pool/dolly.jsonl": dolly,
        "pool/gsm8k.jsonl": gsm8k[:400],
        "target/gsm8k.jsonl": gsm8k[400:416],
        "heldout/gsm8k.jsonl": gsm8k[416:],
        "tasks/arc_easy.jsonl": arc,
    }
    for name, rows in parts.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(json.loads(row), ensure_ascii=False) + "\n" for row in rows), "utf-8")
    (out / "tasks" / "arc_easy.yaml").write_text(ARC_TASK)
    print(f"Written to {out}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
