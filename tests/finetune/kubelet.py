"""What a cluster does with a TrainJob, on this machine: a process a node, with a disk and an environment of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from trainjob_api import ApiServer

Secrets = dict[str, dict[str, str]]


class Kubelet:
    """Starts the nodes of each new TrainJob and reports their end; when one fails, all are started again.

    Attributes:
        attempts: The processes of each start, by node.
    """

    def __init__(self, api: ApiServer, disk: Path, secrets: Secrets, restarts: int = 0) -> None:
        self.api, self.disk, self.secrets, self.restarts = api, disk, secrets, restarts
        self.attempts: list[list[subprocess.Popen[bytes]]] = []
        api.on_create.append(self.run)

    def run(self, job: dict[str, Any]) -> None:
        name = job["metadata"]["name"]
        for _ in range(self.restarts + 1):
            if self._once(job, name):
                return self.api.set_condition(name, "Complete", reason="JobsCompleted", message="jobset completed")
        self.api.set_condition(name, "Failed", reason="JobsFailed", message="jobset failed")

    def _once(self, job: dict[str, Any], name: str) -> bool:
        trainer = job["spec"]["trainer"]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        nodes = []
        for rank in range(trainer["numNodes"]):
            disk = self.disk / f"attempt-{len(self.attempts)}" / f"node-{rank}"
            disk.mkdir(parents=True)
            pet = {
                "PET_NNODES": str(trainer["numNodes"]),
                "PET_NPROC_PER_NODE": str(trainer["numProcPerNode"]),
                "PET_NODE_RANK": str(rank),
                "PET_MASTER_ADDR": "127.0.0.1",
                "PET_MASTER_PORT": str(port),
            }
            values = {one["name"]: one["value"] for one in trainer["env"]}
            command = [sys.executable, *trainer["command"][1:], *trainer["args"]]
            own = {"TMPDIR": str(disk), "TAMIS_CACHE": str(disk / "cache"), "GLOO_SOCKET_IFNAME": "lo"}
            environment = self._inherited() | values | self._secret(job, disk) | pet | own
            with (disk / "log").open("wb") as log:
                nodes.append(
                    subprocess.Popen(command, cwd=disk, env=environment, stdout=log, stderr=log, start_new_session=True)
                )
        self.attempts.append(nodes)
        while all(node.poll() in (None, 0) for node in nodes) and any(node.poll() is None for node in nodes):
            time.sleep(0.05)
        good = all(node.poll() == 0 for node in nodes)
        for rank, node in enumerate(nodes):
            if node.poll() is None:
                os.killpg(node.pid, signal.SIGKILL)
                node.wait()
            said = (self.disk / f"attempt-{len(self.attempts) - 1}" / f"node-{rank}" / "log").read_text()[-2000:]
            end = {"exitCode": abs(node.returncode), "reason": "Error" if node.returncode else "Completed"}
            self.api.add_pod(name, rank, {"terminated": end | {"message": said}}, "Succeeded" if good else "Failed")
        return good

    def _inherited(self) -> dict[str, str]:
        """This process's environment without what leads to the store: a node gets that from its TrainJob alone."""
        return {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "TAMIS_"))}

    def _secret(self, job: dict[str, Any], disk: Path) -> dict[str, str]:
        """Mounts the Secret that the TrainJob names for the runtime's volume `store`, as the kubelet does: as files."""
        (patch,) = job["spec"]["runtimePatches"]
        (node,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
        (volume,) = node["template"]["spec"]["template"]["spec"]["volumes"]
        assert volume["name"] == "store"
        folder = disk / "secret"
        folder.mkdir()
        for key, value in self.secrets[volume["secret"]["secretName"]].items():
            (folder / key).write_text(value)
        return {"TAMIS_S3_SECRET_DIR": str(folder)}
