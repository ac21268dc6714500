"""Compiles every component and pipeline to YAML, or says which compiled file is out of date."""

import tempfile
from pathlib import Path

import kfp.compiler
import kfp.compiler.compiler_utils
import tamis.components
import tamis.pipelines
from tamis.components import images
from tamis.pipelines.submit import COMPILED, PIPELINE, version_name

COMPONENTS = ("prepare", "advise", "fit", "score", "select", "finetune", "evaluate", "report", "publish")


def compiled() -> dict[Path, str]:
    """What each compiled file should hold, by its path."""
    from importlib import import_module

    from tamis.pipelines.select_and_finetune import select_and_finetune

    components, pipelines = Path(tamis.components.__path__[0]), Path(tamis.pipelines.__path__[0])
    wanted = {
        components / name / "component.yaml": getattr(import_module(f"tamis.components.{name}"), name)
        for name in COMPONENTS
    }
    wanted[COMPILED] = select_and_finetune
    files = {path: _compile(function) for path, function in wanted.items()}
    manifests = pipelines.parent / "manifests" / "components"
    if manifests.is_dir():  # in a checkout
        files[manifests / "images" / "kustomization.yaml"] = images_component(images.CORE, images.GPU)
        version = kfp.compiler.compiler_utils.KubernetesManifestOptions(
            pipeline_name=PIPELINE,
            pipeline_version_name=version_name(files[COMPILED]),
            pipeline_version_display_name=version_name(files[COMPILED]),
            include_pipeline_manifest=True,
        )
        files[manifests / "kubernetes-store" / "pipeline.yaml"] = _compile(
            select_and_finetune, kubernetes_manifest_format=True, kubernetes_manifest_options=version
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


def _compile(function: object, **how: object) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "compiled.yaml"
        kfp.compiler.Compiler().compile(function, str(path), **how)
        return path.read_text()


def write(check: bool) -> list[Path]:
    """Writes the compiled files.

    Args:
        check: Only compare.

    Returns:
        The files that were not up to date.
    """
    stale = [(path, text) for path, text in compiled().items() if not path.exists() or path.read_text() != text]
    for path, text in stale:
        if not check:
            path.write_text(text)
    return [path for path, _ in stale]
