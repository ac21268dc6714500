"""Runs lm-eval on a model that is already loaded, and keeps what every document scored."""

import difflib
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tamis.errors import UserError
from tamis.evaluate.settings import EvaluationSettings
from tamis.evaluate.tasks import Task
from tamis.lm.load import LanguageModel

SEED = 1234
"""Of the choice of few-shot examples, and of sampling where a task samples."""


def load_tasks(tasks: Sequence[Task]) -> dict[str, Any]:
    """Loads the tasks with their data; for each name what `lm_eval.evaluator.evaluate` takes.

    Costs 11 s where a stock task is among them (lm-eval reads all its 14,000 definitions), else nothing.

    Raises:
        UserError: No such task, its data cannot be had, or it has no figure for each document.
    """
    import datasets
    from lm_eval.tasks import TaskManager

    datasets.disable_progress_bars()
    manager = TaskManager(include_defaults=any(task.stock for task in tasks))
    loaded = {}
    for task in tasks:
        if task.stock and task.name not in manager.all_tasks:
            close = difflib.get_close_matches(task.name, manager.all_tasks, n=1)
            hint = f"did you mean '{close[0]}'?" if close else "`lm_eval ls tasks` lists them"
            raise UserError(f"no lm-eval task '{task.name}'; {hint}")
        try:
            loaded[task.name] = manager.load([task.spec])
        except KeyError as error:
            raise UserError(
                f"task '{task.name}': its data has no split or field {error}; name a file for it in data_files, or set "
                "what asks for it (training_split, validation_split, test_split, fewshot_split) to null"
            ) from error
        except Exception as error:  # data sets, parsers and the hub client raise whatever they like
            why = " ".join(str(error).split())[:200]
            raise UserError(
                f"task '{task.name}' cannot be loaded ({type(error).__name__}: {why}); where its data cannot be "
                "reached, give a local copy: a YAML with `include: lm_eval/tasks/...` and the files in data_files"
            ) from error
        for leaf in loaded[task.name]["tasks"].values():
            main_metric(leaf)
    return loaded


def main_metric(task: Any) -> tuple[str, str]:
    """The metric and the filter that stand for a task: the first of each that it declares.

    Raises:
        UserError: That metric is not a mean over documents, so models could not be compared document by document.
    """
    metrics = task.config.metric_list or []
    name = metrics[0]["metric"] if metrics else next(iter(task.aggregation()), "")
    name = name if isinstance(name, str) else name.__name__
    how = task.aggregation().get(name)
    if getattr(how, "__name__", "") != "mean":
        raise UserError(
            f"task '{task.config.task}': its metric {name or '(none)'} is no mean over its documents, "
            "so arms cannot be compared on it"
        )
    filters = task.config.filter_list or []
    return name, filters[0]["name"] if filters else "none"


def for_tasks(lm: LanguageModel, settings: EvaluationSettings) -> Any:
    """The loaded model as lm-eval takes it; it reads padded batches from then on where it generates."""
    from tamis.evaluate.packed import PackedLM

    lm.model.set_attn_implementation("sdpa")
    log = logging.getLogger("lm_eval.models.huggingface")
    log.setLevel(logging.ERROR)  # it warns that a model was passed
    harness = PackedLM(lm, settings.batch_size, settings.max_length or lm.window)
    log.setLevel(logging.NOTSET)
    return harness


def run_task(loaded: Any, harness: Any, settings: EvaluationSettings) -> tuple[dict[str, Any], pa.Table]:
    """Runs one task, or all tasks of a stock group as one.

    Args:
        loaded: What `load_tasks` gave for it.
        harness: What `for_tasks` gave for the model.
        settings: Limit and few-shot examples.

    Returns:
        Its figures (`metric`, `value`, `stderr`, `n`, and all metrics by name with their standard errors), and a table
        with `task`, `doc_id`, `value` and a column for each metric, one line a document.
    """
    import torch
    from lm_eval.evaluator import evaluate

    leaves = loaded["tasks"]
    for leaf in leaves.values():
        own = leaf.get_config("num_fewshot")
        if settings.num_fewshot is not None and own != 0:
            leaf.set_config(key="num_fewshot", value=settings.num_fewshot)
        elif own is None:
            leaf.set_config(key="num_fewshot", value=0)
        leaf.set_fewshot_seed(seed=SEED)
    torch.manual_seed(SEED)
    results = evaluate(
        lm=harness,
        task_dict=loaded,
        limit=settings.limit or None,
        bootstrap_iters=0,
        log_samples=True,
        apply_chat_template=settings.apply_chat_template,
    )
    lines: list[dict[str, Any]] = []
    chosen = ""
    for leaf_name, leaf in leaves.items():
        chosen, main_filter = main_metric(leaf)
        documents: dict[int, dict[str, Any]] = {}
        for sample in results["samples"][leaf_name]:
            prefix = "" if len(leaves) == 1 else f"{leaf_name}/"
            line = documents.setdefault(
                sample["doc_id"], {"task": leaf_name, "doc_id": f"{prefix}{sample['doc_id']:06d}"}
            )
            for metric in sample["metrics"]:
                if isinstance(sample[metric], int | float | np.number | bool):
                    key = metric if sample["filter"] == "none" else f"{metric},{sample['filter']}"
                    line[key] = float(sample[metric])
            if sample["filter"] == main_filter:
                line["value"] = float(sample[chosen])
        lines += documents.values()
    columns = list(dict.fromkeys(key for line in lines for key in line))
    table = pa.table({column: [line.get(column) for line in lines] for column in columns})
    figures: dict[str, Any] = {"metric": chosen, "n": len(lines), "fewshot": _fewshot(leaves)}
    figures["value"], figures["stderr"] = _mean(table, "value")
    figures["metrics"] = {}
    for column in columns:
        if column not in ("task", "doc_id", "value"):
            figures["metrics"][column], figures["metrics"][f"{column}_stderr"] = _mean(table, column)
    return figures, table


def _fewshot(leaves: dict[str, Any]) -> list[int]:
    return sorted({int(leaf.get_config("num_fewshot") or 0) for leaf in leaves.values()})


def _mean(table: pa.Table, column: str) -> tuple[float, float | None]:
    """Mean over documents, and its standard error (None for one document)."""
    values = table.column(column).drop_null().to_numpy().astype(float)
    stderr = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return float(values.mean()), stderr
