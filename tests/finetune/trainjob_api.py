"""A Kubernetes API server as far as a launcher sees it: real HTTP, real watches, TrainJobs checked by their schema.

What the controllers would do, a test does: `set_condition`, `add_pod`. Faults are queued and met by the next requests.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob

TOKEN = "only-for-this-test"
NAMESPACE = "team"
JOBS = f"/apis/trainer.kubeflow.org/v1alpha1/namespaces/{NAMESPACE}/trainjobs"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
Object = dict[str, Any]


class ApiServer:
    """The cluster's state, and the server that shows it.

    Attributes:
        jobs: TrainJobs by name.
        pods: Pods by name.
        logs: What pods print, by name.
        faults: A status, "reset" or seconds of silence, for the next requests.
        on_create: Called with each new TrainJob, as controllers are.
        requests: All methods and paths.
        compacted: Changes up to this resourceVersion are forgotten.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, Object] = {}
        self.pods: dict[str, Object] = {}
        self.logs: dict[str, list[str]] = {}
        self.faults: deque[int | float | str] = deque()
        self.on_create: list[Callable[[Object], None]] = []
        self.requests: list[str] = []
        self.compacted = 0
        self.gone_in_stream = False
        self.changed = threading.Condition()
        self._version = 100
        self._events: list[tuple[int, str, Object]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"api": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def kubeconfig(self, folder: Path) -> Path:
        content = {
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self._server.server_port}"}}],
            "users": [{"name": "u", "user": {"token": TOKEN}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}],
            "current-context": "x",
        }
        (folder / "kubeconfig").write_text(yaml.safe_dump(content))
        return folder / "kubeconfig"

    def tell(self, kind: str, job: Object) -> Object:
        """Records a change of a TrainJob and wakes the watches."""
        with self.changed:
            self._version += 1
            job["metadata"]["resourceVersion"] = str(self._version)
            self._events.append((self._version, kind, json.loads(json.dumps(job))))
            self.changed.notify_all()
        return job

    def create(self, job: Object) -> Object:
        job["metadata"] |= {"uid": f"uid-{self._version}", "namespace": NAMESPACE}
        self.jobs[job["metadata"]["name"]] = job
        self.tell("ADDED", job)
        for controller in self.on_create:
            threading.Thread(target=controller, args=(job,), daemon=True).start()
        return job

    def delete(self, name: str) -> None:
        self.tell("DELETED", self.jobs.pop(name))

    def set_condition(self, name: str, kind: str, holds: bool = True, reason: str = "", message: str = "") -> None:
        conditions = self.jobs[name].setdefault("status", {}).setdefault("conditions", [])
        conditions[:] = [one for one in conditions if one["type"] != kind]
        conditions.append({"type": kind, "status": str(holds), "reason": reason, "message": message})
        self.tell("MODIFIED", self.jobs[name])

    def add_pod(self, job: str, index: int, state: Object, phase: str = "Running") -> str:
        name = f"{job}-node-0-{index}"
        self.pods[name] = {
            "metadata": {
                "name": name,
                "uid": f"{name}-uid",
                "labels": {"jobset.sigs.k8s.io/jobset-name": job},
                "annotations": {"batch.kubernetes.io/job-completion-index": str(index)},
            },
            "spec": {"containers": [{"name": "node", "image": "i"}]},
            "status": {"phase": phase, "containerStatuses": [{"name": "node", "state": state, **_STATUS}]},
        }
        return name

    def forget(self) -> None:
        """What etcd's compaction does: watches from before now are gone."""
        self.compacted = self._version + 1
        self._version += 1

    def since(self, version: int) -> list[tuple[int, str, Object]]:
        return [event for event in self._events if event[0] > version]


_STATUS = {"image": "i", "imageID": "i", "ready": True, "restartCount": 0}


class _Handler(BaseHTTPRequestHandler):
    api: ApiServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(lambda path, query: self._post(path, body))

    def do_DELETE(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(self._delete)

    def _answer(self, what: Callable[[str, dict[str, str]], None]) -> None:
        parts = urlsplit(self.path)
        self.api.requests.append(f"{self.command} {self.path}")
        if self.api.faults:
            fault = self.api.faults.popleft()
            if fault == "reset":
                self.close_connection = True
                self.connection.close()
                return
            if isinstance(fault, int):
                return self._refuse(fault, "Fault", "asked for by the test")
            time.sleep(float(fault))
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self._refuse(401, "Unauthorized", "Unauthorized")
        what(parts.path, {key: values[0] for key, values in parse_qs(parts.query).items()})

    def _send(self, content: Object, status: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _refuse(self, status: int, reason: str, message: str) -> None:
        self._send(_status(status, reason, message), status)

    def _get(self, path: str, query: dict[str, str]) -> None:
        api, name = self.api, path.rpartition("/")[2]
        if path == JOBS and query.get("watch"):
            self._watch(int(query["resourceVersion"]), float(query["timeoutSeconds"]))
        elif path.startswith(JOBS + "/"):
            found = api.jobs.get(name)
            self._send(found) if found else self._refuse(404, "NotFound", f'trainjobs "{name}" not found')
        elif path == PODS:
            key, _, value = query["labelSelector"].partition("=")
            items = [pod for pod in api.pods.values() if pod["metadata"].get("labels", {}).get(key) == value]
            self._send({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
        elif path.startswith(PODS) and name == "log":
            pod = path.split("/")[-2]
            self._stream([line.encode() + b"\n" for line in api.logs.get(pod, [])])
        elif path.startswith(PODS) and name in api.pods:
            self._send(api.pods[name])
        else:
            self._refuse(404, "NotFound", f"{path} not found")

    def _post(self, path: str, body: Object) -> None:
        name = body["metadata"]["name"]
        if path != JOBS:
            return self._refuse(404, "NotFound", "the server could not find the requested resource")
        if name in self.api.jobs:
            return self._refuse(409, "AlreadyExists", f'trainjobs "{name}" already exists')
        model = TrainerV1alpha1TrainJob.from_dict(body)
        if model is None or model.to_dict() != body:  # a field that the schema does not have is lost on the way
            return self._refuse(400, "BadRequest", "strict decoding error")
        self._send(self.api.create(body), 201)

    def _delete(self, path: str, _: dict[str, str]) -> None:
        name = path.rpartition("/")[2]
        if name not in self.api.jobs:
            return self._refuse(404, "NotFound", f'trainjobs "{name}" not found')
        self.api.delete(name)
        self._send(_status(200, "", "", "Success"))

    def _watch(self, version: int, seconds: float) -> None:
        api, end = self.api, time.monotonic() + seconds
        if version < api.compacted:
            gone = _status(410, "Expired", f"too old resource version: {version}")
            if api.gone_in_stream:
                return self._stream([json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n"])
            return self._send(gone, 410)
        self._begin_chunks()
        while time.monotonic() < end:
            with api.changed:
                events = api.since(version) or (api.changed.wait(0.05) and api.since(version)) or []
            for changed, kind, job in events:
                self._chunk(json.dumps({"type": kind, "object": job}).encode() + b"\n")
                version = changed
            if version < api.compacted:
                break  # the connection ends, and the client comes again with an old version
        self._chunk(b"")

    def _stream(self, lines: list[bytes]) -> None:
        self._begin_chunks()
        for line in lines:
            self._chunk(line)
        self._chunk(b"")

    def _begin_chunks(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        try:
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()
        except OSError:  # the client has gone
            self.close_connection = True


def _status(code: int, reason: str, message: str, status: str = "Failure") -> Object:
    return {"kind": "Status", "apiVersion": "v1", "status": status, "code": code, "reason": reason, "message": message}
