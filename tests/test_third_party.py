"""A method in somebody else's wheel is found, listed, checked, run and selected by name, like ours."""

import json
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tamis.testing import make_model

PACKAGE = Path(__file__).parent / "third_party"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that has all of ours and, installed from its wheel, the package."""
    folder = tmp_path_factory.mktemp("third-party")
    shutil.copytree(PACKAGE, folder / "source")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = ["wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, folder / "source"]
    subprocess.run([*pip, *map(str, wheel)], check=True)
    (built,) = folder.glob("tamis_wordy-1.2.3-*.whl")
    venv.create(folder / "env", with_pip=False)
    made = folder / "env" / "bin" / "python"
    (packages,) = (folder / "env" / "lib").glob("python*/site-packages")
    ours = [path for path in site.getsitepackages() if Path(path).is_dir()]
    (packages / "ours.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in ours))
    install = ["--python", made, "install", "--no-deps", "--no-index", built]
    subprocess.run([*pip, *map(str, install)], check=True)
    return made


def tamis(python: Path, *args: object) -> str:
    code = "import sys; from tamis.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run([python, "-c", code, *map(str, args)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_method_from_another_wheel_is_used_by_name(python: Path, tmp_path: Path) -> None:
    assert "wordiness" not in tamis(Path(sys.executable), "methods")
    assert "\nwordiness\n  paper: none\n  needs: only the pool\n" in tamis(python, "methods")
    shown = tamis(python, "methods", "wordiness")
    assert "tamis-wordy 1.2.3" in shown and "weight = 1.0: What a word counts." in shown

    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps({"prompt": f"q{n}", "response": "word " * n}) + "\n" for n in range(1, 8)))
    tamis(python, "prepare", pool, "--out", tmp_path / "prepared")
    model = make_model(tmp_path / "model")
    methods = ["--method", "wordiness", "--method", "length"]
    reading = ["--model", model, "--dtype", "float32", "--set", "wordiness.weight=10"]
    tamis(python, "score", tmp_path / "prepared", *methods, *reading, "--out", tmp_path / "scores")
    scored = pq.read_table(tmp_path / "scores" / "shard-00000.parquet").to_pylist()
    assert sorted(row["wordiness"] for row in scored) == [10.0 * n for n in range(1, 8)]

    chosen = ["--scores", tmp_path / "scores", *methods, "--budget", "3", "--set", "wordiness.weight=10"]
    other = ["--set", "selectors.length.selector=every-other"]
    tamis(python, "select", tmp_path / "prepared", *chosen, *other, "--out", tmp_path / "selections")
    for arm in ("wordiness", "length"):
        told = json.loads((tmp_path / "selections" / arm / "arm.json").read_text())
        assert (told["selector"], told["origin"]) == ("every-other", "tamis-wordy 1.2.3")
        rows = pq.read_table(tmp_path / "selections" / arm / "selected.parquet").to_pylist()
        assert [len(row["messages"][1]["content"].split()) for row in rows] == [7, 5, 3]
