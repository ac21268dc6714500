"""The evaluate step: does what is missing of an evaluation, and keeps every part whole or not at all."""

import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tamis import store
from tamis.errors import TamisError, UserError
from tamis.evaluate.settings import EvaluationSettings
from tamis.evaluate.tasks import Task, find_tasks
from tamis.finetune.result import RESULT as TRAINED
from tamis.finetune.result import read_result
from tamis.pool import shards
from tamis.pool.rows import from_table

if TYPE_CHECKING:
    from tamis.lm.load import DType

RESULT = "evaluation.json"
HELDOUT = "heldout"


@dataclass(frozen=True)
class Evaluation:
    """What a model reached.

    Attributes:
        arm: What the model is called in a report.
        model: Name, digest and type of the model.
        heldout: Figures of the held-out rows (see `tamis.evaluate.heldout.summarise`), None without such rows.
        tasks: By task: `metric`, `value`, `stderr`, `n`, `metrics`.
        work: By part, the accounting of when it was made: `seconds` (of the first with the load of the model), `items`,
            `peak_memory_mib`, `devices`, `device_hours`; of the held-out rows all of `tamis.lm.work.accounting`.
        training: The accounting of the training that made the model, None for another model.
        settings: How it was evaluated.
        identity: What it was made from.
    """

    arm: str
    model: dict[str, str]
    heldout: dict[str, Any] | None
    tasks: dict[str, dict[str, Any]]
    work: dict[str, dict[str, float]]
    training: dict[str, float] | None
    settings: dict[str, Any]
    identity: dict[str, Any]

    def metrics(self) -> dict[str, float]:
        """The figures by name, and what each part took."""
        found = {name: float(task["value"]) for name, task in self.tasks.items()}
        if self.heldout and self.heldout["scored"]:
            found["heldout_nats_per_token"] = float(self.heldout["nll_per_token"])
        for part, work in self.work.items():
            for name in ("seconds", "peak_memory_mib", "device_hours", "tokens_per_second", "matrix_share"):
                if name in work:
                    found[f"{part}_{name}"] = work[name]
        return found

    def summary(self) -> str:
        """The figures as lines of text."""
        lines = []
        if self.heldout and self.heldout["scored"]:
            held = self.heldout
            lines.append(
                f"{self.arm}: held-out rows: {held['nll_per_token']:.4f} nats a token, "
                f"{held['nll_per_byte']:.4f} a byte ({held['scored']} of {held['rows']} rows)"
            )
        for why, count in (self.heldout or {}).get("unscored", {}).items():
            lines.append(f"  {count} not scored: {why}")
        for name, task in self.tasks.items():
            error = f" ± {task['stderr']:.4f}" if task["stderr"] is not None else ""
            lines.append(f"{self.arm}: {name}: {task['metric']} {task['value']:.4f}{error} ({task['n']} documents)")
        return "\n".join(lines)


def evaluate(
    model: str,
    out: Path,
    settings: EvaluationSettings,
    *,
    heldout: Path | None,
    template: str,
    arm: str,
    overwrite: bool = False,
) -> Evaluation:
    """Evaluates a model on held-out rows and on lm-eval tasks; parts that `out` has already are kept.

    Args:
        model: A model's folder (or a training's that says where its model is), a URI, a hub id, or `demo`.
        out: Gets `heldout.parquet`, `tasks/<task>.parquet` and, last, `evaluation.json`.
        settings: Tasks and how to run them.
        heldout: Folder with shards of held-out rows.
        template: How the conversations of held-out rows are written.
        arm: What to call the model in a report.
        overwrite: Evaluate again what is there.

    Raises:
        UserError: Nothing to evaluate on, no such task, `out` was made from something else, or another run writes it.
    """
    if heldout is None and not settings.tasks:
        raise UserError("nothing to evaluate on: give held-out rows or tasks")
    with tempfile.TemporaryDirectory(prefix="tamis-tasks-") as work, store.claim(out, run="evaluate"):
        tasks = find_tasks(settings.tasks, Path(work))
        identities = _identities(model, settings, heldout, template, tasks)
        parts = {name: out / (HELDOUT if name == HELDOUT else f"tasks/{name}") for name in identities}
        missing = [name for name, path in parts.items() if overwrite or not _done(path, identities[name])]
        try:
            _make(missing, parts, identities, model, settings, heldout, template, tasks)
        except OSError as error:
            raise TamisError(
                f"{out} cannot be written: {error.strerror or error}; free some space or choose --out"
            ) from error
    results = {name: json.loads(_manifest(path).read_text()) for name, path in parts.items()}
    evaluation = Evaluation(
        arm=arm,
        model=next(iter(results.values()))["model"],
        heldout=results[HELDOUT]["figures"] if HELDOUT in results else None,
        tasks={name: result["figures"] for name, result in results.items() if name != HELDOUT},
        work={name: result["work"] for name, result in results.items()},
        training=read_result(Path(model)).work if (Path(model) / TRAINED).exists() else None,
        settings=settings.model_dump(mode="json") | {"template": template},
        identity=identities,
    )
    shards.write_json(out / RESULT, asdict(evaluation))
    return evaluation


def _identities(
    model: str, settings: EvaluationSettings, heldout: Path | None, template: str, tasks: Sequence[Task]
) -> dict[str, dict[str, Any]]:
    """By part (`heldout`, and the names of tasks) what its figures depend on."""
    from tamis.lm.load import digest, resolve

    where = resolve(model)
    common = {
        "model": digest(Path(where)) if Path(where).is_dir() else where,
        "dtype": evaluation_type(settings),
        "max_length": settings.max_length,
    }
    result: dict[str, dict[str, Any]] = {}
    if heldout is not None:
        rows = shards.combined_digest(shard.sha256 for shard in shards.shards(heldout))
        result[HELDOUT] = common | {"rows": rows, "template": template}
    for task in tasks:
        result[task.name] = common | {
            "task": task.digest,
            "lm_eval": version("lm-eval"),
            "limit": settings.limit,
            "num_fewshot": settings.num_fewshot,
            "apply_chat_template": settings.apply_chat_template,
        }
    return result


def evaluation_type(settings: EvaluationSettings) -> "DType":
    """The type to compute in; see `EvaluationSettings.dtype`."""
    import torch

    if settings.dtype != "auto":
        return settings.dtype
    if not torch.cuda.is_available():
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"


def _manifest(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _table(path: Path) -> Path:
    return path.with_name(path.name + ".parquet")


def _done(path: Path, identity: dict[str, Any]) -> bool:
    """Whether a part is there.

    Raises:
        UserError: It was made from something else.
    """
    if not (_manifest(path).exists() and _table(path).exists()):
        return False
    try:
        made = json.loads(_manifest(path).read_text())["identity"]
    except (ValueError, KeyError) as error:
        raise UserError(f"{_manifest(path)} is not what an evaluation writes; delete it") from error
    if made != identity:
        raise UserError(
            f"{_table(path)} was made with {shards.difference(made, identity)}; choose another --out, or --overwrite it"
        )
    return True


def _write(path: Path, table: pa.Table, manifest: dict[str, Any]) -> None:
    """Keeps a part: the table, then what says that it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _manifest(path).unlink(missing_ok=True)
    part = path.with_name(path.name + ".part")
    pq.write_table(table, part, compression="zstd")
    os.replace(part, _table(path))
    shards.write_json(_manifest(path), manifest)


def _make(
    missing: Sequence[str],
    parts: dict[str, Path],
    identities: dict[str, dict[str, Any]],
    model: str,
    settings: EvaluationSettings,
    heldout: Path | None,
    template: str,
    tasks: Sequence[Task],
) -> None:
    """Makes the missing parts with one load of the model; the tasks' data is fetched before it."""
    from tamis.evaluate.harness import for_tasks, load_tasks, run_task
    from tamis.evaluate.heldout import score_heldout, summarise
    from tamis.lm.engine import Engine
    from tamis.lm.load import load
    from tamis.lm.work import Work, accounting, cost

    if not missing:
        return
    started = time.monotonic()
    wanted = [task for task in tasks if task.name in missing]
    loaded = load_tasks(wanted) if wanted else {}
    lm = load(model, evaluation_type(settings), settings.trust_remote_code)

    def keep(name: str, table: pa.Table, figures: dict[str, Any], done: Work | None = None) -> None:
        nonlocal started
        seconds = time.monotonic() - started
        work = accounting(done, lm, seconds) if done else cost(seconds)
        made = {"figures": figures, "identity": identities[name], "model": lm.identity}
        _write(parts[name], table, made | {"work": {"items": table.num_rows} | work})
        started = time.monotonic()

    if HELDOUT in missing and heldout is not None:
        rows = [row for shard in shards.shards(heldout) for row in from_table(shards.load(shard))]
        engine = Engine(lm, template, settings.max_length)
        table = score_heldout(rows, engine)
        keep(HELDOUT, table, summarise(table), engine.work)
    harness = for_tasks(lm, settings) if wanted else None
    for task in wanted:
        figures, table = run_task(loaded[task.name], harness, settings)
        keep(task.name, table, figures)
