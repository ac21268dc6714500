"""Fine-tunes a model on one arm's selection."""

from kfp import dsl
from tamis.components.images import GPU


@dsl.component(base_image=GPU, install_kfp_package=False)
def finetune(
    selections: dsl.Input[dsl.Dataset],
    tuned: dsl.Output[dsl.Model],
    work: dsl.Output[dsl.Metrics],
    arm: str,
    model: str,
    template: str = "chat",
    training: dict = {},  # noqa: B006
    workspace: str = "",
    fingerprint: str = "",
):
    """Fine-tunes a model on the rows of one arm with DeepSpeed.

    Args:
        selections: Output of `select`.
        tuned: Folder of the tuned model (safetensors, tokenizer) with `training.json`.
        work: Loss of the last step, tokens a second, memory and device-hours.
        arm: Name of the arm.
        model: The model to start from: a folder, hub id or `demo`.
        template: How conversations are written.
        training: Settings: method, zero_stage, epochs, learning_rate, batch_size and so on.
        workspace: Where the tuned model is written by reference, such as s3://bucket/prefix; empty for `tuned`.
        fingerprint: Digest of the inputs; a changed one makes a cached step run again.
    """
    import json
    from pathlib import Path

    from tamis.finetune import TrainingSettings
    from tamis.finetune import finetune as run
    from tamis.settings import parse

    settings = parse(TrainingSettings, training, "training")
    result = run(Path(selections.path) / arm, model, Path(tuned.path), settings, template=template, workspace=workspace)
    tuned.metadata.update({"arm": arm, "base_model": model})
    work.metadata.update(result.work)
    Path(work.path).write_text(json.dumps(result.work))
