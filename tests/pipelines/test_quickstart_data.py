"""The quickstart data: as its script writes it, true where it should be, bad where it says so, and without leaks."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path

import pytest
import yaml

QUICKSTART = Path(__file__).resolve().parents[2] / "pipelines" / "select_and_finetune" / "quickstart"
SKILLS = ["arithmetic", "classification", "code", "conversion", "everyday", "extraction", "reasoning", "rewriting"]
DEFECTS = {"swapped": 36, "empty": 14, "cut": 24, "duplicate": 16}


def read(name):
    return [json.loads(line) for line in (QUICKSTART / name).read_text(encoding="utf-8").splitlines()]


POOL = read("pool.jsonl")
BY_ID = {row["id"]: row for row in POOL}
PLANTED = {row["id"]: row for row in read("planted.jsonl")}
GOOD = [row for row in POOL if row["id"] not in PLANTED]
TARGET, HELDOUT, TASK = read("target.jsonl"), read("heldout.jsonl"), read("tasks/quickstart_arithmetic.jsonl")


def defect(name):
    return [(BY_ID[row["id"]], row) for row in PLANTED.values() if row["defect"] == name]


def run(folder, *arguments):
    return subprocess.run(
        [sys.executable, folder / "generate.py", *arguments], capture_output=True, text=True, check=False
    )


# --- the script


def test_the_files_are_what_the_script_writes():
    done = run(QUICKSTART, "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_changed_file_is_noticed_and_written_again(tmp_path):
    copy = tmp_path / "quickstart"
    shutil.copytree(QUICKSTART, copy, ignore=shutil.ignore_patterns("__pycache__"))
    pool = copy / "pool.jsonl"
    before = pool.read_bytes()
    pool.write_bytes(before[:-2])
    assert run(copy, "--check").returncode == 1
    assert pool.read_bytes() != before
    assert run(copy).returncode == 0
    assert pool.read_bytes() == before
    assert run(copy, "--check").returncode == 0


# --- counts


def test_counts():
    assert 580 <= len(POOL) <= 620
    assert len(BY_ID) == len(POOL)
    assert (len(TARGET), len(HELDOUT), len(TASK)) == (24, 60, 80)
    assert Counter(row["defect"] for row in PLANTED.values()) == DEFECTS
    by_skill = Counter(row["source"] for row in POOL)
    assert sorted(by_skill) == SKILLS
    assert min(by_skill.values()) >= 60
    assert {row["source"] for row in TARGET + HELDOUT} == {"arithmetic"}


def test_the_readme_gives_the_counts():
    text = (QUICKSTART / "README.md").read_text(encoding="utf-8")
    for name, count in DEFECTS.items():
        assert re.search(rf"\| `{name}` \| {count} \|", text), name
    for skill in SKILLS:
        count = sum(row["source"] == skill for row in POOL)
        assert re.search(rf"\| `{skill}` \| {count} \|", text), skill
    assert f"{len(POOL)} rows" in text


def test_fields():
    for row in POOL + TARGET + HELDOUT:
        assert list(row) == ["id", "instruction", "input", "output", "source"]
        assert all(isinstance(value, str) for value in row.values())
        assert row["instruction"].strip() == row["instruction"] != ""


def test_size():
    files = [path for path in QUICKSTART.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) < 1_000_000


# --- the planted defects


def test_planted_ids_exist_and_every_skill_has_some():
    assert set(PLANTED) <= set(BY_ID)
    assert {row["of"] for row in PLANTED.values()} - {None} <= set(BY_ID)
    spread = Counter(BY_ID[name]["source"] for name in PLANTED)
    assert set(spread) == set(SKILLS) and min(spread.values()) >= 8


def test_swapped_rows_exchanged_their_answers():
    crossing = 0
    for row, plan in defect("swapped"):
        partner = PLANTED[plan["of"]]
        assert (partner["defect"], partner["of"]) == ("swapped", row["id"])
        assert row["output"].strip() and row["output"] != BY_ID[partner["id"]]["output"]
        crossing += row["source"] != BY_ID[partner["id"]]["source"]
    assert 0 < crossing < DEFECTS["swapped"]


def test_duplicates_are_exact_copies_of_good_rows():
    for row, plan in defect("duplicate"):
        original = BY_ID[plan["of"]]
        assert plan["of"] not in PLANTED
        assert {**row, "id": None} == {**original, "id": None}


def test_empty_and_cut_answers():
    assert all(row["output"].strip() == "" and plan["of"] is None for row, plan in defect("empty"))
    for row, plan in defect("cut"):
        assert plan["of"] is None
        assert row["output"][-1].isalnum() and len(row["output"]) >= 15
        assert "The answer is" not in row["output"]


def test_good_rows_are_answered_once():
    assert all(row["output"].strip() == row["output"] != "" for row in GOOD)
    questions = Counter((row["instruction"], row["input"]) for row in GOOD)
    assert max(questions.values()) == 1


# --- the truth of the generated answers


def number(text):
    return Fraction(text.replace("$", ""))


EQUATION = re.compile(r"(\$?\d+(?:\.\d+)?(?: [-+*/] \$?\d+(?:\.\d+)?)+) = (\$?\d+(?:\.\d+)?)")


def equations(text):
    """The equations of a text, each checked with Python's own arithmetic."""
    found = EQUATION.findall(text)
    for left, right in found:
        exact = re.sub(r"\d+(?:\.\d+)?", lambda n: f"Fraction('{n[0]}')", left.replace("$", ""))
        assert eval(exact, {"Fraction": Fraction}) == number(right), f"{left} = {right}"
    return [right for _, right in found]


def final(text):
    return re.search(r"The answer is (.+)\.$", text)[1]


ARITHMETIC = [row for row in GOOD if row["source"] == "arithmetic"] + TARGET + HELDOUT
CONVERSION = [row for row in GOOD if row["source"] == "conversion"]
TIMES = {"three": 3, "four": 4, "five": 5, "six": 6}
PARTS = {"third": 3, "quarter": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8}

# A phrase of a question, and the answer from the numbers of the question in the order in which they stand there.
SOLVERS = [
    ("neighbor. How many", lambda n: n[0] * n[1] - n[2]),
    ("at a party", lambda n: n[0] * n[1] - n[2]),
    ("altogether?", lambda n: n[0] + n[1]),
    ("How much change", lambda n: n[2] - n[0] * n[1]),
    ("get back?", lambda n: n[2] - n[0] * n[1]),
    ("spend in total?", lambda n: n[0] * n[1] + n[2] * n[3]),
    ("divides the rest equally", lambda n: (n[0] - n[1]) / n[2]),
    ("aside for later", lambda n: (n[0] - n[1]) / n[2]),
    ("left over?", lambda n: n[0] - n[1] * n[2]),
    ("do not fit in?", lambda n: n[0] - n[1] * n[2]),
    ("savings jar", lambda n: n[0] + n[1] * n[2]),
    ("piggy bank", lambda n: n[1] + n[0] * n[2]),
    ("can she buy it|can he buy it|work to afford it", lambda n: (n[0] - n[1]) / n[2]),
    ("on every day after that", lambda n: (n[0] - n[1]) / n[2]),
    ("fewer .* than .*, who finds", lambda n: 2 * n[1] - n[0]),
    ("picks up \\d+ more than", lambda n: 2 * n[0] + n[1]),
    ("at a pace of", lambda n: n[0] - n[1] * n[2]),
    ("During the night|In .* garden there were", lambda n: n[0] * n[1] - n[2]),
    ("get off and", lambda n: n[0] - n[1] + n[2]),
    ("new ones board", lambda n: n[1] - n[0] + n[2]),
    ("puts a fence|walks once around", lambda n: 2 * (n[0] + n[1])),
    ("square meters. How many .* (does|must)", lambda n: None),
    ("The whole trip is", lambda n: n[2] - n[0] * n[1]),
    ("on these two days", lambda n: n[0] * (n[1] + n[2])),
    ("pay is", lambda n: n[2] * (n[0] + n[1])),
    ("% off", lambda n: n[0] * (100 - n[1]) / 100),
    ("By noon|until lunch", lambda n: n[0] + n[1] - n[2]),
    ("average", lambda n: sum(n[-3:]) / 3),
    ("counts all their legs|How many legs", lambda n: 2 * n[0] + 4 * n[1]),
    ("uses a voucher", lambda n: n[0] * n[2] + n[1] * n[3] - n[4]),
    ("a coupon takes", lambda n: n[0] * n[2] + n[1] * n[3] - n[4]),
    ("They form teams|every team has", lambda n: (n[0] + n[1]) / n[2]),
    ("stayed empty", lambda n: n[0] * n[1] - n[2]),
    ("had a seat", lambda n: n[1] * n[2] - n[0]),
    ("rare ones|gives \\d+ in return", lambda n: n[0] + n[1] - n[2] + n[3]),
    ("for the month and buys", lambda n: n[0] - n[1] * n[2]),
    ("started out with", lambda n: n[2] - n[0] * n[1]),
    ("This morning|After .* gave away", lambda n: n[2] - n[1] + n[0]),
    ("flights", lambda n: n[0] * n[1] * n[2]),
    ("rents a van", lambda n: (n[0] + n[1]) / n[2]),
    ("per hour and runs|turns out", lambda n: n[0] * n[1] * n[2]),
    ("take in\\?|by selling them all", lambda n: max(n[0], n[1]) / min(n[0], n[1]) * n[2]),
]


def solve(question):
    """The answer from the question alone, or None for a question of an unknown kind."""
    numbers = [Fraction(n) for n in re.findall(r"\d+(?:\.\d+)?", question)]
    if found := re.search(r"(three|four|five|six) times as many", question):
        return numbers[0] * (TIMES[found[1]] + 1)
    if found := re.search(rf"\b({'|'.join(PARTS)}) of (?:the|them)", question):
        return numbers[0] - numbers[0] / PARTS[found[1]]
    for phrase, rule in SOLVERS:
        if re.search(phrase, question):
            return rule(numbers)
    return None


def test_arithmetic_is_worked_correctly():
    for row in ARITHMETIC:
        results = equations(row["output"])
        assert results and results[-1] == final(row["output"]), row["id"]
        assert re.search(r"\nThe answer is \$?\d+(\.\d\d?)?\.$", row["output"]), row["id"]


def test_arithmetic_answers_follow_from_the_questions():
    solved = 0
    for row in ARITHMETIC:
        if (expected := solve(row["instruction"])) is not None:
            assert number(final(row["output"])) == expected, row
            solved += 1
    assert solved >= 0.75 * len(ARITHMETIC)


def test_the_gold_choice_of_the_task_is_right():
    solved = 0
    for row in TASK:
        assert equations(row["choices"][row["gold"]])[-1] == final(row["choices"][row["gold"]])
        if (expected := solve(row["question"])) is not None:
            assert [number(final(choice)) == expected for choice in row["choices"]].index(True) == row["gold"], row
            solved += 1
    assert solved >= 0.75 * len(TASK)


def test_conversions_are_worked_correctly():
    for row in CONVERSION:
        equations(row["output"])
        assert "\nThe answer is " in row["output"]


MONTHS = "January February March April May June July August September October November December".split()
DATE = re.compile(rf"(?:{'|'.join(MONTHS)}) \d{{1,2}}, \d{{4}}")


def dates(text):
    return [datetime.strptime(found, "%B %d, %Y") for found in DATE.findall(text)]


def test_dates_are_right():
    seen = Counter()
    for row in CONVERSION:
        question, answer = row["instruction"], final(row["output"])
        days = dates(question)
        later = re.search(r"(\d+) days (?:after|later)|for (\d+) weeks", question)
        if later and len(days) == 1:
            span = int(later[1]) if later[1] else 7 * int(later[2])
            assert dates(answer) == [days[0] + timedelta(days=span)], row
            seen["later"] += 1
        if "How many days" in question and len(days) == 2:
            assert answer == f"{(days[1] - days[0]).days} days", row
            seen["between"] += 1
        for day, weekday in re.findall(rf"({DATE.pattern}) (?:is|falls on) a (\w+day)", question):
            assert dates(day)[0].strftime("%A") == weekday, row
            seen["given"] += 1
        if len(days) == 2 and re.search("[Ww]hich (day of the week|weekday)", question):
            assert answer == days[1].strftime("%A"), row
            seen["weekday"] += 1
        if found := re.search(r"the (first|second) (\w+day) of (?:that|each) month", question):
            (day,) = dates(answer)
            assert day.strftime("%A") == found[2] and (day.day - 1) // 7 == (found[1] == "second"), row
            seen["nth"] += 1
        if "January 1 as" in question:
            assert int(answer) == days[0].timetuple().tm_yday, row
            seen["number"] += 1
    assert len(seen) == 6, seen


def test_unit_conversions_are_right():
    metric = {"kilometers": 1000, "kilograms": 1000, "liters": 1000, "centimeters": Fraction(1, 100), "millimeters": 1}
    metric |= {"meters": 1, "grams": 1, "milliliters": 1}
    metric["millimeters"] = Fraction(1, 1000)
    seen = 0
    for row in CONVERSION:
        found = re.fullmatch(r"One \w+ is \d+ \w+\. To go from (\w+) to (\w+), .*", row["output"].splitlines()[0])
        if found:
            value = Fraction(re.search(r"\d+(?:\.\d+)?", row["instruction"] + row["input"])[0])
            assert final(row["output"]).split()[1] == found[2]
            assert number(final(row["output"]).split()[0]) == value * metric[found[1]] / metric[found[2]], row
            seen += 1
    assert seen


def test_numbers_agree_with_their_nouns():
    for row in [row for row in GOOD if row["source"] in ("arithmetic", "conversion")] + TARGET + HELDOUT:
        text = " ".join((row["instruction"], row["input"], row["output"]))
        found = re.findall(r"(?<![\d.:+*/=-] )(?<![\d.:])\b1 ([a-z]+s)\b(?! the)", text)
        assert not [noun for noun in found if noun not in ("is", "as", "stands")], text


# --- the evaluation task


def test_task_choices():
    assert Counter(row["gold"] for row in TASK) == {0: 20, 1: 20, 2: 20, 3: 20}
    for row in TASK:
        answers = [number(final(choice)) for choice in row["choices"]]
        assert len(set(row["choices"])) == len(set(answers)) == 4
        assert min(answers) > 0


def test_task_file():
    config = yaml.safe_load((QUICKSTART / "tasks" / "quickstart_arithmetic.yaml").read_text(encoding="utf-8"))
    assert config["task"] == "quickstart_arithmetic"
    assert config["output_type"] == "multiple_choice"
    assert config["dataset_kwargs"]["data_files"] == {"test": "quickstart_arithmetic.jsonl"}
    assert [metric["metric"] for metric in config["metric_list"]] == ["acc", "acc_norm"]
    assert config["doc_to_text"] == "Question: {{question}}\nAnswer:"


# --- leaks


def words(text):
    return re.findall(r"\w+", text.lower())


def ngrams(text, n=13):
    found = words(text)
    return {tuple(found[i : i + n]) for i in range(len(found) - n + 1)}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("pool", "target"),
        ("pool", "heldout"),
        ("pool", "task"),
        ("target", "heldout"),
        ("target", "task"),
        ("heldout", "task"),
    ],
)
def test_no_question_is_in_two_files(first, second):
    files = {
        "pool": [f"{row['instruction']} {row['input']}" for row in POOL],
        "target": [row["instruction"] for row in TARGET],
        "heldout": [row["instruction"] for row in HELDOUT],
        "task": [row["question"] for row in TASK],
    }
    one, two = files[first], files[second]
    assert not {tuple(words(q)) for q in one} & {tuple(words(q)) for q in two}
    assert not set().union(*map(ngrams, one)) & set().union(*map(ngrams, two))


def test_no_numbers_recur_in_arithmetic():
    pool = {row["instruction"] for row in POOL if row["source"] == "arithmetic"}
    questions = [*pool, *(row["instruction"] for row in TARGET + HELDOUT), *(row["question"] for row in TASK)]
    numbers = [tuple(sorted(re.findall(r"\d+(?:\.\d+)?", question))) for question in questions]
    assert len(set(numbers)) == len(numbers)
