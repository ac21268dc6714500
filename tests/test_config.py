"""Run configurations and settings: unknown names are refused with the nearest known one."""

import inspect
from pathlib import Path
from typing import get_args

import pytest

from tamis.config import RunConfig, read_config
from tamis.errors import UserError
from tamis.pools import NodePool


def test_the_pipeline_has_the_same_parameters_with_the_same_defaults() -> None:
    from tamis.pipelines.select_and_finetune import select_and_finetune

    parameters = inspect.signature(select_and_finetune.pipeline_func).parameters
    defaults = {name: field.get_default(call_default_factory=True) for name, field in RunConfig.model_fields.items()}
    roles = get_args(get_args(RunConfig.model_fields["node_pools"].annotation)[0])
    assert defaults.pop("node_pools") == {}
    for role in roles:  # which the pipeline has written out
        pool = NodePool().model_dump(exclude_none=True)
        defaults |= {f"{role}_{name}": value for name, value in pool.items() if (role, name[:4]) != ("data", "acce")}
    assert set(parameters) == set(defaults)
    for name, default in defaults.items():
        required = name in RunConfig.model_fields and RunConfig.model_fields[name].is_required()
        assert parameters[name].default == (inspect.Parameter.empty if required else default), name


def test_values_and_changes(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("pool: data.jsonl\ntraining: {epochs: 1}\n")
    config = read_config(path, ["training.learning_rate=1e-4", "methods=[rds]", "budget=50"])
    assert config.pool == "data.jsonl"
    assert config.training == {"epochs": 1, "learning_rate": "1e-4"}  # YAML 1.1 reads this as text; a float takes it
    assert (config.methods, config.budget) == (["rds"], "50")


def test_the_tasks_that_are_evaluated_on_are_kept_out_of_the_pool() -> None:
    assert RunConfig(pool="a", evaluation={"tasks": ["arc_easy"]}).preparation == {"tasks": ["arc_easy"]}
    own = RunConfig(pool="a", evaluation={"tasks": ["arc_easy"]}, preparation={"tasks": []})
    assert own.preparation == {"tasks": []}
    assert RunConfig(pool="a").preparation == {}


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        ("pool: a\nbuget: 3", [], "unknown setting 'buget'; did you mean 'budget'"),
        ("target: a", [], "'pool': Field required"),
        ("pool: [a", [], "not YAML"),
        ("just words", [], "holds no"),
        ("pool: a", ["budget"], "write it as key=value"),
        ("pool: a", ["pool.x=1"], "'pool' is not a group"),
        ("pool: a\nrandom_seeds: many", [], "'random_seeds'"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, changes: list[str], message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_config(path, changes)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_config(tmp_path / "run.yaml", [])
