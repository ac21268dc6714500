"""The contract of the official component repository (kubeflow/pipelines-components), as tests of our components."""

import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import docstring_parser
import kfp.compiler
import pytest
import yaml
from tamis.components import images
from tamis.pipelines import build
from tamis.pipelines.readme import MARKER, readme

from tamis.errors import UserError

ROOT = Path(__file__).parents[2]
ASSETS = [ROOT / "components" / name for name in build.COMPONENTS]
ASSETS += [ROOT / "pipelines" / name for name in build.PIPELINES]
each_asset = pytest.mark.parametrize("folder", ASSETS, ids=lambda folder: folder.name)


def kind(folder: Path) -> str:
    return folder.parent.name.removesuffix("s")


def module(folder: Path, name: str = "") -> ModuleType:
    return import_module(".".join(["tamis", folder.parent.name, folder.name, *([name] if name else [])]))


def asset(folder: Path) -> Any:
    return getattr(module(folder), folder.name)


def test_every_folder_is_an_asset() -> None:
    found = [path.parent for path in ROOT.glob("components/*/component.py")]
    found += [path.parent for path in ROOT.glob("pipelines/*/pipeline.py")]
    assert sorted(found) == sorted(ASSETS)


@each_asset
def test_its_files_are_there(folder: Path) -> None:
    names = [f"{kind(folder)}.py", f"{kind(folder)}.yaml", "metadata.yaml", "README.md", "OWNERS", "__init__.py"]
    for name in [*names, "example_pipelines.py"]:
        assert (folder / name).is_file(), name
    assert yaml.safe_load((folder / "OWNERS").read_text())["approvers"]


@each_asset
def test_metadata_has_the_official_schema(folder: Path) -> None:
    values = yaml.safe_load((folder / "metadata.yaml").read_text())
    required, optional = ["name", "stability", "dependencies", "lastVerified"], ["tags", "ci", "links"]
    assert list(values)[:4] == required
    assert list(values)[4:] == [key for key in optional if key in values]
    assert values["name"] == folder.name
    assert values["stability"] in ("experimental", "alpha", "beta", "stable")
    assert set(values["dependencies"]) <= {"kubeflow", "external_services"}
    entries = [entry for group in values["dependencies"].values() for entry in group]
    for entry in entries:
        assert set(entry) == {"name", "version"} and re.fullmatch(r"(>=|<=|==)\d+\.\d+\.\d+", entry["version"])
    (pipelines,) = (entry["version"] for entry in entries if entry["name"] == "Pipelines")
    assert pipelines == f">={'.'.join(metadata.version('kfp').split('.')[:2])}.0"
    verified = values["lastVerified"]
    assert isinstance(verified, datetime) and verified.tzinfo is not None
    assert datetime.now(UTC) - timedelta(days=365) < verified <= datetime.now(UTC)


@each_asset
@pytest.mark.parametrize("name", ["asset", "example_pipelines"])
def test_modules_import_only_the_standard_library_kfp_and_components(folder: Path, name: str) -> None:
    file = f"{kind(folder)}.py" if name == "asset" else f"{name}.py"
    for node in ast.parse((folder / file).read_text()).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
            for used in names:
                ours = used.startswith(("tamis.components.", "tamis.pipelines."))
                assert ours or used.split(".")[0] in {"kfp", *sys.stdlib_module_names}, used


@each_asset
def test_the_docstring_names_every_argument_and_what_is_returned(folder: Path) -> None:
    function = asset(folder)
    code = getattr(function, "python_func", None) or function.pipeline_func
    told = docstring_parser.parse(code.__doc__, style=docstring_parser.DocstringStyle.GOOGLE)
    assert told.short_description and told.short_description.endswith(".")
    assert [one.arg_name for one in told.params] == list(inspect.signature(code).parameters)
    assert all(one.description for one in told.params)
    assert bool(told.returns) == bool(code.__annotations__.get("return"))


@each_asset
def test_images_come_from_one_place(folder: Path) -> None:
    compiled = (folder / f"{kind(folder)}.yaml").read_text()
    used = set(re.findall(r"image: (\S+)", compiled))
    assert used and used <= {images.CORE, images.GPU}
    for image in used:
        assert re.fullmatch(r"ghcr\.io/tamis-ai/tamis-(core|gpu)(:\d+\.\d+\.\d+|@sha256:[0-9a-f]{64})", image)


def test_no_other_file_names_an_image() -> None:
    for path in [*ROOT.glob("components/**/*.py"), *ROOT.glob("pipelines/**/*.py"), *ROOT.glob("src/**/*.py")]:
        assert "ghcr.io/" not in path.read_text() or path.name == "images.py", path


@each_asset
def test_its_example_compiles(folder: Path, tmp_path: Path) -> None:
    example = module(folder, "example_pipelines").example_pipeline
    kfp.compiler.Compiler().compile(example, str(tmp_path / "example.yaml"))
    assert f"comp-{folder.name.replace('_', '-')}" in (tmp_path / "example.yaml").read_text()


def test_generated_files_are_up_to_date() -> None:
    assert build.write(check=True) == []


def test_drift_is_found_and_mended(tmp_path: Path) -> None:
    assert len(build.write(out=tmp_path)) >= len(ASSETS)
    changed = tmp_path / "score" / "component.yaml"
    changed.write_text(changed.read_text().replace("scores", "points"))
    assert build.write(check=True, out=tmp_path) == [changed] and "points" in changed.read_text()
    assert build.write(out=tmp_path) == [changed] and build.write(check=True, out=tmp_path) == []


def test_what_people_wrote_into_a_readme_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "components" / "score"
    shutil.copytree(ROOT / "components" / "score", folder)
    text = (folder / "README.md").read_text()
    (folder / "README.md").write_text(text.replace("## Overview", "## Spoilt") + "\nA hint of ours.\n")
    assert readme(folder, asset(folder=ROOT / "components" / "score")) == text + "\nA hint of ours.\n"
    assert text.count(MARKER) == 1


def test_a_release_refuses_tags_and_takes_digests_from_the_environment(tmp_path: Path) -> None:
    if "@sha256:" not in images.CORE:
        with pytest.raises(UserError, match="by digest, not ghcr.io/.*; set TAMIS_IMAGE_CORE=NAME@sha256"):
            build.write(release=True, out=tmp_path)
    core, gpu = (f"registry.example/{name}@sha256:{'0' * 64}" for name in ("core", "gpu"))
    environ = os.environ | {"TAMIS_IMAGE_CORE": core, "TAMIS_IMAGE_GPU": gpu}
    command = [sys.executable, "-m", "tamis.cli", "compile", "--release", "--out", str(tmp_path)]
    subprocess.run(command, env=environ, check=True, capture_output=True)
    used = re.findall(r"image: (\S+)", (tmp_path / "select_and_finetune" / "pipeline.yaml").read_text())
    assert set(used) == {core, gpu}


def test_steps_of_the_core_image_need_no_torch() -> None:
    """Their imports run where torch, transformers and datasets cannot be imported at all."""
    blocked = ("torch", "transformers", "datasets", "deepspeed", "peft", "lm_eval", "sklearn", "accelerate")
    lines = [f"import sys; sys.modules.update(dict.fromkeys({blocked!r}))"]
    for name in build.COMPONENTS:
        component = asset(ROOT / "components" / name)
        if component.component_spec.implementation.container.image == images.CORE:
            (function,) = ast.parse(inspect.getsource(component.python_func).strip()).body
            lines += [ast.unparse(n) for n in function.body if isinstance(n, ast.Import | ast.ImportFrom)]
    assert len(lines) > 8
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)
