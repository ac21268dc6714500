"""Compiles every component and pipeline to YAML, or says which compiled file is out of date."""

import tempfile
from pathlib import Path

import kfp.compiler
import tamis.components
import tamis.pipelines

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
    wanted[pipelines / "select_and_finetune" / "pipeline.yaml"] = select_and_finetune
    return {path: _compile(function) for path, function in wanted.items()}


def _compile(function: object) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "compiled.yaml"
        kfp.compiler.Compiler().compile(function, str(path))
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
