"""Node pools: presets are read, checked and written out as the pipeline's parameters."""

import inspect
from pathlib import Path

import pytest

from tamis.config import RunConfig, read_config
from tamis.errors import UserError
from tamis.pools import parameters, read_pools

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "manifests" / "base" / "pools.yaml"


def test_the_shipped_presets_are_valid_and_give_parameters_of_the_pipeline() -> None:
    from tamis.pipelines.select_and_finetune import select_and_finetune

    pools = read_pools(SHIPPED)
    assert pools["a100"].accelerator_count == "1" and pools["a100"].cpu == "8"  # numbers in the file, text in KFP
    config = RunConfig(
        pool="p", node_pools={"data": "cpu", "scoring": "a100", "training": "a100-x8", "evaluation": "spot"}
    )
    got = parameters(config, SHIPPED)
    assert set(got) == set(inspect.signature(select_and_finetune.pipeline_func).parameters)
    assert got["training_accelerator_count"] == "8" and got["scoring_memory"] == "64Gi"
    assert got["evaluation_affinity"]["preferredDuringSchedulingIgnoredDuringExecution"][0]["weight"] == 100


def test_a_configuration_without_pools_needs_no_file() -> None:
    got = parameters(RunConfig(pool="p"), Path("missing.yaml"))
    assert got["pool"] == "p" and not [name for name in got if name.startswith("training_")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpu: {memry: 1Gi}", "gpu: unknown setting 'memry'; did you mean 'memory'"),
        ("gpu: {memory: 2GB}", "'memory': String should match"),
        ("gpu: {accelerator_count: all}", "'accelerator_count'"),
        ("gpu: {tolerations: [{key: a, operater: Exists}]}", "unknown setting 'tolerations.0.operater'"),
        ("gpu: {tolerations: [{operator: Equal}]}", "operator Equal needs a key"),
        ("gpu: {tolerations: [{key: a, operator: Exists, value: b}]}", "takes no value"),
        ("gpu: {affinity: {required: {}}}", "unknown setting 'affinity.required'"),
        ("gpu: 3", "as a name with settings below"),
        ("[gpu]", "as a name with settings below"),
        ("gpu: {", "not YAML"),
        ("gqu: {}", "no 'gpu' in .*; did you mean 'gqu'"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    presets = tmp_path / "pools.yaml"
    presets.write_text(text)
    with pytest.raises(UserError, match=message):
        parameters(RunConfig(pool="p", node_pools={"training": "gpu"}), presets)


def test_data_steps_get_no_accelerators_and_a_file_must_exist(tmp_path: Path) -> None:
    presets = tmp_path / "pools.yaml"
    presets.write_text("gpu: {accelerator_type: nvidia.com/gpu}")
    with pytest.raises(UserError, match="has accelerators"):
        parameters(RunConfig(pool="p", node_pools={"data": "gpu"}), presets)
    with pytest.raises(UserError, match="cannot be read"):
        read_pools(tmp_path / "missing.yaml")


def test_submit_writes_them_out(tmp_path: Path) -> None:
    from tamis.pipelines.submit import parameters as submitted

    presets = tmp_path / "pools.yaml"
    presets.write_text("gpu: {memory: 64Gi}")
    got = submitted(RunConfig(pool="s3://bucket/pool", node_pools={"training": "gpu"}), presets)
    assert got["training_memory"] == "64Gi" and "node_pools" not in got


@pytest.mark.parametrize(
    "path", sorted((ROOT / "manifests" / "overlays").glob("*/run.yaml")), ids=lambda p: p.parent.name
)
def test_the_overlays_name_pools_that_there_are(path: Path) -> None:
    assert parameters(read_config(path, []), SHIPPED)["pool"].startswith("s3://")
