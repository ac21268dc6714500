"""Evaluates one arm's model."""

from kfp import dsl
from tamis.components.images import GPU


@dsl.component(base_image=GPU, install_kfp_package=False)
def evaluate(
    prepared: dsl.Input[dsl.Dataset],
    evaluated: dsl.Output[dsl.Artifact],
    work: dsl.Output[dsl.Metrics],
    arm: str,
    model: str,
    tuned: dsl.Input[dsl.Model] = None,
    template: str = "chat",
    evaluation: dict = {},  # noqa: B006
    fingerprint: str = "",
):
    """Evaluates a model on held-out rows (kept row by row, to compare arms in pairs) and with lm-eval.

    Args:
        prepared: Output of `prepare`, for the held-out rows.
        evaluated: Folder with `evaluation.json`, `heldout.parquet` and one file for each task.
        work: The figures of the tasks and of the held-out rows, and what each took.
        arm: Name of the arm.
        model: The model to evaluate where no tuned one is given (the arm `base`).
        tuned: Output of `finetune`.
        template: How conversations are written.
        evaluation: Settings: tasks, limit, num_fewshot, apply_chat_template, batch_size, dtype, max_length.
        fingerprint: Digest of the inputs; a changed one makes a cached step run again.
    """
    import json
    from pathlib import Path

    from tamis.evaluate import EvaluationSettings
    from tamis.evaluate import evaluate as run
    from tamis.settings import parse

    heldout = Path(prepared.path) / "heldout"
    result = run(
        tuned.path if tuned else model,
        Path(evaluated.path),
        parse(EvaluationSettings, evaluation, "evaluation"),
        heldout=heldout if heldout.exists() else None,
        template=template,
        arm=arm,
    )
    work.metadata.update(result.metrics())
    Path(work.path).write_text(json.dumps(result.metrics()))
