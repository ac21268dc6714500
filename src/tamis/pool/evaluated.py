"""The text of evaluation tasks, to keep it out of a pool.

A task that a user gives as a folder or YAML file is read here, from its data files, without lm-eval: what it evaluates
on is its test split, or else its validation split, or else everything. A stock task is asked for its documents through
lm-eval, where that is installed and the data can be had. What cannot be read is named with the reason, for a pool that
was not checked must not look as if it had been.
"""

import importlib.util
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tamis.errors import TamisError, UserError
from tamis.pool.inputs import File, files
from tamis.pool.read import records

log = logging.getLogger("tamis")


class _Loader(yaml.SafeLoader):
    """YAML without code: what `!function` would bring is not needed for a task's text."""


_Loader.add_constructor("!function", lambda loader, node: None)


@dataclass
class Texts:
    """What tasks are made of.

    Attributes:
        documents: By task, each document as the texts of its fields.
        unchecked: Why a task's text could not be read, by task.
    """

    documents: dict[str, list[list[str]]] = field(default_factory=dict)
    unchecked: dict[str, str] = field(default_factory=dict)


def task_texts(tasks: Sequence[str]) -> Texts:
    """Reads the texts of tasks, given as `tamis evaluate` takes them.

    Raises:
        UserError: A folder or file of a task is missing or cannot be read as one.
    """
    texts = Texts()
    for task in tasks:
        path = Path(task)
        if path.is_dir():
            found = sorted(f for f in path.glob("*.y*ml") if not f.name.startswith("_"))
            if not found:
                raise UserError(f"task '{task}': no YAML file in that folder")
            for file in found:
                _local(file, texts)
        elif path.is_file():
            _local(path, texts)
        elif "/" in task or path.suffix in (".yaml", ".yml"):
            raise UserError(f"task '{task}': no such file or folder")
        else:
            _stock(task, texts)
    for name, why in texts.unchecked.items():
        log.warning("the pool is not checked for the text of task '%s': %s", name, why)
    return texts


def _local(file: Path, texts: Texts) -> None:
    config = _config(file, [])
    name = str(config.get("task") or file.stem)
    try:
        data = _data(file, config)
        if not data:
            raise UserError("it names no data files of its own")
        texts.documents[name] = [
            document
            for one in data
            for _, record in records(one)
            if isinstance(record, Mapping) and (document := list(_leaves(record)))
        ]
    except TamisError as error:
        texts.unchecked[name] = str(error)


def _config(file: Path, above: list[Path]) -> dict[str, Any]:
    """A task's YAML with what it includes underneath."""
    if file in above:
        raise UserError(f"task '{file}': it includes itself")
    try:
        config = yaml.load(file.read_text(), Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"task '{file}' cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise UserError(f"task '{file}': it holds no settings of a task")
    included = config.pop("include", None) or []
    merged: dict[str, Any] = {}
    for name in map(str, included if isinstance(included, list) else [included]):
        stock = importlib.util.find_spec("lm_eval") if name.startswith("lm_eval/") else None
        path = Path(str(stock.origin)).parent.parent / name if stock else file.parent / name
        if path.is_file():  # if not, evaluate says so
            merged |= _config(path, [*above, file])
    return merged | config


def _data(file: Path, config: Mapping[str, Any]) -> list[File]:
    options = config.get("dataset_kwargs")
    named = options.get("data_files") if isinstance(options, dict) else None
    folder = file.parent / str(config.get("dataset_path"))
    if named is None:
        return files(folder) if config.get("dataset_path") and folder.is_dir() else []
    if isinstance(named, dict):
        splits = [str(config.get(key)) for key in ("test_split", "validation_split") if config.get(key)]
        split = next((split for split in splits if split in named), None)
        named = named[split] if split else list(named.values())
    return [one for name in _flat(named) for one in files(name if "://" in name else str(file.parent / name))]


def _flat(named: Any) -> list[str]:
    return [name for part in named for name in _flat(part)] if isinstance(named, list) else [str(named)]


def _stock(name: str, texts: Texts) -> None:
    if importlib.util.find_spec("lm_eval") is None:
        texts.unchecked[name] = "its text comes through lm-eval, which is not installed here"
        return
    from lm_eval.tasks import TaskManager

    try:
        texts.documents |= documents(TaskManager().load([name])["tasks"])
    except Exception as error:  # lm-eval and datasets raise whatever their many parts raise
        reason = " ".join(str(error).split())[:200]
        texts.unchecked[name] = f"lm-eval cannot load it ({type(error).__name__}: {reason})"


def documents(tasks: Mapping[str, Any]) -> dict[str, list[list[str]]]:
    """The documents that lm-eval's tasks evaluate on."""
    return {name: [list(_leaves(document)) for document in task.eval_docs] for name, task in tasks.items()}


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for inner in value:
            yield from _leaves(inner)
