"""Turns scores into one selection for each arm."""

from typing import List  # noqa: UP035

from kfp import dsl
from tamis.components.images import CORE


@dsl.component(base_image=CORE, install_kfp_package=False)
def select(
    prepared: dsl.Input[dsl.Dataset],
    scores: dsl.Input[List[dsl.Dataset]],  # noqa: UP006
    selections: dsl.Output[dsl.Dataset],
    methods: List[str],  # noqa: UP006
    advice: dsl.Input[dsl.Artifact] = None,
    budget: str = "10%",
    random_seeds: List[int] = [0, 1],  # noqa: B006, UP006
    extra_arms: List[str] = [],  # noqa: B006, UP006
    method_settings: dict = {},  # noqa: B006
    selectors: dict = {},  # noqa: B006
) -> List[str]:  # noqa: UP006
    """Selects rows for every arm at the same budget, and says of every row of the pool why it was kept or not.

    Args:
        prepared: Output of `prepare`.
        scores: Outputs of `score`, one for each shard.
        selections: A folder for each arm with `selected.parquet`, `decisions.parquet` and `arm.json`.
        methods: Methods that become arms.
        advice: Output of `advise`, needed for a budget of `auto`.
        budget: A share of the pool (`10%`), a number of rows, or `auto:0.9`.
        random_seeds: One random arm for each.
        extra_arms: Further arms: `full`, `balanced-random-0`.
        method_settings: Settings by method, as given to `score`.
        selectors: Another selector for a method.

    Returns:
        Names of the arms.
    """
    from pathlib import Path

    from tamis.selecting import select as run

    return run(
        Path(prepared.path) / "pool",
        [Path(part.path) for part in scores],
        Path(selections.path),
        methods=methods,
        budget=budget,
        random_seeds=[int(seed) for seed in random_seeds],
        extra_arms=extra_arms,
        method_settings=method_settings,
        selectors=selectors,
        advice=Path(advice.path) if advice else None,
    )
