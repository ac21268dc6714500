"""A cache never gives an old result: changed data, settings, program or image run again, what is unchanged does not."""

import inspect
import json
from pathlib import Path

import pytest
import yaml
from kfp import components, dsl, local
from tamis.components.images import CORE

from tamis import preflight
from tamis.config import RunConfig

ROOT = Path(__file__).parents[2]
SPEC, _ = yaml.safe_load_all((ROOT / "pipelines" / "select_and_finetune" / "pipeline.yaml").read_text())
DAGS = [part["dag"] for part in (SPEC["root"], *SPEC["components"].values()) if "dag" in part]
TASKS = {name: task for dag in DAGS for name, task in dag["tasks"].items()}
STEPS = {name: task for name, task in TASKS.items() if "dag" not in SPEC["components"][task["componentRef"]["name"]]}


def test_the_local_cache(tmp_path: Path) -> None:
    def rows(name: str, count: int) -> str:
        lines = [json.dumps({"prompt": f"{name} {n}?", "response": f"It is {n}."}) + "\n" for n in range(count)]
        (tmp_path / name).write_text("".join(lines))
        return str(tmp_path / name)

    def load(name: str, image: str) -> object:
        text = (ROOT / "components" / name / "component.yaml").read_text()
        assert CORE in text
        return components.load_component_from_text(text.replace(CORE, image))

    def run(shard_rows: int, image: str = CORE) -> set[str]:
        check, prepare = load("preflight", CORE), load("prepare", image)

        @dsl.pipeline(name="cached")
        def cached(pool: str, heldout: str, options: dict):
            checked = check(pool=pool, heldout=heldout, preparation=options, methods=["length"])
            checked.set_caching_options(False)
            prepare(pool=pool, heldout=heldout, options=options, fingerprint=checked.output)

        root = tmp_path / "artifacts"
        before = set(root.glob("*"))
        local.init(
            runner=local.SubprocessRunner(use_venv=False),
            pipeline_root=str(root),
            enable_caching=True,
            cache_root=str(tmp_path / "cache"),
        )
        cached(pool=pool, heldout=heldout, options={"shard_rows": shard_rows})
        return {path.parent.name for new in set(root.glob("*")) - before for path in new.rglob("executor_output.json")}

    pool, heldout = rows("pool.jsonl", 6), rows("heldout.jsonl", 2)
    everything, nothing = {"preflight", "prepare"}, {"preflight"}
    assert run(3) == everything
    assert run(3) == nothing
    rows("pool.jsonl", 5)
    assert run(3) == everything, "other content under the same name"
    assert run(2) == everything, "other settings"
    assert run(2, image="registry.example/derived:2") == everything, "another image"
    rows("pool.jsonl", 6)
    assert run(3) == nothing, "the first again"


def test_the_digest_changes_with_each_thing_that_a_result_depends_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program"
    program.mkdir()
    (program / "step.py").write_text("1")
    monkeypatch.setattr(preflight, "__file__", str(program / "preflight.py"))
    files = {name: tmp_path / f"{name}.jsonl" for name in ("pool", "target", "heldout", "model", "task")}
    for path in files.values():
        path.write_text("a")
    names = {name: str(path) for name, path in files.items() if name != "task"}
    config = RunConfig(**names, evaluation={"tasks": [str(files["task"])]})
    seen = [preflight.fingerprint(config)]
    assert preflight.fingerprint(config) == seen[0]
    for path in (*files.values(), program / "step.py"):
        path.write_text("b")
        seen.append(preflight.fingerprint(config))
    seen.append(preflight.fingerprint(config.model_copy(update={"fingerprint": "again"})))
    assert len(set(seen)) == len(seen) == 8


def test_only_steps_that_look_for_themselves_always_run_and_no_key_replaces_the_fingerprint_of_the_backend() -> None:
    cached = {name for name, task in STEPS.items() if task.get("cachingOptions", {}).get("enableCache")}
    assert cached == set(STEPS) - {"preflight", "publish"}
    assert not [name for name, task in STEPS.items() if "cacheKey" in task.get("cachingOptions", {})]
    assert not [executor for executor in SPEC["deploymentSpec"]["executors"].values() if "importer" in executor]


@pytest.mark.parametrize("name", sorted(set(STEPS) - {"preflight", "publish"}))
def test_what_preflight_found_is_a_parameter_of_every_step_that_reads_a_name(name: str) -> None:
    """Others read only artifacts of the run, which are new ones when the step that makes them has run again."""
    inputs = STEPS[name]["inputs"]
    parameters = inputs.get("parameters", {})
    if {"pool", "target", "heldout", "model", "evaluation", "workspace"} & set(parameters):
        source = parameters["fingerprint"]
        handed_on = source.get("componentInputParameter")
        assert handed_on == "pipelinechannel--preflight-Output" or source["taskOutputParameter"] == {
            "outputParameterKey": "Output",
            "producerTask": "preflight",
        }
    else:
        assert "prepared" in inputs["artifacts"]


def test_preflight_is_given_the_whole_configuration() -> None:
    from tamis.components.preflight import preflight as step

    elsewhere = {"node_pools", "secret_name", "config_name"}  # where a run takes place, not what it makes
    assert set(inspect.signature(step.python_func).parameters) == set(RunConfig.model_fields) - elsewhere
    assert set(step.component_spec.inputs) <= set(STEPS["preflight"]["inputs"]["parameters"])
