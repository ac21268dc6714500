"""Checks a run and says what its inputs are."""

from typing import List  # noqa: UP035

from kfp import dsl
from tamis.components.images import CORE


@dsl.component(base_image=CORE, install_kfp_package=False)
def preflight(
    pool: str,
    target: str = "",
    heldout: str = "",
    model: str = "demo",
    template: str = "chat",
    methods: List[str] = ["ifd", "rds"],  # noqa: B006, UP006
    budget: str = "10%",
    random_seeds: List[int] = [0, 1],  # noqa: B006, UP006
    extra_arms: List[str] = [],  # noqa: B006, UP006
    preparation: dict = {},  # noqa: B006
    scoring: dict = {},  # noqa: B006
    method_settings: dict = {},  # noqa: B006
    selectors: dict = {},  # noqa: B006
    advice: dict = {},  # noqa: B006
    training: dict = {},  # noqa: B006
    evaluation: dict = {},  # noqa: B006
    workspace: str = "",
    release: str = "",
    publication: dict = {},  # noqa: B006
    fingerprint: str = "",
) -> str:
    """Refuses a run that would fail later, and gives a digest of what its names stand for.

    Args:
        pool: File or folder of candidate rows.
        target: Rows that show what the model should become good at.
        heldout: Rows kept for evaluation.
        model: A model's folder, hub id or `demo`.
        template: How conversations are written.
        methods: Methods to score and select by.
        budget: Rows for each arm: a share of the pool or a number.
        random_seeds: One random arm for each seed.
        extra_arms: Further arms.
        preparation: Settings of `prepare`.
        scoring: How the model reads the pool.
        method_settings: Settings by method.
        selectors: Another selector for a method.
        advice: Settings of `advise`.
        training: Settings of `finetune`.
        evaluation: Settings of `evaluate`.
        workspace: Where big things live by reference.
        release: Under which name/version the best arm is published.
        publication: Settings of `publish`.
        fingerprint: Goes into the digest, to tell runs apart on purpose.

    Returns:
        Digest of the files, of the program and of `fingerprint`; steps that take it run again when it changes.
    """
    from tamis.config import RunConfig
    from tamis.preflight import preflight as run

    return run(
        RunConfig(
            pool=pool,
            target=target,
            heldout=heldout,
            model=model,
            template=template,
            methods=methods,
            budget=budget,
            random_seeds=random_seeds,
            extra_arms=extra_arms,
            preparation=preparation,
            scoring=scoring,
            method_settings=method_settings,
            selectors=selectors,
            advice=advice,
            training=training,
            evaluation=evaluation,
            workspace=workspace,
            release=release,
            publication=publication,
            fingerprint=fingerprint,
        )
    )
