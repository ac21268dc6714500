"""One run's configuration: the same names as the pipeline's parameters, whoever starts the run."""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, Field, model_validator

from tamis import settings
from tamis.errors import UserError


class RunConfig(settings.Settings):
    """What a run of `select-and-finetune` is given.

    The pipeline has the same parameters by the same names with the same defaults (a test compares them), so a run can
    be started from a file, from the command line or from the Kubeflow form. Only `node_pools` is written out there.
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)  # a budget may be written as a number

    pool: str
    """File, folder or pattern of candidate rows (JSON lines, JSON, CSV, Parquet; also gzip and zstd): a path,
    `s3://bucket/key` or `hf://datasets/org/name`."""
    target: str = ""
    """Rows that show what the model should become good at; needed by `rds` and other target-aware methods."""
    heldout: str = ""
    """Rows kept for evaluation: every arm's loss on them decides the verdict. Overlapping pool rows are left out."""
    model: str = "demo"
    """A model's folder, a URI such as `s3://bucket/key`, a hub id, or `demo`."""
    template: str = "chat"
    """How conversations are written: `chat` (the model's own), `alpaca`, `plain` or `tulu`."""
    methods: list[str] = ["ifd", "rds"]
    """Methods to score and select by; each becomes an arm."""
    budget: str = "10%"
    """Rows that each arm may train on: a share of the pool, a number, or `auto:0.9` for those that bring 90 % of what
    is in reach, as the advice has it (`tamis advise`)."""
    random_seeds: list[int] = [0, 1]
    """One random arm for each seed; the methods are judged against them."""
    extra_arms: list[str] = []
    """Further arms: `full` (the whole pool), `balanced-random-0` (equally from each source)."""
    preparation: dict[str, Any] = Field(default_factory=dict)
    """How the pool is read and checked: format, duplicates, near_duplicates, contamination, shard_rows; tasks, whose
    text is kept out of the pool, are those of `evaluation` if not given."""
    scoring: dict[str, Any] = Field(default_factory=dict)
    """How the model reads the pool: dtype, max_length, batch_tokens, pre_experience."""
    method_settings: dict[str, Any] = Field(default_factory=dict)
    """Settings by method: `{"ifd": {"ratio": "perplexity"}}`; `tamis methods NAME` lists them."""
    selectors: dict[str, Any] = Field(default_factory=dict)
    """Another selector for a method: `{"ifd": {"selector": "top", "column": "ifd", "keep": "ifd < 1"}}`."""
    advice: dict[str, Any] = Field(default_factory=dict)
    """How a budget of `auto` is advised: family, or slope and intercept; rows, labelled and so on."""
    training: dict[str, Any] = Field(default_factory=dict)
    """How each arm is fine-tuned: method (full or lora), zero_stage, epochs, learning_rate and so on."""
    evaluation: dict[str, Any] = Field(default_factory=dict)
    """How each arm is evaluated: tasks (lm-eval names or local folders), limit, batch_size and so on."""
    workspace: str = ""
    """Where big things live by reference, such as `s3://bucket/prefix`: tuned models, checkpoints, releases. Empty: the
    artifacts of the run hold them."""
    release: str = ""
    """`name/version` under which the best arm is published to `<workspace>/releases/`; empty for no publication. In
    `tamis run`, `{digest}` in it stands for what the run is made from: inputs, settings, program."""
    publication: dict[str, Any] = Field(default_factory=dict)
    """What is published, and when: only_if (better-than-random, always), arm, licences by source, registry."""
    node_pools: dict[Literal["data", "scoring", "training", "evaluation"], str] = Field(default_factory=dict)
    """Where on a cluster the steps of each role run: a preset's name for each, such as `{"training": "h100"}`. The
    pipeline has its values as parameters: `training_memory`, `training_node_selector` and so on."""
    secret_name: str = "mlpipeline-minio-artifact"
    """On a cluster: the secret with the keys of the store (`accesskey`, `secretkey`); it need not exist."""
    config_name: str = "tamis"
    """On a cluster: the config map with what steps read from the environment (`TAMIS_S3_ENDPOINT`, `HF_HUB_OFFLINE`
    and so on); it need not exist."""
    fingerprint: str = ""
    """Any text; a changed one makes every step run again. What a run finds under its names is compared anyway."""

    @model_validator(mode="after")
    def _keep_tasks_out_of_the_pool(self) -> "RunConfig":
        # Copied rather than read from `evaluation` by the step, which would run again whenever any of that changes.
        if tasks := self.evaluation.get("tasks"):
            self.preparation.setdefault("tasks", tasks)
        return self


def read_config(path: Path, changes: list[str]) -> RunConfig:
    """Reads a run configuration.

    Args:
        path: A YAML file; paths in it are relative to the working directory.
        changes: `key=value` strings that override it; `training.epochs=2` reaches into a group, values are YAML.

    Raises:
        UserError: The file cannot be read, or a name is unknown (with the nearest known one).
    """
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no `name: value` lines")
    for change in changes:
        assign(values, change)
    return settings.parse(RunConfig, values, str(path))


def assign(values: dict[str, Any], change: str) -> None:
    """Applies one `key=value`, where `a.b=1` sets `b` in the group `a`.

    Raises:
        UserError: It has no `=`, or reaches into something that is no group.
    """
    key, equals, text = change.partition("=")
    if not (equals and key):
        raise UserError(f"--set {change}: write it as key=value")
    *groups, last = key.split(".")
    for group in groups:
        inner = values.setdefault(group, {})
        if not isinstance(inner, dict):
            raise UserError(f"--set {change}: '{group}' is not a group of settings")
        values = inner
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"--set {change}: the value is not YAML") from error
