"""The fine-tune step: what it refuses before it starts, and one whole training through torchrun."""

import fcntl
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tamis.errors import TamisError, UserError
from tamis.finetune import TrainingSettings, finetune
from tamis.finetune.examples import read_selection
from tamis.finetune.result import read_result
from tamis.finetune.work import WORK, last_checkpoint, move_model, work_folder
from tamis.lm.engine import Engine
from tamis.lm.load import load
from tamis.lm.observations import Loss
from tamis.pool.rows import Row, to_table
from tamis.settings import parse


@pytest.fixture
def selected(row: Callable[..., Row], tmp_path: Path) -> Path:
    folder = tmp_path / "selection"
    folder.mkdir()
    rows = [row(f"What is {i} plus {i + 1}?", f"It is {2 * i + 1}." * (1 + i % 3)) for i in range(7)]
    pq.write_table(to_table([*rows, row("word " * 400, "Yes.")]), folder / "selected.parquet")
    return folder


def test_the_learning_rate_follows_the_method() -> None:
    assert TrainingSettings().rate == 2e-5
    assert TrainingSettings(method="lora").rate == 2e-4
    assert TrainingSettings(method="lora", learning_rate=1e-3).rate == 1e-3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"learning_rates": 1}, "did you mean 'learning_rate'"),
        ({"zero_stage": 4}, "'zero_stage'"),
        ({"epochs": 0}, "'epochs'"),
        ({"dtype": "float16"}, "'dtype'"),
        ({"method": "qlora"}, "'method'"),
    ],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse(TrainingSettings, values, "training")


def test_a_form_may_send_whole_numbers_as_floats() -> None:
    assert parse(TrainingSettings, {"batch_size": 4.0, "lora_targets": ["q_proj"]}, "training").batch_size == 4


class TestRefusedBeforeTheLaunch:
    def refused(self, selected: Path, model: object, out: Path, said: str, **settings: object) -> None:
        with pytest.raises(UserError, match=said):
            finetune(selected, str(model), out, TrainingSettings(**settings), template="chat")  # type: ignore[arg-type]

    def test_no_row_that_can_be_learned_from(
        self, row: Callable[..., Row], selected: Path, small_model: Path, tmp_path: Path
    ) -> None:
        rows = [row("word " * 90, "Yes."), row("word " * 80, "No."), row("Say it.", "")]
        pq.write_table(to_table(rows), selected / "selected.parquet")
        said = "no row to train on: 2 x the prompt alone fills the 64 tokens.*1 x the answer is empty"
        self.refused(selected, small_model, tmp_path / "out", said, max_length=64)
        assert not (tmp_path / "out").exists()

    def test_an_empty_selection(self, selected: Path, small_model: Path, tmp_path: Path) -> None:
        pq.write_table(to_table([]), selected / "selected.parquet")
        self.refused(selected, small_model, tmp_path / "out", "it is empty")

    def test_no_selection(self, small_model: Path, tmp_path: Path) -> None:
        self.refused(tmp_path, small_model, tmp_path / "out", "selected.parquet is missing")

    def test_no_model(self, selected: Path, tmp_path: Path) -> None:
        self.refused(selected, tmp_path / "nowhere", tmp_path / "out", "no such folder")
        self.refused(selected, "nobody/nothing", tmp_path / "out", "model 'nobody/nothing' cannot be loaded")

    def test_a_model_without_a_tokenizer(self, selected: Path, small_model: Path, tmp_path: Path) -> None:
        bare = tmp_path / "bare"
        bare.mkdir()
        shutil.copy(small_model / "config.json", bare)
        self.refused(selected, bare, tmp_path / "out", "has no tokenizer")

    def test_a_layer_that_the_model_does_not_have(self, selected: Path, small_model: Path, tmp_path: Path) -> None:
        said = "no linear layer 'qproj'; did you mean 'q_proj'"
        self.refused(selected, small_model, tmp_path / "out", said, method="lora", lora_targets=("v_proj", "qproj"))

    def test_a_folder_of_something_else(self, selected: Path, small_model: Path, tmp_path: Path) -> None:
        out = tmp_path / "model"
        shutil.copytree(small_model, out)
        self.refused(selected, small_model, out, "holds files of something else")
        self.refused(selected, small_model, selected / "selected.parquet", "is a file")

    def test_a_folder_in_which_somebody_trains(self, selected: Path, small_model: Path, tmp_path: Path) -> None:
        work = tmp_path / "out" / WORK
        work.mkdir(parents=True)
        with (work / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.refused(selected, small_model, tmp_path / "out", "another process is training into")


class TestWorkFolder:
    def checkpoint(self, work: Path, step: int, whole: bool = True) -> Path:
        folder = work / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        if whole:
            (folder / "whole").touch()
        return folder

    def test_only_the_newest_whole_checkpoint_is_kept(self, tmp_path: Path) -> None:
        work = tmp_path / WORK
        for step, whole in ((2, True), (10, True), (12, False)):
            self.checkpoint(work, step, whole)
        assert last_checkpoint(work) == str(work / "checkpoint-10")
        with work_folder(tmp_path, {"rows": "a"}):
            assert [c.name for c in work.glob("checkpoint-*")] == ["checkpoint-10"]

    def test_checkpoints_of_another_training_are_not_thrown_away(self, tmp_path: Path) -> None:
        with work_folder(tmp_path, {"rows": "a", "settings": {"seed": 1}}) as (work, _):
            self.checkpoint(work, 2)
        with (
            pytest.raises(UserError, match=r"settings.seed 1 \(now 2\)"),
            work_folder(tmp_path, {"rows": "a", "settings": {"seed": 2}}),
        ):
            pass
        assert (tmp_path / WORK / "checkpoint-2").exists()

    def test_without_a_checkpoint_another_training_may_begin(self, tmp_path: Path) -> None:
        with work_folder(tmp_path, {"rows": "a"}) as (work, _):
            (work / "result.json").write_text("{}")
        with work_folder(tmp_path, {"rows": "b"}) as (work, _):
            assert not (work / "result.json").exists()
            assert json.loads((work / "identity.json").read_text()) == {"rows": "b"}

    def test_the_configuration_is_moved_last(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        model = tmp_path / "model"
        model.mkdir()
        for name in ("a.json", "config.json", "model.safetensors", "tokenizer.json"):
            (model / name).touch()
        moved: list[str] = []
        monkeypatch.setattr("os.replace", lambda source, target: moved.append(Path(target).name))
        move_model(model, tmp_path)
        assert moved[-1] == "config.json"
        assert len(moved) == 4


def test_a_folder_without_result_is_unfinished(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no finished training"):
        read_result(tmp_path)
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(UserError, match="not what a training writes"):
        read_result(tmp_path)


def test_a_training_from_beginning_to_end(selected: Path, small_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "tuned"
    settings = TrainingSettings(batch_size=4, epochs=4, learning_rate=3e-4, max_length=96, zero_stage=2, seed=3)
    first = finetune(selected, str(small_model), out, settings, template="chat")

    assert (first.rows, first.steps, len(first.losses)) == (7, 8, 8)
    assert first.skipped == {"the prompt alone fills the 96 tokens that the model may read": 1}
    assert first.final_loss < 0.7 * first.losses[0]
    assert 0 < first.answer_tokens < first.tokens / 4
    assert first.seconds < first.total_seconds
    assert not (out / WORK).exists()
    assert {file.suffix for file in out.iterdir()} <= {".json", ".safetensors", ".jinja"}

    # It is a model like any other, in the type that it was trained in, and it has learned the rows.
    engine_of = {
        name: Engine(load(str(folder), "float32"), "chat", 96)
        for name, folder in (("before", small_model), ("after", out))
    }
    assert json.loads((out / "config.json").read_text())["dtype"] == "float32"
    rows = read_selection(selected)[:7]
    losses = {n: e.observe(rows, {"loss": Loss("answer+end")})["loss"].mean() for n, e in engine_of.items()}
    assert losses["after"] < 0.6 * losses["before"]

    # The same again is not trained again; another one is refused and says why.
    stamps = {file.name: file.stat().st_mtime_ns for file in out.iterdir()}
    again = finetune(selected, str(small_model), out, settings, template="chat")
    assert again == first == read_result(out)
    assert {file.name: file.stat().st_mtime_ns for file in out.iterdir()} == stamps
    with pytest.raises(UserError, match=r"settings.seed 3 \(now 4\)"):
        finetune(selected, str(small_model), out, settings.model_copy(update={"seed": 4}), template="chat")
    with pytest.raises(UserError, match=r"template 'chat' \(now 'alpaca'\)"):
        finetune(selected, str(small_model), out, settings, template="alpaca")


def test_a_training_that_fails_says_why_and_leaves_no_model(selected: Path, small_model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(small_model, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    out = tmp_path / "out"
    with pytest.raises(TamisError, match="the training failed: .*SafetensorError.*training.log") as failed:
        finetune(selected, str(broken), out, TrainingSettings(max_steps=1), template="chat")
    assert not isinstance(failed.value, UserError)
    assert [file.name for file in out.iterdir()] == [WORK]
