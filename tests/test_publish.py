"""Releases: whole, the same again is a no-op, other content under one version is refused, and only one at once."""

import json
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamis import store
from tamis.errors import TamisError, UserError
from tamis.publish import Publication, publish


def entry(value: float, verdict: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"estimate": {"value": value, "low": value, "high": value}, "items": 4}
    if verdict:
        found |= {"against_random": {"value": value - 1.3, "low": -1.0, "high": 1.0}, "verdict": verdict}
    return {"heldout": found}


@pytest.fixture
def given(tmp_path: Path, bucket: str) -> dict[str, Any]:
    """What a run leaves: a report of four arms, selections, and two published models."""
    arms = {
        "base": entry(1.4, "worse"),
        "random-0": entry(1.1, "better"),
        "ifd": entry(1.25, "not better"),
        "rds": entry(1.2, "better"),
    }
    selection = {"method": "rds", "selected": 2, "budget": "2", "sources": {"dolly": 1, "web": 1}, "digest": "d"}
    figures: dict[str, Any] = {
        "measures": ["heldout"],
        "random_arms": ["random-0"],
        "pool": {"pool": {"rows": 4, "digest": "p"}},
        "arms": {
            name: {
                "measures": measures,
                "selection": None if name == "base" else selection,
                "evaluation": {"model": {"model": f"{bucket}/models/{name}", "digest": name}},
            }
            for name, measures in arms.items()
        },
    }
    for name in ("ifd", "rds"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(name.encode() * 1000)
        (tmp_path / name / "config.json").write_text("{}")
        store.upload_folder(tmp_path / name, f"{bucket}/models/{name}", {"kind": "tuned model"})
        shutil.copytree(tmp_path / name, tmp_path / "selections" / name)
        table = pa.table({"id": ["a", "b"], "value": [0.1, 0.2], "reason": ["selected", "too far"]})
        pq.write_table(table, tmp_path / "selections" / name / "decisions.parquet")
        (tmp_path / "selections" / name / "arm.json").write_text(json.dumps(selection))
    (tmp_path / "report.json").write_text(json.dumps(figures))
    for name in ("report.html", "report.md"):
        (tmp_path / name).write_text("the report")
    return {
        "figures": tmp_path / "report.json",
        "page": tmp_path / "report.html",
        "summary": tmp_path / "report.md",
        "selections": tmp_path / "selections",
        "workspace": bucket,
        "release": "helpful/1.0",
    }


def test_a_release_is_whole_and_says_where_it_came_from(given: dict[str, Any], bucket: str, tmp_path: Path) -> None:
    result = publish(**given, options=Publication(licences={"dolly": "CC BY-SA 3.0"}), out=tmp_path / "o" / "r.json")
    assert (result.arm, result.uri) == ("rds", f"{bucket}/releases/helpful/1.0")
    assert json.loads((tmp_path / "o" / "r.json").read_text())["digest"] == result.digest
    manifest = store.download_folder(result.uri, tmp_path / "release")
    assert set(manifest.files) == {
        "model/config.json",
        "model/manifest.json",
        "model/model.safetensors",
        "report.html",
        "report.json",
        "report.md",
        "selection/arm.json",
        "selection/decisions.parquet",
    }
    assert (tmp_path / "release" / "model" / "model.safetensors").read_bytes() == b"rds" * 1000
    about = manifest.about
    assert about["licences"]["sources"] == {
        "dolly": {"rows": 1, "licence": "CC BY-SA 3.0"},
        "web": {"rows": 1, "licence": "not stated"},
    }
    assert about["lineage"]["model"]["uri"] == f"{bucket}/models/rds"
    assert about["lineage"]["base"]["digest"] == "base" and about["lineage"]["rows"]["pool"]["digest"] == "p"
    assert about["measures"]["heldout"]["verdict"] == "better"
    assert (store.fetch(f"{result.uri}/model") / "config.json").exists()  # the model alone, by its URI


def test_the_same_again_is_a_no_op_and_other_content_is_refused(given: dict[str, Any], bucket: str) -> None:
    first = publish(**given)
    before = {name: store.identify(store.join(first.uri, name)) for name, _ in store.list_keys(first.uri)}
    assert publish(**given) == first
    assert {name: store.identify(store.join(first.uri, name)) for name, _ in store.list_keys(first.uri)} == before
    given["summary"].write_text("another report")
    with pytest.raises(UserError, match=r"published already with other content \(report\.md\); choose another version"):
        publish(**given)
    assert publish(**given | {"release": "helpful/1.1"}).digest != first.digest


def test_an_interrupted_publication_is_none_and_is_finished_by_the_next(given: dict[str, Any], bucket: str) -> None:
    store.copy_folder(f"{bucket}/models/ifd", f"{bucket}/releases/helpful/1.0/model")  # as one that was killed
    with pytest.raises(UserError, match="not a published folder"):
        store.read_manifest(f"{bucket}/releases/helpful/1.0")
    result = publish(**given)
    assert store.read_bytes(f"{result.uri}/model/model.safetensors") == b"rds" * 1000


def test_only_what_is_better_is_published_unless_asked_otherwise(given: dict[str, Any], bucket: str) -> None:
    result = publish(**given, options=Publication(arm="ifd"))
    assert not result.published and result.why == "arm ifd is not better than random on heldout"
    assert not store.exists(f"{result.uri}/manifest.json")
    assert publish(**given, options=Publication(arm="ifd", only_if="always")).arm == "ifd"
    with pytest.raises(UserError, match="no arm 'rsd' in the report; did you mean 'rds'"):
        publish(**given, options=Publication(arm="rsd"))


def test_two_at_once_one_wins_and_the_other_says_who(given: dict[str, Any], bucket: str) -> None:
    with (
        store.claim(f"{bucket}/releases/helpful/1.0", run="publish"),
        pytest.raises(UserError, match="is held by run 'publish' on .* process"),
    ):
        publish(**given)


@pytest.mark.parametrize("release", ["helpful", "helpful/1/2", "../1", "helpful/..", "/1"])
def test_a_release_stays_in_its_folder(given: dict[str, Any], release: str) -> None:
    with pytest.raises(UserError, match="write name/version|unsafe name"):
        publish(**given | {"release": release})


class Registry(BaseHTTPRequestHandler):
    """Speaks as much of the Model Registry's REST API (v1) as its client uses; what was sent is kept."""

    kept: dict[str, list[dict[str, Any]]]
    seen: list[str]
    fails = False

    def log_message(self, *args: object) -> None:
        """Nothing."""

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _kind(self) -> tuple[str, dict[str, list[str]]]:
        parts = urlsplit(self.path)
        self.seen.append(f"{self.command} {parts.path}")
        return parts.path.removeprefix("/api/model_registry/v1/"), parse_qs(parts.query)

    def do_GET(self) -> None:
        path, query = self._kind()
        if self.fails:
            return self._answer(400, {"code": "400", "message": "no"})
        if path.endswith("s"):  # a list
            items = self.kept.get(path.rpartition("/")[2], [])
            return self._answer(200, {"items": items, "pageSize": len(items), "size": len(items), "nextPageToken": ""})
        found = [one for one in self.kept.get(f"{path}s", []) if one["name"] == query["name"][0]]
        return self._answer(200, found[0]) if found else self._answer(404, {"code": "404", "message": "not found"})

    def do_POST(self) -> None:
        path, _ = self._kind()
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind = "model_artifacts" if path.endswith("/artifacts") else path.rpartition("/")[2]
        made = sent | {"id": str(len(self.seen)), "createTimeSinceEpoch": "1", "lastUpdateTimeSinceEpoch": "1"}
        self.kept.setdefault(kind, []).append(made)
        self._answer(201, made)


@pytest.fixture
def registry() -> Iterator[ThreadingHTTPServer]:
    Registry.kept, Registry.seen, Registry.fails = {}, [], False
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def test_a_registry_gets_one_entry(given: dict[str, Any], bucket: str, registry: ThreadingHTTPServer) -> None:
    options = Publication(registry=f"http://127.0.0.1:{registry.server_port}")
    result = publish(**given, options=options)
    (model,), (version,), (artifact,) = (
        Registry.kept[kind] for kind in ("registered_models", "model_versions", "model_artifacts")
    )
    assert (model["name"], version["name"], artifact["uri"]) == ("helpful", "1.0", f"{result.uri}/model")
    shown = version["customProperties"]
    assert shown["manifest_digest"]["string_value"] == result.digest
    assert shown["heldout_verdict"]["string_value"] == "better" and shown["heldout"]["double_value"] == 1.2
    publish(**given, options=options)
    assert sum(len(kept) for kept in Registry.kept.values()) == 3
    artifact["uri"] = "s3://other/model"
    with pytest.raises(UserError, match="registered at .* with another model"):
        publish(**given, options=options)
    Registry.fails = True
    with pytest.raises(TamisError, match="is published, but not registered at"):
        publish(**given, options=options)
    with pytest.raises(UserError, match="its token is read from a file") as error:
        publish(**given, options=Publication(registry="http://user:planted@host"))
    assert "planted" not in str(error.value)
