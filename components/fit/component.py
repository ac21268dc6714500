"""Lets methods learn from the target or a sample of the pool."""

from typing import List  # noqa: UP035

from kfp import dsl
from tamis.components.images import GPU


@dsl.component(base_image=GPU, install_kfp_package=False)
def fit(
    prepared: dsl.Input[dsl.Dataset],
    states: dsl.Output[dsl.Artifact],
    methods: List[str],  # noqa: UP006
    model: str,
    template: str = "chat",
    method_settings: dict = {},  # noqa: B006
    options: dict = {},  # noqa: B006
    fingerprint: str = "",
):
    """Lets every method that needs it learn from the target or from a sample of the pool, once for all shards.

    Args:
        prepared: Output of `prepare`.
        states: Folder with what each method learned, as safetensors.
        methods: Names of scoring methods.
        model: A model's folder, hub id or `demo`.
        template: How conversations are written.
        method_settings: Settings by method.
        options: How the model reads: dtype, max_length, batch_tokens.
        fingerprint: Digest of the inputs; a changed one makes a cached step run again.
    """
    from pathlib import Path

    from tamis.scoring import ScoreSettings, Scoring
    from tamis.scoring import fit as run
    from tamis.settings import parse

    folder = Path(prepared.path)
    target = folder / "target" if (folder / "target").exists() else None
    scoring = Scoring(methods, model, template, method_settings, parse(ScoreSettings, options, "scoring"))
    run(folder / "pool", Path(states.path), scoring, target)
