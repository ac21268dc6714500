"""What is installed: every package is listed, the library stands on its own, imports point down and stay light."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FLOORS = {  # what a package of the library may import of the library
    "errors": set(),
    "settings": {"errors"},
    "registry": {"errors", "settings"},
    "store": {"errors", "settings"},
    "pool": {"errors", "settings", "registry", "store"},
    "lm": {"errors", "settings", "registry", "store", "pool"},
}


def test_every_package_is_listed() -> None:
    folders = {"src/tamis": "tamis", "components": "tamis.components", "pipelines": "tamis.pipelines"}
    found = set()
    for folder, name in folders.items():
        for file in (ROOT / folder).rglob("__init__.py"):
            inner = file.parent.relative_to(ROOT / folder).parts
            found.add(".".join([name, *inner]))
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(found)


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", sorted((ROOT / "src/tamis").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    used = imports(path)
    assert not any(name == "kfp" or name.startswith("kfp.") for name in used)
    inner = path.relative_to(ROOT / "src/tamis").parts[0].removesuffix(".py")
    if inner != "commands":
        assert not any(name.startswith(("tamis.components", "tamis.pipelines")) for name in used)
    for floor, allowed in FLOORS.items():
        if inner == floor:
            other = {name.split(".")[1] for name in used if name.startswith("tamis.") and name.count(".") >= 1}
            modules = {p.stem for p in (ROOT / "src/tamis").iterdir()}
            assert other & modules <= allowed | {floor}, path


@pytest.mark.parametrize("path", sorted((ROOT / "components").glob("*/component.py")), ids=lambda p: p.parent.name)
def test_components_hold_no_logic(path: Path) -> None:
    """One function, whose body imports from the library, calls it once and passes on what comes back."""
    tree = ast.parse(path.read_text())
    (function,) = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    assert function.name == path.parent.name
    assert not any(isinstance(node, ast.For | ast.While | ast.Try | ast.If) for node in ast.walk(function))
    runs = [n for n in ast.walk(function) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "run"]
    assert len(runs) == 1


@pytest.mark.parametrize("command", ["--help", "methods"])
def test_nothing_heavy_is_imported_before_it_is_needed(command: str) -> None:
    code = (
        "import sys; from tamis.cli import main\n"
        f"try: main([{command!r}])\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'transformers', 'datasets', 'kfp', 'peft', 'deepspeed', 'lm_eval', 'sklearn')"
        " if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "[]"
