"""The DAG: score a pool by several methods, select, fine-tune and evaluate every arm, report against random."""

from collections import namedtuple
from typing import List, NamedTuple  # noqa: UP035

from kfp import dsl
from tamis.components.advise import advise
from tamis.components.evaluate import evaluate
from tamis.components.finetune import finetune
from tamis.components.fit import fit
from tamis.components.preflight import preflight
from tamis.components.prepare import prepare
from tamis.components.publish import publish
from tamis.components.report import report
from tamis.components.score import score
from tamis.components.select import select
from tamis.pipelines.placement import place


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
    data_cpu: str = "2",
    data_memory: str = "8Gi",
    data_node_selector: dict = {},  # noqa: B006
    data_tolerations: List[dict] = [],  # noqa: B006, UP006
    data_affinity: dict = {},  # noqa: B006
    scoring_accelerator_type: str = "",
    scoring_accelerator_count: str = "1",
    scoring_cpu: str = "2",
    scoring_memory: str = "8Gi",
    scoring_node_selector: dict = {},  # noqa: B006
    scoring_tolerations: List[dict] = [],  # noqa: B006, UP006
    scoring_affinity: dict = {},  # noqa: B006
    training_accelerator_type: str = "",
    training_accelerator_count: str = "1",
    training_cpu: str = "2",
    training_memory: str = "8Gi",
    training_node_selector: dict = {},  # noqa: B006
    training_tolerations: List[dict] = [],  # noqa: B006, UP006
    training_affinity: dict = {},  # noqa: B006
    evaluation_accelerator_type: str = "",
    evaluation_accelerator_count: str = "1",
    evaluation_cpu: str = "2",
    evaluation_memory: str = "8Gi",
    evaluation_node_selector: dict = {},  # noqa: B006
    evaluation_tolerations: List[dict] = [],  # noqa: B006, UP006
    evaluation_affinity: dict = {},  # noqa: B006
    secret_name: str = "mlpipeline-minio-artifact",
    config_name: str = "tamis",
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
        fingerprint: Any text; a changed one makes every step run again.
        data_cpu: Cores of each pod for reading, selecting and reporting.
        data_memory: Memory of each pod for reading, selecting and reporting.
        data_node_selector: Labels that its nodes must have.
        data_tolerations: Taints that its pods accept, as in Kubernetes.
        data_affinity: Node affinity, as in Kubernetes.
        scoring_accelerator_type: Resource for fitting and scoring, such as nvidia.com/gpu; empty for none.
        scoring_accelerator_count: Accelerators of each pod, where there is a type.
        scoring_cpu: Cores of each pod for fitting and scoring.
        scoring_memory: Memory of each pod for fitting and scoring.
        scoring_node_selector: Labels that its nodes must have.
        scoring_tolerations: Taints that its pods accept, as in Kubernetes.
        scoring_affinity: Node affinity, as in Kubernetes.
        training_accelerator_type: Resource for fine-tuning, such as nvidia.com/gpu; empty for none.
        training_accelerator_count: Accelerators of each pod, where there is a type.
        training_cpu: Cores of each pod for fine-tuning.
        training_memory: Memory of each pod for fine-tuning.
        training_node_selector: Labels that its nodes must have.
        training_tolerations: Taints that its pods accept, as in Kubernetes.
        training_affinity: Node affinity, as in Kubernetes.
        evaluation_accelerator_type: Resource for evaluating, such as nvidia.com/gpu; empty for none.
        evaluation_accelerator_count: Accelerators of each pod, where there is a type.
        evaluation_cpu: Cores of each pod for evaluating.
        evaluation_memory: Memory of each pod for evaluating.
        evaluation_node_selector: Labels that its nodes must have.
        evaluation_tolerations: Taints that its pods accept, as in Kubernetes.
        evaluation_affinity: Node affinity, as in Kubernetes.
        secret_name: Secret with accesskey and secretkey of the store; it need not exist.
        config_name: Config map with TAMIS_S3_ENDPOINT, HF_HUB_OFFLINE and so on; it need not exist.

    Returns:
        page: The report as one HTML page.
        summary: The same in short, as Markdown.
        figures: All its figures, as JSON.
        selections: For each arm the chosen rows, and for every row of the pool why it was chosen or not.
    """
    given = dict(locals())
    checked = preflight(
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
    # A cache compares parameters, and names stay when their content changes: only this digest of it tells.
    checked.set_caching_options(False)
    found = checked.output
    reading = {"model": model, "template": template, "fingerprint": found}
    ready = prepare(pool=pool, target=target, heldout=heldout, options=preparation, fingerprint=found)
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
    for task in (checked, ready, chosen, told, published):
        place(task, "data", given)
    checked.set_retry(num_retries=0)  # a mistake is told at once
    for task in (learned, scored, advised):
        place(task, "scoring", given)
    place(trained, "training", given)
    for task in (base, judged):
        place(task, "evaluation", given)
    outputs = namedtuple("Outputs", ["page", "summary", "figures", "selections"])
    return outputs(told.outputs["page"], told.outputs["summary"], told.outputs["figures"], selections)
