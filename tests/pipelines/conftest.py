"""A small run, and a double of the Kubeflow Pipelines API server: it speaks v2beta1 and has the real refusals."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kfp_server_api as kfp
import pytest
import yaml

from tamis import store

CLIENT = kfp.ApiClient()


class Refusal(Exception):
    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        self.status, self.message, self.headers = status, message, headers or {}


def strict(model: Any, body: dict[str, Any]) -> Any:
    """The model that a request's JSON describes; a field that the API does not have is refused."""
    names = {name: attribute for attribute, name in model.attribute_map.items()}
    if unknown := set(body) - set(names):
        raise Refusal(400, f"unknown fields {sorted(unknown)}")
    values = {}
    for name, value in body.items():
        kind = model.openapi_types[names[name]]
        inner = getattr(kfp, kind, None)
        values[names[name]] = strict(inner, value) if inner and getattr(inner, "openapi_types", None) else value
    return model(**values)


class KfpServer:
    """What the double keeps, how it is set up, and the faults that it should show."""

    def __init__(self) -> None:
        self.multi_user, self.store, self.token = False, "database", ""
        self.pipelines: list[Any] = []
        self.versions: list[Any] = []
        self.experiments: list[Any] = []
        self.runs: list[Any] = []
        self.schedules: list[Any] = []
        self.uploaded: list[bytes] = []
        self.states: list[str] = []  # what the next looks at a run find
        self.page = 100
        self.seen: list[tuple[str, str, str]] = []  # method, path, Authorization
        self.faults: list[dict[str, Any]] = []
        self.before_run: Callable[[], None] = lambda: None
        self.html = False
        self.lock = threading.RLock()

    def fail(self, method: str, path: str, status: int, times: int = 1, done: bool = False, **more: Any) -> None:
        """The next requests fail: status 0 hangs up. `done`: only the answer is lost, the work is done."""
        self.faults.append({"method": method, "path": path, "status": status, "times": times, "done": done, **more})

    def count(self, method: str, path: str) -> int:
        return sum(m == method and p.endswith(path) for m, p, _ in self.seen)

    def add(self, kept: list[Any], model: Any, **ids: str) -> Any:
        for name, prefix in ids.items():
            setattr(model, name, f"{prefix}-{len(kept)}")
        model.created_at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=len(kept))
        kept.append(model)
        return model

    def new_run(self, name: str, state: str) -> Any:
        experiment = self.experiments[0].experiment_id
        return self.add(
            self.runs, kfp.V2beta1Run(display_name=name, state=state, experiment_id=experiment), run_id="run"
        )

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes, headers: Any) -> Any:
        if self.token and headers.get("Authorization") != f"Bearer {self.token}":
            raise Refusal(401, "Failed to authenticate: there is no user identity header")
        if path == "/healthz":
            return kfp.V2beta1GetHealthzResponse(multi_user=self.multi_user, pipeline_store=self.store)
        if path == "/experiments":
            if (method == "GET" and bool(query.get("namespace")) != self.multi_user) or (
                method == "POST" and bool(json.loads(body).get("namespace")) != self.multi_user
            ):
                raise Refusal(400, "namespace is wanted in multi-user mode, and only there")
            if method == "GET":
                found = [e for e in self.experiments if (e.namespace or "") == query.get("namespace", "")]
                return self.listed(kfp.V2beta1ListExperimentsResponse, "experiments", found, query)
            made = strict(kfp.V2beta1Experiment, json.loads(body))
            self.unique(self.experiments, made)
            return self.add(self.experiments, made, experiment_id="experiment")
        if path.startswith("/pipelines"):
            return self.pipeline(method, path, query, body, headers)
        runs = ("runs", kfp.V2beta1Run, self.runs, "run_id", kfp.V2beta1ListRunsResponse, "runs")
        schedules = ("recurringruns", kfp.V2beta1RecurringRun, self.schedules, "recurring_run_id")
        schedules += (kfp.V2beta1ListRecurringRunsResponse, "recurringRuns")
        for name, model, kept, item, response, items in (runs, schedules):
            if path == f"/{name}" and method == "GET":
                found = [x for x in reversed(kept) if x.experiment_id == query["experiment_id"]]
                return self.listed(response, items, found, query)
            if path == f"/{name}" and method == "POST":
                self.before_run()
                made = strict(model, json.loads(body))
                version = made.pipeline_version_reference
                if version.pipeline_id not in [p.pipeline_id for p in self.pipelines]:
                    raise Refusal(404, f"Pipeline {version.pipeline_id} not found")
                if name == "runs":
                    made.state = "PENDING"
                    if version.pipeline_version_id not in [v.pipeline_version_id for v in self.versions]:
                        raise Refusal(404, f"PipelineVersion {version.pipeline_version_id} not found")
                return self.add(kept, made, **{item: name})
            if path.startswith(f"/{name}/"):
                (thing,) = [x for x in kept if getattr(x, item) == path.split("/")[2]] or [None]
                if thing is None:
                    raise Refusal(404, f"{path} not found")
                if method == "DELETE":
                    kept.remove(thing)
                    return {}
                if name == "runs" and self.states:
                    thing.state = self.states.pop(0)
                return thing
        raise Refusal(404, f"Not Found: {method} {path}")

    def pipeline(self, method: str, path: str, query: dict[str, str], body: bytes, headers: Any) -> Any:
        if match := re.fullmatch("/pipelines/names/(.+)", path):
            for pipeline in self.pipelines:
                if (pipeline.name, pipeline.namespace or "") == (match[1], query.get("namespace", "")):
                    return pipeline
            raise Refusal(404, f"Namespace/Pipeline {match[1]} not found")
        if path == "/pipelines" and method == "POST":
            made = strict(kfp.V2beta1Pipeline, json.loads(body))
            self.unique(self.pipelines, made)
            return self.add(self.pipelines, made, pipeline_id="pipeline")
        if match := re.fullmatch("/pipelines/([^/]+)/versions", path):
            found = [v for v in self.versions if v.pipeline_id == match[1]]
            return self.listed(kfp.V2beta1ListPipelineVersionsResponse, "pipeline_versions", found, query)
        if path == "/pipelines/upload_version":
            parts = BytesParser().parsebytes(b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n" + body)
            (part,) = parts.get_payload()
            made = kfp.V2beta1PipelineVersion(
                name=query["name"], display_name=query["display_name"], pipeline_id=query["pipelineid"]
            )
            self.unique(self.versions, made)
            self.uploaded.append(part.get_payload(decode=True))
            return self.add(self.versions, made, pipeline_version_id="version")
        raise Refusal(404, f"Not Found: {method} {path}")

    def unique(self, kept: list[Any], made: Any) -> None:
        if any(x.display_name == made.display_name for x in kept):
            raise Refusal(409, f"The name {made.display_name} already exists. Please specify a new name")

    def listed(self, response: Any, items: str, found: list[Any], query: dict[str, str]) -> dict[str, Any]:
        for predicate in json.loads(query.get("filter", '{"predicates": []}'))["predicates"]:
            if self.store == "kubernetes" and predicate["operation"] != "IS_SUBSTRING":
                raise Refusal(400, "filter eq is not supported by the Kubernetes pipeline store")
            assert predicate["key"] == "display_name" and predicate["operation"] == "IS_SUBSTRING"
            found = [x for x in found if predicate["stringValue"] in x.display_name]
        start = int(query.get("page_token") or 0)
        stop = start + min(self.page, int(query["page_size"]))
        assert items in response.attribute_map.values()
        page = {items: [CLIENT.sanitize_for_serialization(x) for x in found[start:stop]]}
        return page | ({"next_page_token": str(stop)} if stop < len(found) else {})


@pytest.fixture
def kfp_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[KfpServer]:
    """The double, on a port of this machine, named by the environment."""
    server = KfpServer()

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            parts = urlsplit(self.path)
            path = parts.path.removeprefix("/apis/v2beta1")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with server.lock:
                server.seen.append((self.command, path, self.headers.get("Authorization", "")))
                fault = next(
                    (f for f in server.faults if f["times"] and (f["method"], f["path"]) == (self.command, path)), None
                )
                headers, status, told = {}, 200, b""
                if fault:
                    fault["times"] -= 1
                try:
                    if not fault or fault["done"] or "delay" in fault:
                        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                        made = server.answer(self.command, path, query, body, self.headers)
                        told = json.dumps(CLIENT.sanitize_for_serialization(made)).encode()
                    if fault and "delay" not in fault:
                        raise Refusal(fault["status"], fault.get("message", "try later"), fault.get("headers"))
                except Refusal as refusal:
                    status, headers = refusal.status, refusal.headers
                    told = json.dumps({"error": refusal.message, "code": 2, "message": refusal.message}).encode()
            if fault and "delay" in fault:
                time.sleep(fault["delay"])
            if server.html:
                told = b"<html><title>Log in</title></html>"
            if status == 0:
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        do_GET = do_POST = do_DELETE = handle_one

        def log_message(self, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", f"http://127.0.0.1:{http.server_port}")
    for name in ("KF_PIPELINES_UI_ENDPOINT", "KF_PIPELINES_SA_TOKEN_PATH", "KF_PIPELINES_DEFAULT_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    yield server
    http.shutdown()
    http.server_close()


@pytest.fixture
def config(tmp_path: Path, small_model: Path, bucket: str) -> Path:
    """A small run whose rows, models and release are in the store."""

    def lines(name: str, start: int, stop: int) -> str:
        rows = [
            {"prompt": f"What comes after {i}?", "response": f"After {i} comes {i + 1}."} for i in range(start, stop)
        ]
        store.write_bytes(f"{bucket}/{name}", "".join(json.dumps(r) + "\n" for r in rows).encode())
        return f"{bucket}/{name}"

    values = {
        "pool": lines("pool.jsonl", 0, 12),
        "target": lines("target.jsonl", 20, 22),
        "heldout": lines("heldout.jsonl", 30, 36),
        "model": str(small_model),
        "methods": ["length", "rds"],
        "budget": "3",
        "random_seeds": [0],
        "preparation": {"shard_rows": 8},
        "training": {"max_steps": 1, "batch_size": 2},
        "workspace": f"{bucket}/work",
        "release": "numbers/1",
        "publication": {"only_if": "always", "arm": "rds"},
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(values))
    return path
