"""Each image is what it says: restricted, complete, small in rights, and nothing is installed or compiled in it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tamis.components.images import CORE, GPU

from tamis import __version__

pytestmark = pytest.mark.containers
README = (Path(__file__).parents[2] / "README.md").read_text()
Run = Callable[..., str]
both = pytest.mark.parametrize("image", [CORE, GPU], ids=["core", "gpu"])


@both
def test_it_runs_as_a_number_on_a_read_only_root(run: Run, engine: Any, image: str) -> None:
    assert engine.images.get(image).attrs["Config"]["User"] == "65532:65532"
    assert run(image, "sh", "-c", "id -u; id -g; tamis --version").split("\n")[:3] == [
        "65532",
        "65532",
        f"tamis {__version__}",
    ]
    assert "denied" in run(image, "sh", "-c", "(echo > /opt/tamis/file) 2>&1 || true", read_only=False)


@both
def test_it_says_what_it_is(engine: Any, image: str) -> None:
    labels = engine.images.get(image).labels
    said = {key.removeprefix("org.opencontainers.image."): value for key, value in labels.items()}
    assert said["title"] == image.rpartition("/")[2].partition(":")[0]
    assert (said["version"], said["licenses"]) == (__version__, "Apache-2.0")
    assert len(said["revision"].removesuffix("-dirty")) == 40 and said["source"].startswith("https://")


@both
def test_its_bill_of_materials_lists_what_is_installed(run: Run, image: str) -> None:
    code = """
import importlib.metadata, json
with open("/opt/tamis/sbom.cdx.json") as file:
    bill = json.load(file)
listed = sorted(f"{part['name']}=={part['version']}" for part in bill["components"])
installed = sorted(f"{found.name}=={found.version}" for found in importlib.metadata.distributions())
print(json.dumps([bill["bomFormat"], listed, installed]))
"""
    kind, listed, installed = json.loads(run(image, "python", "-c", code))
    assert kind == "CycloneDX" and listed == installed
    names = {line.partition("==")[0] for line in installed}
    assert {"tamis", "kfp", "minio", "kfp-server-api", "model-registry"} <= names
    assert ({"torch", "deepspeed", "lm_eval"} <= names) == (image == GPU)
    assert image == GPU or not names & {"torch", "transformers", "deepspeed", "kubernetes"}


@both
def test_nothing_can_be_installed(run: Run, image: str) -> None:
    pythons = "python /usr/bin/python3 /usr/local/bin/python3"
    code = f"for python in {pythons}; do $python -m pip; $python -m ensurepip; done; pip"
    printed = run(image, "sh", "-c", f"({code}) 2>&1 || true")
    assert "Usage" not in printed and "No module named pip" in printed and "pip: not found" in printed


@both
def test_a_step_starts_as_kfp_starts_it(run: Run, image: str) -> None:
    """The executor that KFP calls is there; it asks for its arguments."""
    printed = run(image, "sh", "-c", "_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main 2>&1 || true")
    assert "--executor_input" in printed


def test_the_readmes_derived_image_has_its_method(engine: Any, run: Run, tmp_path: Path) -> None:
    section = README.split("## Add a method")[1].split("\n## ")[0]
    blocks = dict(re.findall(r"```(python|toml|dockerfile)\n(.*?)```", section, flags=re.S))
    (tmp_path / "my_package.py").write_text(blocks["python"])
    project = (
        '[project]\nname = "my-package"\nversion = "1"\n'
        + blocks["toml"]
        + '[tool.setuptools]\npy-modules = ["my_package"]\n'
    )
    (tmp_path / "pyproject.toml").write_text(project)
    (tmp_path / "Dockerfile").write_text(re.sub(r"FROM \S+tamis-gpu\S+", f"FROM {CORE}", blocks["dockerfile"]))
    image, _ = engine.images.build(path=str(tmp_path), network_mode="host", rm=True)
    try:
        assert "the rows that the model finds most surprising" in run(image.id, "tamis", "methods", "surprise")
        assert image.attrs["Config"]["User"] == "65532:65532"
    finally:
        engine.images.remove(image.id)
