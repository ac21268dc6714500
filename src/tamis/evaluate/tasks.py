"""Which lm-eval tasks are meant: stock ones by name, or one's own as YAML beside its data.

A task's own YAML names its data files relative to itself, and may build on a stock task by
`include: lm_eval/tasks/arc/arc_easy.yaml`, so that a stock task runs on a local copy of its data. lm-eval wants
absolute paths for both, so it is given a rendered copy. Python code beside a YAML is not run; what needs code belongs
in a package.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tamis.errors import UserError
from tamis.pool.shards import combined_digest, file_digest

_NAME = re.compile(r"[\w][\w.+-]*")


@dataclass(frozen=True)
class Task:
    """A task to run.

    Attributes:
        name: Its name in lm-eval.
        spec: What lm-eval is given: the name, or the path of the rendered YAML.
        digest: Of its YAML and its data files; of nothing for a stock task, which lm-eval's version identifies.
    """

    name: str
    spec: str
    digest: str = ""

    @property
    def stock(self) -> bool:
        """Whether it is one of lm-eval's own."""
        return self.spec == self.name


class _Loader(yaml.SafeLoader):
    """YAML without code."""


def _refuse(loader: Any, node: Any) -> Any:
    raise UserError(
        f"'{node.tag} {node.value}' asks to run Python code, which is not done for local tasks; "
        "include a stock task that brings the function, or write the task without it"
    )


_Loader.add_constructor("!function", _refuse)


def find_tasks(entries: Sequence[str], work: Path) -> list[Task]:
    """Finds tasks by what the user wrote.

    Args:
        entries: Names, YAML files, or folders of YAML files; a file whose name begins with `_` is only there to be
            included.
        work: Gets the rendered copies.

    Raises:
        UserError: No such file, a task that cannot be used, or two of one name.
    """
    tasks: list[Task] = []
    for entry in entries:
        path = Path(entry)
        if path.is_dir():
            files = sorted(f for f in path.glob("*.y*ml") if not f.name.startswith("_"))
            if not files:
                raise UserError(f"task '{entry}': no YAML file in that folder")
            tasks += [_local(file, work) for file in files]
        elif path.is_file():
            tasks.append(_local(path, work))
        elif "/" in entry or path.suffix in (".yaml", ".yml"):
            raise UserError(f"task '{entry}': no such file or folder")
        else:
            tasks.append(Task(entry, entry))
    for i, task in enumerate(tasks):
        if not _NAME.fullmatch(task.name):
            raise UserError(f"task '{task.name}': a name may have letters, digits and . _ + - only")
        if task.name == "heldout":
            raise UserError(
                "a task cannot be named 'heldout', which stands for the held-out rows; rename it in its YAML"
            )
        if any(task.name == other.name for other in tasks[:i]):
            raise UserError(f"two tasks are named '{task.name}'; rename one in its YAML")
    return tasks


def _local(file: Path, work: Path) -> Task:
    from lm_eval.tasks._yaml_loader import load_yaml

    sources: list[Path] = []
    rendered = _render(file, work, sources)
    name = load_yaml(rendered, resolve_func=False).get("task")
    if not isinstance(name, str):
        raise UserError(f"task '{file}': it has no 'task: NAME' (groups are run by giving their tasks)")
    return Task(name, str(rendered), combined_digest(f"{path.name}:{file_digest(path)}" for path in sources))


def _render(file: Path, work: Path, sources: list[Path]) -> Path:
    """Writes a copy with absolute paths; adds every file that it is made of to `sources`."""
    if file in sources:
        raise UserError(f"task '{file}': it includes itself")
    try:
        config = yaml.load(file.read_text(), Loader=_Loader)  # noqa: S506 (a SafeLoader that refuses !function)
    except UserError as error:
        raise UserError(f"task '{file}': {error}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"task '{file}' cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise UserError(f"task '{file}': it holds no settings of a task")
    if "class" in config:
        raise UserError(f"task '{file}': tasks that are Python classes are not run from a folder")
    sources.append(file)
    if "include" in config:
        included = config["include"] if isinstance(config["include"], list) else [config["include"]]
        config["include"] = [str(_included(str(name), file, work, sources)) for name in included]
    options = config.get("dataset_kwargs")
    if isinstance(options, dict) and "data_files" in options:
        options["data_files"] = _absolute(options["data_files"], file, sources)
    folder = file.parent / str(config.get("dataset_path"))
    if config.get("dataset_path") and folder.is_dir():
        config["dataset_path"] = str(folder.resolve())
        sources += sorted(path for path in folder.rglob("*") if path.is_file())
    work.mkdir(parents=True, exist_ok=True)
    copy = work / f"{len(list(work.iterdir())):03d}-{file.name}"
    copy.write_text(yaml.safe_dump(config, allow_unicode=True))
    return copy


def _included(name: str, file: Path, work: Path, sources: list[Path]) -> Path:
    import lm_eval

    if name.startswith("lm_eval/"):
        stock = Path(lm_eval.__file__).parent.parent / name
        if not stock.is_file():
            raise UserError(f"task '{file}': the installed lm-eval has no {name}")
        return stock
    path = file.parent / name
    if not path.is_file():
        raise UserError(f"task '{file}': include: {name} is missing ({path})")
    return _render(path, work, sources)


def _absolute(files: Any, file: Path, sources: list[Path]) -> Any:
    """Data files made absolute, in whatever shape they are given: a name, a list, or either by split."""
    if isinstance(files, dict):
        return {split: _absolute(value, file, sources) for split, value in files.items()}
    if isinstance(files, list):
        return [_absolute(value, file, sources) for value in files]
    if "://" in str(files):
        return files
    path = (file.parent / str(files)).resolve()
    if not path.is_file():
        raise UserError(f"task '{file}': its data file {files} is missing ({path})")
    sources.append(path)
    return str(path)
