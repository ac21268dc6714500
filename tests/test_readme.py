"""What the README shows works: its commands are understood, its example of a method is one, its files exist."""

import itertools
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from kustomize import KUBECTL

from tamis.cli import _parser
from tamis.finetune import TrainingSettings
from tamis.registry import check
from tamis.scorers import SCORERS, Scorer
from tamis.settings import parse

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.S)
COMMANDS = [
    line.split("#")[0].strip()
    for kind, block in BLOCKS
    if kind == "sh"
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip()
]


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("tamis ")])
def test_commands_are_understood(command: str) -> None:
    args = _parser().parse_args(shlex.split(command)[1:])
    for name in getattr(args, "method", None) or []:
        assert SCORERS[name]


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.startswith("tamis ")])
def test_other_commands_name_what_exists(command: str) -> None:
    words = shlex.split(command)
    if words[0] == "kubectl":  # tests/manifests builds what is applied; here, that kubectl has these options
        plain = itertools.takewhile(lambda word: not word.startswith("--"), words[1:4])
        told = [subprocess.check_output([KUBECTL, *of], text=True) for of in ([*plain, "--help"], ["options"])]
        for word, value in itertools.pairwise([*words, ""]):
            if word.startswith("--"):
                assert f"{word.partition('=')[0]}=" in "".join(told)
            if word in ("--kustomize", "--filename"):
                assert (ROOT / value).exists(), command
    elif words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), flags=re.M)
    else:
        script = f"{words[2].replace('.', '/')}.py" if words[1] == "-m" else words[1]
        assert words[0] == "python" and (ROOT / script).exists(), command


def test_the_example_method_is_one() -> None:
    (code,) = (block for kind, block in BLOCKS if kind == "python" and "Scorer" in block)
    names: dict[str, object] = {}
    exec(code, names)
    method = check("surprise", names["Surprise"], Scorer)
    got = method(method.Settings()).score({"loss": np.array([1.0])}, {})
    assert got == {"surprise": np.array([1.0])}


def test_the_example_of_nodes_is_understood() -> None:
    (block,) = (block for kind, block in BLOCKS if kind == "yaml" and "trainjob" in block)
    training = parse(TrainingSettings, yaml.safe_load(block)["training"], "training")
    assert (training.nodes, training.trainjob.gpus) == (4, 8)


def test_the_methods_table_names_every_method() -> None:
    table = README.split("## Methods")[1].split("## ")[0]
    for name in SCORERS.names():
        assert f"| `{name}` |" in table, name


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target
