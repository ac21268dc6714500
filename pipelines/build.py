"""Makes the files that follow from the code (compiled YAML, READMEs, manifests), or says which are out of date."""

import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import kfp.compiler
import kfp.compiler.compiler_utils
import tamis.components
import tamis.pipelines
from tamis.components import images
from tamis.pipelines.readme import index, readme
from tamis.pipelines.submit import COMPILED, PIPELINE, version_name

from tamis.errors import UserError

COMPONENTS = ("preflight", "prepare", "advise", "fit", "score", "select", "finetune", "evaluate", "report", "publish")
PIPELINES = ("select_and_finetune",)


def generated() -> dict[Path, str]:
    """What each generated file should hold, by its path."""
    files: dict[Path, str] = {}
    for package, names, kind in (
        (tamis.components, COMPONENTS, "component"),
        (tamis.pipelines, PIPELINES, "pipeline"),
    ):
        folder = Path(package.__path__[0])
        functions = {name: getattr(import_module(f"{package.__name__}.{name}"), name) for name in names}
        for name, function in functions.items():
            files[folder / name / f"{kind}.yaml"] = _compile(function)
            files[folder / name / "README.md"] = readme(folder / name, function)
        files[folder / "README.md"] = index(f"{kind.capitalize()}s", functions)
    manifests = Path(tamis.pipelines.__path__[0]).parent / "manifests" / "components"
    if manifests.is_dir():  # in a checkout
        files[manifests / "images" / "kustomization.yaml"] = images_component(images.CORE, images.GPU)
        version = kfp.compiler.compiler_utils.KubernetesManifestOptions(
            pipeline_name=PIPELINE,
            pipeline_version_name=version_name(files[COMPILED]),
            pipeline_version_display_name=version_name(files[COMPILED]),
            include_pipeline_manifest=True,
        )
        files[manifests / "kubernetes-store" / "pipeline.yaml"] = _compile(
            functions[PIPELINES[0]], kubernetes_manifest_format=True, kubernetes_manifest_options=version
        )
    return files


def images_component(core: str, gpu: str) -> str:
    """The kustomize component that puts the images where manifests say `tamis-core` and `tamis-gpu`."""
    lines = ["# Written by `tamis compile` from components/images.py.", "apiVersion: kustomize.config.k8s.io/v1alpha1"]
    lines += ["kind: Component", "images:"]
    for name, image in (("tamis-core", core), ("tamis-gpu", gpu)):
        repository, at, digest = image.partition("@")
        if at:
            lines.append(f"  - {{name: {name}, newName: {repository}, digest: {digest}}}")
        else:
            repository, _, tag = image.rpartition(":")
            lines.append(f"  - {{name: {name}, newName: {repository}, newTag: {tag}}}")
    return "\n".join(lines) + "\n"


def _compile(function: Any, **how: Any) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "compiled.yaml"
        kfp.compiler.Compiler().compile(function, str(path), **how)
        return path.read_text()


def write(check: bool = False, release: bool = False, out: Path | None = None) -> list[Path]:
    """Writes the generated files.

    Args:
        check: Only compare.
        release: Refuse images that are not named by digest.
        out: A folder that gets the YAML files instead of the checkout's own folders.

    Returns:
        The files that were not up to date.

    Raises:
        UserError: An image of a release is named by a tag, which can move.
    """
    for variable, image in (("TAMIS_IMAGE_CORE", images.CORE), ("TAMIS_IMAGE_GPU", images.GPU)):
        if release and "@sha256:" not in image:
            raise UserError(f"a release names images by digest, not {image}; set {variable}=NAME@sha256:…")
    files = generated()
    if out:
        files = {out / path.parent.name / path.name: text for path, text in files.items() if path.suffix == ".yaml"}
    stale = [(path, text) for path, text in files.items() if not path.exists() or path.read_text() != text]
    for path, text in stale:
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return [path for path, _ in stale]
