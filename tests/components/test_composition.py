"""Taking one component: each component.yaml is loaded without our Python and composed with components of others."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import kfp.compiler
import pyarrow.parquet as pq
import pytest
from kfp import components, dsl, local
from tamis.pipelines.build import COMPONENTS

ROOT = Path(__file__).parents[2]


def load(name: str) -> Any:
    return components.load_component_from_file(str(ROOT / "components" / name / "component.yaml"))


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def make_dataset(made: dsl.Output[dsl.Dataset]):
    open(made.path, "w").close()


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def make_artifact(made: dsl.Output[dsl.Artifact]):
    open(made.path, "w").close()


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def make_model(made: dsl.Output[dsl.Model]):
    open(made.path, "w").close()


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def make_html(made: dsl.Output[dsl.HTML]):
    open(made.path, "w").close()


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def make_markdown(made: dsl.Output[dsl.Markdown]):
    open(made.path, "w").close()


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def look(artifact: dsl.Input[dsl.Artifact]) -> str:
    return artifact.uri


MAKERS = {
    f"system.{made}@0.0.1": maker
    for made, maker in (
        ("Dataset", make_dataset),
        ("Artifact", make_artifact),
        ("Model", make_model),
        ("HTML", make_html),
        ("Markdown", make_markdown),
    )
}
VALUES = {"String": "text", "Integer": 1, "List": ["a"], "Dict": {}, "typing.List[str]": ["a"], "typing.List[int]": [1]}


@pytest.mark.parametrize("name", COMPONENTS)
def test_each_takes_and_gives_artifacts_of_foreign_components(name: str, tmp_path: Path) -> None:
    ours = load(name)
    spec = ours.component_spec
    given = [key for key, value in spec.inputs.items() if value.type in MAKERS]
    made = [key for key, value in spec.outputs.items() if value.type.startswith("system.")]

    @dsl.pipeline(name="composed")
    def composed():
        arguments: dict[str, Any] = {}
        for key, value in spec.inputs.items():
            if value.type not in MAKERS:
                arguments[key] = VALUES[value.type]
            elif value.is_artifact_list:
                with dsl.ParallelFor([1, 2]):
                    part = MAKERS[value.type]()
                arguments[key] = dsl.Collected(part.output)
            else:
                arguments[key] = MAKERS[value.type]().output
        task = ours(**arguments)
        for key in made:
            look(artifact=task.outputs[key])

    assert given or made or name == "preflight"
    kfp.compiler.Compiler().compile(composed, str(tmp_path / "composed.yaml"))
    text = (tmp_path / "composed.yaml").read_text()
    assert f"comp-{name}" in text and text.count("producerTask: " + name) == len(made)


def test_the_example_of_the_readme_compiles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (code,) = (block for block in (ROOT / "README.md").read_text().split("```python\n") if block.startswith("from kfp"))
    (tmp_path / "mine.py").write_text(code.split("```")[0])
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(tmp_path)
    kfp.compiler.Compiler().compile(import_module("mine").mine, str(tmp_path / "mine.yaml"))
    assert "comp-first-row" in (tmp_path / "mine.yaml").read_text()


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def rows_of(prepared: dsl.Input[dsl.Dataset]) -> int:
    """A component of somebody else, which knows only the files."""
    import json
    from pathlib import Path

    import pyarrow.parquet

    counted = json.loads((Path(prepared.path) / "prepared.json").read_text())["pool"]["rows"]
    found = sum(pyarrow.parquet.read_metadata(p).num_rows for p in (Path(prepared.path) / "pool").glob("*.parquet"))
    return counted if counted == found else -1


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def score_elsewhere(prepared: dsl.Input[dsl.Dataset], scores: dsl.Output[dsl.Dataset]):
    """Scores of somebody else, in our files: the later a row, the better."""
    from pathlib import Path

    import pyarrow as pa

    from tamis.pool import shards

    rows = shards.load(shards.shards(Path(prepared.path) / "pool")[0]).select(["id", "source"])
    values = pa.array(range(rows.num_rows), pa.float64()), pa.nulls(rows.num_rows, pa.string())
    table = rows.append_column("length", values[0]).append_column("length_reason", values[1])
    shards.write_shard(Path(scores.path), 0, table, {"made by": "somebody else"})


def test_components_run_between_foreign_ones_and_from_an_imported_artifact(tmp_path: Path) -> None:
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps({"prompt": f"Say {n}.", "response": f"It is {n}."}) + "\n" for n in range(5)))
    prepare, select = load("prepare"), load("select")

    @dsl.pipeline(name="foreign")
    def foreign(pool: str) -> int:
        return rows_of(prepared=prepare(pool=pool).outputs["prepared"]).output

    @dsl.pipeline(name="imported")
    def imported(uri: str) -> dsl.Dataset:
        prepared = dsl.importer(artifact_uri=uri, artifact_class=dsl.Dataset)
        with dsl.ParallelFor([0]):
            scored = score_elsewhere(prepared=prepared.output)
        chosen = select(
            prepared=prepared.output, scores=dsl.Collected(scored.outputs["scores"]), methods=["length"], budget="2"
        )
        return chosen.outputs["selections"]

    root = tmp_path / "artifacts"
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(root))
    assert foreign(pool=str(pool)).output == 5
    (made,) = root.glob("foreign-*/prepare/prepared")
    chosen = pq.read_table(Path(imported(uri=str(made)).output.path) / "length" / "selected.parquet")
    assert sorted(row["messages"][0]["content"] for row in chosen.to_pylist()) == ["Say 3.", "Say 4."]
