"""What can be said of the images without building them."""

import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sysconfig.get_path("scripts"), "hadolint")
    done = subprocess.run([hadolint, ROOT / "images/Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def requirements(image: str, torch: str) -> list[str]:
    command = ["python", "images/requirements.py", image, torch]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")


@pytest.mark.parametrize("torch, build", [("cpu", "+cpu"), ("cuda", "")])
def test_torch_is_named_by_its_build(torch: str, build: str) -> None:
    (line,) = [line for line in requirements("gpu", torch) if line.startswith("torch")]
    (pinned,) = [line for line in (ROOT / "constraints.txt").read_text().split("\n") if line.startswith("torch==")]
    assert line == pinned.replace("==", "===") + build


def test_core_has_nothing_of_gpu() -> None:
    core, gpu = requirements("core", "cpu"), requirements("gpu", "cpu")
    assert set(core) < set(gpu)
    assert not [line for line in core if line.startswith(("torch", "transformers", "deepspeed", "lm-eval"))]
