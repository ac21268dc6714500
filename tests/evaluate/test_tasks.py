"""Which tasks are meant, and which are refused before a model is loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lm_eval
import pytest
import yaml

from tamis.errors import UserError
from tamis.evaluate.tasks import Task, find_tasks

STOCK = Path(lm_eval.__file__).parent

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a task's YAML, with a data file beside it."""

    def make(name: str = "task.yaml", **config: Any) -> Path:
        folder = tmp_path / "tasks"
        folder.mkdir(exist_ok=True)
        (folder / "data.jsonl").write_text('{"question": "1 + 1?", "answer": "2"}\n')
        (folder / name).write_text(yaml.safe_dump({"dataset_path": "json"} | config))
        return folder / name

    return make


def rendered(task: Task) -> dict[str, Any]:
    return dict(yaml.safe_load(Path(task.spec).read_text()))


def test_a_name_is_a_stock_task(tmp_path: Path) -> None:
    (task,) = find_tasks(["arc_easy"], tmp_path)
    assert task == Task("arc_easy", "arc_easy")
    assert task.stock


@pytest.mark.parametrize(
    "files", ["data.jsonl", ["data.jsonl"], {"test": "data.jsonl"}, {"test": ["data.jsonl"], "train": "data.jsonl"}]
)
def test_data_files_are_made_absolute(write: Write, tmp_path: Path, files: Any) -> None:
    path = write(task="sums", dataset_kwargs={"data_files": files})
    (task,) = find_tasks([str(path)], tmp_path / "work")
    assert task.name == "sums"
    assert not task.stock
    whole = str(path.parent / "data.jsonl")
    expected = yaml.safe_load(yaml.safe_dump(files).replace("data.jsonl", whole))
    assert rendered(task)["dataset_kwargs"]["data_files"] == expected


def test_a_stock_task_is_included_from_the_package(write: Write, tmp_path: Path) -> None:
    path = write(include="lm_eval/tasks/arc/arc_easy.yaml", dataset_kwargs={"data_files": "data.jsonl"})
    (task,) = find_tasks([str(path)], tmp_path / "work")
    assert task.name == "arc_easy"  # the name comes with the include
    assert rendered(task)["include"] == [str(STOCK / "tasks/arc/arc_easy.yaml")]


def test_own_files_may_include_each_other(write: Write, tmp_path: Path) -> None:
    write("_base.yaml", task="base", dataset_kwargs={"data_files": "data.jsonl"})
    write("one.yaml", include="_base.yaml", task="one")
    path = write("two.yaml", include="_base.yaml", task="two")
    one, two = find_tasks([str(path.parent)], tmp_path / "work")
    assert (one.name, two.name) == ("one", "two")
    from lm_eval.tasks._yaml_loader import load_yaml

    assert load_yaml(two.spec)["dataset_kwargs"]["data_files"] == str(path.parent / "data.jsonl")


def test_a_folder_of_data_is_made_absolute(write: Write, tmp_path: Path) -> None:
    path = write(task="sums", dataset_path="copy")
    (path.parent / "copy").mkdir()
    (path.parent / "copy" / "test.jsonl").write_text("{}\n")
    (task,) = find_tasks([str(path)], tmp_path / "work")
    assert rendered(task)["dataset_path"] == str(path.parent / "copy")


def test_the_digest_follows_the_content_not_the_place(write: Write, tmp_path: Path) -> None:
    path = write(task="sums", dataset_kwargs={"data_files": "data.jsonl"})
    digest = lambda: find_tasks([str(path)], tmp_path / "work")[0].digest  # noqa: E731
    first = digest()
    assert digest() == first
    (path.parent / "data.jsonl").write_text('{"question": "1 + 2?", "answer": "3"}\n')
    changed = digest()
    assert changed != first
    path.write_text(path.read_text() + "num_fewshot: 1\n")
    assert digest() != changed


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"task": "t", "dataset_kwargs": {"data_files": "other.jsonl"}}, "data file other.jsonl is missing"),
        (
            {"task": "t", "include": "lm_eval/tasks/arc/arc_esy.yaml"},
            "installed lm-eval has no lm_eval/tasks/arc/arc_esy",
        ),
        ({"task": "t", "include": "base.yaml"}, "include: base.yaml is missing"),
        ({"task": "t", "include": "task.yaml"}, "includes itself"),
        ({"task": "t", "class": "anything"}, "Python classes are not run"),
        ({"group": "g", "task": ["a", "b"]}, "it has no 'task: NAME'"),
        ({"output_type": "multiple_choice"}, "it has no 'task: NAME'"),
        ({"task": "../out"}, "letters, digits"),
        ({"task": "heldout"}, "cannot be named 'heldout'"),
    ],
)
def test_a_task_that_cannot_be_run_is_refused(write: Write, tmp_path: Path, config: Any, said: str) -> None:
    path = write(**config)
    with pytest.raises(UserError, match=said):
        find_tasks([str(path)], tmp_path / "work")


def test_code_beside_a_task_is_not_run(write: Write, tmp_path: Path) -> None:
    path = write(task="t")
    path.write_text(path.read_text() + "process_docs: !function utils.process_docs\n")
    (path.parent / "utils.py").write_text("raise SystemExit('it was run')\n")
    with pytest.raises(UserError, match="asks to run Python code"):
        find_tasks([str(path)], tmp_path / "work")
    path.write_text("task: t\nx: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(UserError, match="cannot be read"):
        find_tasks([str(path)], tmp_path / "work")


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", ""])
def test_what_is_no_task_is_refused(write: Write, tmp_path: Path, text: str) -> None:
    path = write(task="t")
    path.write_text(text)
    with pytest.raises(UserError, match="cannot be read|holds no settings"):
        find_tasks([str(path)], tmp_path / "work")


def test_names_clash_and_places_are_missing(write: Write, tmp_path: Path) -> None:
    path = write(task="sums")
    with pytest.raises(UserError, match="two tasks are named 'sums'"):
        find_tasks([str(path), "sums"], tmp_path / "work")
    for entry in ("no/such", "nothing.yaml"):
        with pytest.raises(UserError, match="no such file or folder"):
            find_tasks([entry], tmp_path / "work")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no YAML file in that folder"):
        find_tasks([str(tmp_path / "empty")], tmp_path / "work")
