"""The objects that kustomize makes of the manifests."""

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
OVERLAYS = sorted(path.name for path in (MANIFESTS / "overlays").iterdir())
COMPONENTS = sorted(path.name for path in (MANIFESTS / "components").iterdir())
KUBECTL = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or "kubectl"

Manifest = dict[str, Any]


@cache
def build(folder: Path) -> tuple[Manifest, ...]:
    """What `kubectl kustomize FOLDER` prints, object by object."""
    done = subprocess.run([KUBECTL, "kustomize", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # kustomize warns of what will soon be an error
    return tuple(yaml.safe_load_all(done.stdout))


def overlay(name: str) -> tuple[Manifest, ...]:
    """An overlay's objects, and the Argo CD application that syncs it."""
    application = MANIFESTS / "argocd" / f"{name}.yaml"
    return build(MANIFESTS / "overlays" / name) + tuple(
        yaml.safe_load_all(application.read_text()) if application.exists() else ()
    )


def jobs(manifest: Manifest) -> list[Manifest]:
    """The Job that an object is, or that a Sensor makes."""
    if manifest["kind"] == "Sensor":
        return [trigger["template"]["k8s"]["source"]["resource"] for trigger in manifest["spec"]["triggers"]]
    return [manifest] if manifest["kind"] == "Job" else []
