"""Checkpoints and models in a workspace, without a training: what is sent, what is fetched, what is refused."""

import threading
from pathlib import Path

import pytest

from tamis import store
from tamis.errors import TamisError
from tamis.finetune import checkpoints
from tamis.finetune.workspace import Workspace, hold

SHARED = ("trainer_state.json", "latest", "scheduler.pt", "global_step4/mp_rank_00_model_states.pt")
OWN = ("rng_state_{}.pth", "global_step4/bf16_zero_pp_rank_{}_mp_rank_00_optim_states.pt")


@pytest.fixture(params=["s3", "local"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.getfixturevalue("bucket")) if request.param == "s3" else str(tmp_path / "workspace")


def written(folder: Path, ranks: tuple[int, ...], content: str) -> Path:
    """A checkpoint as the processes of one machine write it."""
    names = [name.format(rank) for rank in ranks for name in OWN] + list(SHARED if 0 in ranks else ())
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{content} {name}")
    return folder


def send(location: str, step: int, folders: list[Path]) -> None:
    """What two processes do, each with the folder of its machine."""
    together = threading.Barrier(2)
    threads = [
        threading.Thread(target=checkpoints.publish, args=(folder, location, step, rank, 2, together.wait))
        for rank, folder in enumerate(folders)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def files(folder: str | None) -> set[str]:
    assert folder
    return {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("trainer_state.json", "shared"),
        ("mp_rank_00_model_states.pt", "shared"),
        ("rng_state.pth", "rank-00000"),
        ("rng_state_12.pth", "rank-00012"),
        ("zero_pp_rank_3_mp_rank_00_model_states.pt", "rank-00003"),
        ("bf16_zero_pp_rank_10_mp_rank_00_optim_states.pt", "rank-00010"),
    ],
)
def test_a_file_belongs_to_the_process_that_wrote_it(name: str, part: str) -> None:
    assert checkpoints.part_of(name) == part


def test_two_machines_send_their_parts_and_fetch_what_they_need(uri: str, tmp_path: Path) -> None:
    machines = [written(tmp_path / f"machine-{rank}" / "c", (rank,), "first") for rank in (0, 1)]
    send(uri, 4, machines)
    assert checkpoints.last(uri) == 4
    (tmp_path / "new").mkdir()
    got = checkpoints.restore(uri, tmp_path / "new", [1])
    assert files(got) == {name.format(1) for name in OWN} | set(SHARED)
    assert (Path(got or "") / OWN[1].format(1)).read_text() == f"first {OWN[1].format(1)}"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["checkpoint-4"]


def test_processes_of_one_machine_do_not_send_twice(uri: str, tmp_path: Path) -> None:
    folder = written(tmp_path / "machine" / "c", (0, 1), "both")
    send(uri, 4, [folder, folder])
    parts = {name.split("/")[1] for name, _ in store.list_keys(uri)}
    assert parts == {"complete.json", "shared", "rank-00000", "rank-00001"}
    sent = [name for name, _ in store.list_keys(uri) if "manifest" not in name]
    assert len(sent) == len(SHARED) + 2 * len(OWN) + 1


def test_only_the_newest_complete_one_counts(uri: str, tmp_path: Path) -> None:
    folder = written(tmp_path / "machine" / "c", (0, 1), "x")
    assert checkpoints.last(uri) is None
    assert checkpoints.restore(uri, tmp_path, [0]) is None
    send(uri, 4, [folder, folder])
    send(uri, 8, [folder, folder])
    assert {name.split("/")[0] for name, _ in store.list_keys(uri)} == {"step-00000008"}
    store.write_bytes(store.join(uri, "step-00000012", "shared", "latest"), b"cut off here")
    assert checkpoints.last(uri) == 8
    checkpoints.remove(uri)
    assert checkpoints.last(uri) is None


def test_a_part_of_another_checkpoint_is_refused(uri: str, tmp_path: Path) -> None:
    send(uri, 4, [written(tmp_path / "machine" / "c", (0, 1), "first")] * 2)
    part = store.join(uri, "step-00000004", "rank-00001")
    store.upload_folder(written(tmp_path / "other", (1,), "second"), part)
    with pytest.raises(TamisError, match="rank-00001 is of another checkpoint"):
        checkpoints.restore(uri, tmp_path, [1])


def test_a_published_model_is_found_by_what_it_was_made_from(uri: str, tmp_path: Path) -> None:
    place, other = Workspace(uri, {"rows": "a"}), Workspace(uri, {"rows": "b"})
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_text("weights")
    store.write_bytes(store.join(place.checkpoints, "step-00000004", "complete.json"), b"{}")
    place.publish(model, {"losses": [1.0], "model_uri": None})
    assert place.finished() == {"losses": [1.0], "model_uri": None}
    assert other.finished() is None
    assert checkpoints.last(place.checkpoints) is None
    assert store.read_manifest(place.model).about["identity"] == {"rows": "a"}
    place.point(tmp_path / "out")
    assert place.model in (tmp_path / "out" / "training.json").read_text()


def test_one_trains_and_the_other_learns_who(uri: str) -> None:
    place = Workspace(uri, {"rows": "a"})
    with hold(place.checkpoints), pytest.raises(TamisError, match="is held by"), hold(place.checkpoints):
        pass
