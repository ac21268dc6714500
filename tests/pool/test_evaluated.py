"""The text of evaluation tasks is kept out of a pool, and what was not checked is said."""

import json
import logging
from pathlib import Path

import pytest
import yaml

from tamis.errors import UserError
from tamis.pool.evaluated import documents, task_texts
from tamis.pool.prepare import PrepareSettings, prepare

QUESTION = "A farmer has seven fields with nineteen rows of maize each; how many rows are there in all?"
SHORT = "Which planet is the nearest one to the sun?"


def write_task(folder: Path, name: str, docs: dict[str, list[dict[str, object]]], **more: object) -> Path:
    folder.mkdir(exist_ok=True)
    for split, rows in docs.items():
        (folder / f"{name}-{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {split: f"{name}-{split}.jsonl" for split in docs}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(config | more))
    return folder / f"{name}.yaml"


def test_rows_with_a_task_s_text_are_counted_by_task_and_removed_or_flagged(tmp_path: Path) -> None:
    docs = {
        "train": [
            {"question": "This is a worked example that the model is shown, thirteen words or more of it.", "gold": 0}
        ],
        "test": [{"question": QUESTION, "choices": ["133 rows", "132"]}, {"question": SHORT, "choices": ["Mercury"]}],
    }
    write_task(tmp_path / "tasks", "sums", docs)
    (tmp_path / "tasks" / "_base.yaml").write_text("not: a task")
    pool = [
        f"Solve this. {QUESTION.upper()}",
        f"Tell me: {SHORT}",
        docs["train"][0]["question"],
        "I saw 133 rows of maize and Mercury.",
    ]
    path = tmp_path / "pool.jsonl"
    path.write_text("".join(json.dumps({"prompt": text, "response": "Yes."}) + "\n" for text in pool))
    options = PrepareSettings(tasks=(str(tmp_path / "tasks"),))
    part = prepare(path, tmp_path / "removed", options=options)["pool"]
    assert part["rejected"] == {"shares 13 words in a row with task sums": 2}
    assert part["contaminated"] == {"task sums": 2}
    part = prepare(path, tmp_path / "kept", options=options.model_copy(update={"contamination": "report"}))["pool"]
    assert (part["rows"], part["flagged"]) == (4, {"shares 13 words in a row with task sums": 2})
    part = prepare(path, tmp_path / "off", options=options.model_copy(update={"contamination": "off"}))["pool"]
    assert (part["rows"], part["contaminated"]) == (4, {})


def test_a_task_is_read_with_what_it_includes_and_without_its_code(tmp_path: Path) -> None:
    base = write_task(tmp_path / "tasks", "base", {"test": [{"question": QUESTION}]})
    child = tmp_path / "tasks" / "child.yaml"
    child.write_text("include: base.yaml\ntask: child\nprocess_docs: !function utils.process\n")
    stock = tmp_path / "tasks" / "stock.yaml"
    data = "dataset_kwargs: {data_files: {train: base-test.jsonl, test: base-test.jsonl}}"
    stock.write_text(f"include: lm_eval/tasks/arc/arc_easy.yaml\ntask: arc\n{data}\n")
    texts = task_texts([str(child), str(stock), str(base)])
    assert texts.documents == {"child": [[QUESTION]], "arc": [[QUESTION]], "base": [[QUESTION]]}
    child.write_text("include: child.yaml\n")
    with pytest.raises(UserError, match="it includes itself"):
        task_texts([str(child)])
    with pytest.raises(UserError, match="no such file or folder"):
        task_texts(["tasks/none.yaml"])


def test_what_is_not_checked_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "remote.yaml").write_text("task: remote\ndataset_path: org/name\n")
    (tmp_path / "gone.yaml").write_text("task: gone\ndataset_kwargs: {data_files: gone.jsonl}\n")
    (tmp_path / "pool.jsonl").write_text(json.dumps({"prompt": QUESTION, "response": "133"}) + "\n")
    options = PrepareSettings(tasks=(str(tmp_path),))
    with caplog.at_level(logging.WARNING):
        result = prepare(tmp_path / "pool.jsonl", tmp_path / "out", options=options)
    assert result["unchecked"]["remote"] == "it names no data files of its own"
    assert "gone.jsonl: no such file or folder" in result["unchecked"]["gone"]
    assert sum("is not checked for the text of task" in line for line in caplog.messages) == 2


@pytest.mark.slow
def test_a_stock_task_is_asked_through_lm_eval() -> None:
    texts = task_texts(["arc_easy"])  # whose data are on the hub
    assert not texts.documents and texts.unchecked["arc_easy"].startswith("lm-eval cannot load it")


def test_documents_come_from_the_evaluated_split_of_lm_eval_s_tasks(tmp_path: Path) -> None:
    from lm_eval.tasks import TaskManager

    docs = {
        "train": [{"question": "no", "gold": 0}],
        "test": [{"question": QUESTION, "choices": ["a", "b"], "gold": 1}],
    }
    more = {"dataset_kwargs": {"data_files": {s: str(tmp_path / "tasks" / f"sums-{s}.jsonl") for s in docs}}}
    path = write_task(tmp_path / "tasks", "sums", docs, **more)
    loaded = TaskManager(include_defaults=False).load([str(path)])["tasks"]
    assert documents(loaded) == {"sums": [[QUESTION, "a", "b"]]}
