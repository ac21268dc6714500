"""Models by reference: from the store into the local cache, safetensors only, and no code that nobody asked for."""

import json
import shutil
from pathlib import Path

import pytest

from tamis import store
from tamis.errors import UserError
from tamis.lm.load import digest, load, resolve

CODE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM

Path("{marker}").touch()

class OwnConfig(LlamaConfig):
    model_type = "own"

class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""


def test_a_model_in_the_store_is_read_into_the_cache_once(small_model: Path, bucket: str, tmp_path: Path) -> None:
    manifest = store.upload_folder(small_model, f"{bucket}/model")
    here = Path(resolve(f"{bucket}/model"))
    assert here == tmp_path / "cache" / manifest.digest
    assert digest(here) == digest(small_model)  # the manifest is no part of the model
    changed = {path: path.stat().st_ctime_ns for path in here.iterdir()}
    assert resolve(bucket.replace("s3://", "minio://") + "/model") == str(here)
    assert {path: path.stat().st_ctime_ns for path in here.iterdir()} == changed
    ours, theirs = load(f"{bucket}/model", "float32"), load(str(small_model), "float32")
    assert ours.identity["digest"] == theirs.identity["digest"]


def test_a_training_that_published_its_model_elsewhere_is_followed(
    small_model: Path, bucket: str, tmp_path: Path
) -> None:
    store.upload_folder(small_model, f"{bucket}/models/abc")
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "training.json").write_text(json.dumps({"model_uri": f"{bucket}/models/abc"}))
    assert digest(Path(resolve(str(tmp_path / "tuned")))) == digest(small_model)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{bucket}/none", "not a published folder"),
        ("{bucket}/data", "no config.json there"),
        ("s3://no-such-bucket/model", "no such bucket"),
        ("hf://org/name", "HF_HUB_OFFLINE is set"),
        ("gs://bucket/model", "unknown scheme 'gs://'"),
    ],
)
def test_what_is_no_model_is_said(bucket: str, tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.jsonl").write_text("{}")
    store.upload_folder(tmp_path / "data", f"{bucket}/data")
    with pytest.raises(UserError, match=message):
        resolve(name.format(bucket=bucket))


def test_pickled_weights_are_not_read(small_model: Path, tmp_path: Path) -> None:
    shutil.copytree(small_model, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").rename(tmp_path / "model" / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be loaded"):
        load(str(tmp_path / "model"), "float32")


def test_a_models_own_code_runs_only_if_the_model_is_named(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder, marker = tmp_path / "own", tmp_path / "ran"
    shutil.copytree(small_model, folder)
    (folder / "own.py").write_text(CODE.replace("{marker}", str(marker)))
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}}
    (folder / "config.json").write_text(json.dumps(config))
    for trusted in ((), ("another",)):
        with pytest.raises(UserError, match="brings code of its own, which is not run"):
            load(str(folder), "float32", trusted)
    assert not marker.exists()
    assert load(str(folder), "float32", [str(folder)]).layers
    assert marker.exists()
