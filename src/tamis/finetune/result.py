"""What a training leaves: `training.json`, in its own folder and beside the model."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.errors import UserError
from tamis.finetune.examples import Examples, learned

RESULT = "training.json"


@dataclass(frozen=True)
class Training:
    """A finished training.

    Attributes:
        folder: The tuned model, or what says where it is.
        model_uri: Where the tuned model is published; None where it is in the folder itself.
        losses: Mean loss of the answer tokens in each step, nats.
        rows: Rows that were trained on.
        skipped: Rows that could not be, with counts by reason.
        cut: Rows that lost their end to max_length.
        steps: Optimizer steps.
        tokens: Tokens read, all epochs, without padding.
        answer_tokens: Tokens of one epoch that were learned.
        seconds: The training itself.
        total_seconds: With the start of the processes and the saving.
        tokens_per_second: Tokens read by all processes in a second of the training itself.
        peak_memory_mib: Of the process that needed most: its GPU's memory, or resident memory without one.
        devices: Processes that trained, each on a device of its own.
        device_hours: Of all of them.
        settings: How it was trained.
        identity: What it was made from.
    """

    folder: Path
    model_uri: str | None
    losses: list[float]
    rows: int
    skipped: dict[str, int]
    cut: int
    steps: int
    tokens: int
    answer_tokens: int
    seconds: float
    total_seconds: float
    tokens_per_second: float
    peak_memory_mib: int
    devices: int
    device_hours: float
    settings: dict[str, Any]
    identity: dict[str, Any]

    @property
    def final_loss(self) -> float:
        """Loss of the last step."""
        return self.losses[-1]

    @property
    def work(self) -> dict[str, float]:
        """The accounting of the step: the loss it reached, what it read and how fast, and what it took."""
        names = (
            "final_loss",
            "rows",
            "steps",
            "tokens",
            "tokens_per_second",
            "seconds",
            "total_seconds",
            "peak_memory_mib",
        )
        return {name: getattr(self, name) for name in (*names, "devices", "device_hours")}


def counts(examples: Examples) -> dict[str, Any]:
    """What became of the selected rows, for `training.json`."""
    return {
        "rows": len(examples.rows),
        "skipped": examples.skipped,
        "cut": examples.cut,
        "answer_tokens": sum(len(learned(row)) for row in examples.rows),
    }


def content(job: dict[str, Any], result: dict[str, Any], started: float) -> dict[str, Any]:
    """The content of `training.json`.

    Args:
        job: What was to be done, see `tamis.finetune.work`.
        result: What the training processes say.
        started: When the step began, of the monotonic clock.
    """
    resumed = job["resume"] and Path(str(job["resume"])).name
    total = time.monotonic() - started
    return {
        **job["counts"],
        **{name: result[name] for name in ("losses", "steps", "tokens", "peak_memory_mib")},
        "seconds": round(result["seconds"], 2),
        "total_seconds": round(total, 2),
        "devices": job["processes"],
        "device_hours": round(job["processes"] * total / 3600, 5),
        "tokens_per_second": round(result["tokens"] / result["seconds"], 1),
        "settings": job["settings"],
        "identity": job["identity"],
        "resumed_from": resumed,
        "model_uri": None,
    }


def read_result(out: Path) -> Training:
    """Reads what a finished training left.

    Raises:
        UserError: The training in that folder did not finish.
    """
    try:
        values = json.loads((out / RESULT).read_text())
        fields = [name for name in Training.__dataclass_fields__ if name not in ("folder", "model_uri")]
        return Training(out, values.get("model_uri"), **{name: values[name] for name in fields})
    except FileNotFoundError:
        raise UserError(f"{out} holds no finished training ({RESULT} is missing); run the step again") from None
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{out / RESULT} is not what a training writes; delete the folder and train again") from error
