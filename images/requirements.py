"""Prints what an image installs before the project itself: `python requirements.py IMAGE TORCH`.

The list depends on the dependencies alone, so a change of code leaves the layer that holds torch as it is.
"""

import re
import sys
import tomllib
from pathlib import Path


def requirements(image: str, torch: str, project: dict, constraints: str) -> list[str]:
    """Requirements of an image.

    Args:
        image: `core` (what needs no model) or `gpu` (what needs one, too).
        torch: `cpu` or `cuda`: which of the builds of the pinned version.
        project: The table `project` of pyproject.toml.
        constraints: Text of constraints.txt, which pins torch.

    Returns:
        Lines for `pip install --requirement`; torch is named by its exact build, which a mere `==` would leave open.
    """
    extras = project["optional-dependencies"]
    core = [*project["dependencies"], *extras["registry"], *extras["submit"]]
    if image == "core":
        return core
    (version,) = re.findall(r"^torch==(\S+)$", constraints, re.MULTILINE)
    build = {"cpu": f"torch==={version}+cpu", "cuda": f"torch==={version}"}[torch]
    return [*core, build, *(line for line in extras["lm"] if not re.match(r"torch\b", line))]


if __name__ == "__main__":
    table = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    print("\n".join(requirements(*sys.argv[1:], table, Path("constraints.txt").read_text())))
