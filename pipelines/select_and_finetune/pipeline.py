"""The DAG: score a pool by several methods, select, fine-tune and evaluate every arm, report against random."""

from collections import namedtuple
from typing import List, NamedTuple  # noqa: UP035

from kfp import dsl
from tamis.components.advise import advise
from tamis.components.evaluate import evaluate
from tamis.components.finetune import finetune
from tamis.components.fit import fit
from tamis.components.prepare import prepare
from tamis.components.publish import publish
from tamis.components.report import report
from tamis.components.score import score
from tamis.components.select import select


@dsl.pipeline(name="select-and-finetune", description="Which instruction data is worth training on?")
def select_and_finetune(
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
) -> NamedTuple(
    "Outputs", [("page", dsl.HTML), ("summary", dsl.Markdown), ("figures", dsl.Artifact), ("selections", dsl.Dataset)]
):  # noqa: UP014
    """Scores a pool by each method, selects, fine-tunes and evaluates every arm, and compares them with random ones.

    Args:
        pool: Candidate rows: a file, folder or pattern, s3://bucket/key or hf://datasets/org/name.
        target: Rows that show what the model should become good at.
        heldout: Rows kept for evaluation.
        model: A model's folder, hub id or `demo`.
        template: How conversations are written: chat, alpaca, plain or tulu.
        methods: Methods to score and select by.
        budget: Rows for each arm: a share of the pool, a number, or auto:0.9.
        random_seeds: One random arm for each seed.
        extra_arms: Further arms: full, balanced-random-0.
        preparation: How the pool is read: format, duplicates, near_duplicates, contamination, tasks, shard_rows.
        scoring: How the model reads the pool: dtype, max_length, batch_tokens.
        method_settings: Settings by method.
        selectors: Another selector for a method.
        advice: How a budget of auto is advised: family, or slope and intercept; rows, labelled and so on.
        training: How each arm is fine-tuned: method, zero_stage, epochs, learning_rate and so on.
        evaluation: How each arm is evaluated: tasks, limit, batch_size and so on.
        workspace: Where big things live by reference, such as s3://bucket/prefix; empty for the run's artifacts.
        release: Under which name/version the best arm is published in the workspace; empty for no publication.
        publication: What is published, and when: only_if, arm, licences, registry.
        fingerprint: Digest of what the names stand for; a changed one makes cached steps run again.

    Returns:
        page: The report as one HTML page.
        summary: The same in short, as Markdown.
        figures: All its figures, as JSON.
        selections: For each arm the chosen rows, and for every row of the pool why it was chosen or not.
    """
    reading = {"model": model, "template": template, "fingerprint": fingerprint}
    ready = prepare(pool=pool, target=target, heldout=heldout, options=preparation, fingerprint=fingerprint)
    prepared = ready.outputs["prepared"]
    how = {"methods": methods, "method_settings": method_settings, "options": scoring, **reading}
    learned = fit(prepared=prepared, **how)
    with dsl.ParallelFor(ready.outputs["Output"]) as shard:
        scored = score(prepared=prepared, states=learned.outputs["states"], shard=shard, **how)
    advised = advise(prepared=prepared, budget=budget, options=scoring, settings=advice, **reading)
    chosen = select(
        prepared=prepared,
        scores=dsl.Collected(scored.outputs["scores"]),
        advice=advised.outputs["advice"],
        methods=methods,
        budget=budget,
        random_seeds=random_seeds,
        extra_arms=extra_arms,
        method_settings=method_settings,
        selectors=selectors,
    )
    selections = chosen.outputs["selections"]
    base = evaluate(prepared=prepared, arm="base", evaluation=evaluation, **reading)
    with dsl.ParallelFor(chosen.outputs["Output"]) as arm:
        trained = finetune(selections=selections, arm=arm, training=training, workspace=workspace, **reading)
        judged = evaluate(prepared=prepared, arm=arm, tuned=trained.outputs["tuned"], evaluation=evaluation, **reading)
    told = report(
        prepared=prepared,
        scores=dsl.Collected(scored.outputs["scores"]),
        selections=selections,
        base=base.outputs["evaluated"],
        evaluations=dsl.Collected(judged.outputs["evaluated"]),
    )
    with dsl.If(release != "", "release"):
        published = publish(
            selections=selections,
            figures=told.outputs["figures"],
            page=told.outputs["page"],
            summary=told.outputs["summary"],
            workspace=workspace,
            release=release,
            publication=publication,
        )
        published.set_caching_options(False)  # it looks itself whether the release is there
    outputs = namedtuple("Outputs", ["page", "summary", "figures", "selections"])
    return outputs(told.outputs["page"], told.outputs["summary"], told.outputs["figures"], selections)
