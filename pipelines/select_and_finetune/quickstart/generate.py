"""Write the data of the quickstart: a pool with known defects, a target, held-out rows and an evaluation task.

The skills `arithmetic` and `conversion` come from the story templates beside this, every number computed; the other
six are read from `written/`. Everything is seeded, so the same sources give the same bytes:

    python pipelines/select_and_finetune/quickstart/generate.py            # write the files
    python pipelines/select_and_finetune/quickstart/generate.py --check    # exit 1 if they differ
"""

import argparse
import json
import random
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import arithmetic  # noqa: F401  registers its templates
import conversion  # noqa: F401
from story import ARITHMETIC, CONVERSION, Dice, Problem, Reroll, Step, Template, chain, listed, show

HERE = Path(__file__).resolve().parent
SEED = "tamis-quickstart"

WRITTEN = ("code", "rewriting", "classification", "extraction", "everyday", "reasoning")
SKILLS = ("arithmetic", "conversion", *WRITTEN)
GENERATED_ROWS = 112  # of each generated skill, in the pool
TARGET_ROWS = 24
HELDOUT_ROWS = 60
TASK_ROWS = 80

SAME_SKILL_SWAPS = 7  # pairs of rows that exchange answers: one in each skill but classification, whose labels recur
CROSS_SKILL_SWAPS = 11
EMPTY_ROWS = 14
CUT_ROWS = 24
DUPLICATE_ROWS = 16
BLANKS = ("", " ", "\n")

RUN = 13  # no two generated arithmetic questions share this many words in a row


# --------------------------------------------------------------------------------------------------------------------
# The rows

Record = dict[str, object]


@dataclass(frozen=True)
class Row:
    """One row of the pool before it has an id."""

    instruction: str
    input: str
    output: str
    source: str

    def record(self, name: str) -> Record:
        """The row as it is written."""
        return {
            "id": name,
            "instruction": self.instruction,
            "input": self.input,
            "output": self.output,
            "source": self.source,
        }


def words(text: str) -> list[str]:
    """The lower-case words and numbers of a text."""
    return re.findall(r"[a-z]+|\d+(?:\.\d+)?", text.lower())


def runs(text: str, length: int) -> set[tuple[str, ...]]:
    """All sequences of `length` words of a text."""
    found = words(text)
    return {tuple(found[i : i + length]) for i in range(len(found) - length + 1)}


def problems(rng: random.Random, templates: Sequence[Template], strict: bool) -> Iterator[Problem]:
    """Endless problems, the templates taken in turns.

    Args:
        rng: Source of chance.
        templates: Whose turn comes in an order that is drawn anew each round.
        strict: Whether no two problems may share their numbers, their template and cast, or `RUN` words in a row.
    """
    seen: set[object] = set()
    while True:
        for template in rng.sample(templates, len(templates)):
            for _ in range(10_000):
                dice = Dice(rng)
                try:
                    problem = template(dice)
                except Reroll:
                    continue
                problem = replace(problem, cast=tuple(sorted(dice.cast)))
                keys: set[object] = {(problem.question, problem.context), (template, problem.numbers)}
                if strict:
                    keys |= {problem.numbers, (template, problem.cast)} | runs(problem.question, RUN)
                if not keys & seen:
                    seen |= keys
                    yield problem
                    break
            else:
                raise RuntimeError(f"template {template.__name__} is exhausted")


def take(source: Iterator[Problem], count: int, skill: str) -> list[Row]:
    """The next problems as rows."""
    chosen = (next(source) for _ in range(count))
    return [Row(p.question, p.context, p.output, skill) for p in chosen]


def worked(steps: Iterable[Step]) -> str:
    """Steps as one line that ends in the answer."""
    steps = list(steps)
    return f"{listed([step.text for step in steps])}. The answer is {steps[-1].value}."


def choices(rng: random.Random, problem: Problem) -> list[str]:
    """The right choice and three wrong ones: other computations, and one that slips by a unit or by ten."""
    answer = problem.right[-1]
    found = {answer.value: worked(problem.right)}
    for expressions in rng.sample(problem.wrong, len(problem.wrong)):
        try:
            steps = chain(*expressions)
        except Reroll:
            continue
        if steps[-1].exact > 0:
            found.setdefault(steps[-1].value, worked(steps))
        if len(found) == 3:
            break
    money = answer.value.startswith("$")
    for slip in rng.sample([1, -1, 10, -10, 2, -2], 6):
        if len(found) == 4:
            break
        if answer.exact + slip > 0:
            value = show(answer.exact + slip, money)
            wrong = Step(f"{answer.text.split(' = ')[0]} = {value}", value, answer.exact + slip)
            found.setdefault(value, worked((*problem.right[:-1], wrong)))
    return list(found.values())


def task_rows(rng: random.Random, source: Iterator[Problem]) -> list[Record]:
    """The questions of the evaluation task, with the right choice equally often in each place."""
    places = [i % 4 for i in range(TASK_ROWS)]
    rng.shuffle(places)
    records: list[Record] = []
    for number, place in enumerate(places, start=1):
        problem = next(source)
        right, *wrong = choices(rng, problem)
        rng.shuffle(wrong)
        wrong.insert(place, right)
        records.append({"id": f"qa-{number:02d}", "question": problem.question, "choices": wrong, "gold": place})
    return records


def written(skill: str) -> list[Row]:
    """The hand-written rows of a skill."""
    lines = (HERE / "written" / f"{skill}.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines if line.strip()]
    return [Row(r["instruction"], r.get("input") or "", r["output"], skill) for r in records]


# --------------------------------------------------------------------------------------------------------------------
# The planted defects


@dataclass(frozen=True)
class Planted:
    """A row that is bad on purpose, and the place of the row that it took from."""

    defect: str
    of: int | None = None


def cut(rng: random.Random, text: str) -> str | None:
    """The first 25 to 50 % of an answer, ending inside a sentence; None where that cannot be."""
    low, high = -(-len(text) // 4), len(text) // 2
    inside = [i for i in range(low, high + 1) if text[i - 1].isalnum() and text[i] not in ".!?\n"]
    return text[: rng.choice(inside)] if inside and len(text) >= 60 else None


def plant(rng: random.Random, rows: list[Row]) -> tuple[list[Row], dict[int, Planted]]:
    """Spoil some rows and append some copies, about equally many in each skill.

    Args:
        rng: Source of chance.
        rows: Good rows only.

    Returns:
        The rows with the defects in place, and what was done by place.
    """
    result, planted = list(rows), dict[int, Planted]()
    free = {skill: [i for i, row in enumerate(rows) if row.source == skill] for skill in SKILLS}
    for places in free.values():
        rng.shuffle(places)

    def swap(first: str, second: str) -> None:
        a = free[first].pop()
        b = next(i for i in reversed(free[second]) if words(rows[i].output) != words(rows[a].output))
        free[second].remove(b)
        result[a] = replace(rows[a], output=rows[b].output)
        result[b] = replace(rows[b], output=rows[a].output)
        planted[a], planted[b] = Planted("swapped", b), Planted("swapped", a)

    for skill in [skill for skill in SKILLS if skill != "classification"][:SAME_SKILL_SWAPS]:
        swap(skill, skill)
    for i in range(CROSS_SKILL_SWAPS):
        swap(SKILLS[i % 8], SKILLS[(i + 3) % 8])
    for i in range(EMPTY_ROWS):
        place = free[SKILLS[i % 8]].pop()
        result[place] = replace(rows[place], output=BLANKS[i % len(BLANKS)])
        planted[place] = Planted("empty")
    for i in range(CUT_ROWS):
        for place in reversed(free[SKILLS[i % 8]]):
            short = cut(rng, rows[place].output)
            if short is not None:
                free[SKILLS[i % 8]].remove(place)
                result[place] = replace(rows[place], output=short)
                planted[place] = Planted("cut")
                break
        else:
            raise RuntimeError(f"no answer of {SKILLS[i % 8]} is long enough to cut")
    for i in range(DUPLICATE_ROWS):
        place = free[SKILLS[i % 8]].pop()
        planted[len(result)] = Planted("duplicate", place)
        result.append(rows[place])
    return result, planted


# --------------------------------------------------------------------------------------------------------------------
# The files

TASK_YAML = """\
# Written by generate.py. Four worked answers per question; the model has to find the right one the most likely.
task: quickstart_arithmetic
dataset_path: json
dataset_kwargs:
  data_files:
    test: quickstart_arithmetic.jsonl
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_choice: choices
doc_to_target: gold
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
  - metric: acc_norm
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
"""


def jsonl(records: Iterable[Record]) -> str:
    """Records as JSON Lines."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def check(pool: Sequence[Record], other: Sequence[Sequence[Record]]) -> None:
    """Stop if a question outside the pool is also in the pool or in another file."""
    seen = {" ".join(words(f"{r['instruction']} {r['input']}")) for r in pool}
    pool_runs = {run for r in pool for run in runs(str(r["instruction"]), RUN)}
    for records in other:
        for record in records:
            question = str(record.get("instruction") or record["question"])
            key = " ".join(words(question))
            if key in seen or runs(question, RUN) & pool_runs:
                raise RuntimeError(f"{record['id']} is also elsewhere: {question}")
            seen.add(key)


def build() -> dict[str, str]:
    """All files by name, with their contents."""
    source = problems(random.Random(f"{SEED} arithmetic"), ARITHMETIC, strict=True)
    good = take(source, GENERATED_ROWS, "arithmetic")
    target = [r.record(f"qt-{i:02d}") for i, r in enumerate(take(source, TARGET_ROWS, "arithmetic"), start=1)]
    heldout = [r.record(f"qh-{i:02d}") for i, r in enumerate(take(source, HELDOUT_ROWS, "arithmetic"), start=1)]
    task = task_rows(random.Random(f"{SEED} task"), source)
    source = problems(random.Random(f"{SEED} conversion"), CONVERSION, strict=False)
    good += take(source, GENERATED_ROWS, "conversion")
    for skill in WRITTEN:
        good += written(skill)

    rng = random.Random(f"{SEED} pool")
    rows, planted = plant(rng, good)
    order = list(range(len(rows)))
    rng.shuffle(order)
    names = {place: f"qs-{number:04d}" for number, place in enumerate(order, start=1)}
    pool = [rows[place].record(names[place]) for place in order]
    defects: list[Record] = []
    for place in order:
        if place in planted:
            what = planted[place]
            of = None if what.of is None else names[what.of]
            defects.append({"id": names[place], "defect": what.defect, "of": of})
    check(pool, [target, heldout, task])
    return {
        "pool.jsonl": jsonl(pool),
        "planted.jsonl": jsonl(defects),
        "target.jsonl": jsonl(target),
        "heldout.jsonl": jsonl(heldout),
        "tasks/quickstart_arithmetic.jsonl": jsonl(task),
        "tasks/quickstart_arithmetic.yaml": TASK_YAML,
    }


def main() -> int:
    """Write or check the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file differs")
    arguments = parser.parse_args()
    stale = []
    for name, content in build().items():
        path, data = HERE / name, content.encode()
        if path.exists() and path.read_bytes() == data:
            continue
        stale.append(name)
        if not arguments.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    if arguments.check:
        print(f"differ: {', '.join(stale)}" if stale else "up to date")
        return 1 if stale else 0
    print(f"written: {', '.join(stale)}" if stale else "nothing to write")
    return 0


if __name__ == "__main__":
    sys.exit(main())
