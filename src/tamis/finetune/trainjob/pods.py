"""What the pods of a TrainJob print and why they end, as far as it can be learned: nothing depends on it."""

import sys
import threading
import time
from typing import Any

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from tamis.finetune.trainjob.cluster import Cluster

PAUSE = 3.0
"""Seconds between two looks at the pods."""


class Pods:
    """Follows the log of node 0 and the ends of all containers, in the background, for a block."""

    def __init__(self, cluster: Cluster, job: str) -> None:  # noqa: D107
        self.cluster, self.job = cluster, job
        self._ended: dict[str, str] = {}
        self._followed: set[str] = set()
        self._done = threading.Event()

    def __enter__(self) -> "Pods":
        """Begins to follow."""
        threading.Thread(target=self._watch, name="tamis-pods", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it; a line that arrives now is lost."""
        self._done.set()

    def reasons(self) -> str:
        """Why containers ended that did not end well, for the end of an error."""
        self._look()
        found = [f"{pod} {why}" for pod, why in sorted(self._ended.items())]
        return f"; {'; '.join(found)[:1500]}" if found else ""

    def _watch(self) -> None:
        while not self._done.is_set():
            for pod in self._look():
                first = pod.metadata.annotations or {}
                if first.get("batch.kubernetes.io/job-completion-index") == "0" and pod.status.phase == "Running":
                    if pod.metadata.uid not in self._followed:
                        self._followed.add(pod.metadata.uid)
                        threading.Thread(target=self._print, args=(pod.metadata.name,), daemon=True).start()
            self._done.wait(PAUSE)

    def _look(self) -> list[Any]:
        try:
            pods = self.cluster.pods(self.job)
        except (ApiException, HTTPError, OSError):
            return []
        for pod in pods:
            for status in pod.status.container_statuses or []:
                for state in (status.state, status.last_state):
                    end = state and state.terminated
                    if end and end.exit_code:
                        said = (end.message or "").strip().splitlines()
                        self._ended[pod.metadata.name] = f"{end.reason} (exit {end.exit_code})" + (
                            f": {said[-1][:300]}" if said else ""
                        )
        return pods

    def _print(self, pod: str) -> None:
        """Prints a pod's log; when the connection breaks it goes on, with what the server still has of the gap."""
        since, seen = None, time.monotonic()
        while not self._done.is_set():
            try:
                for line in self.cluster.log(pod, since):
                    sys.stderr.write(line.decode(errors="replace"))
                    seen = time.monotonic()
                return
            except ApiException:
                return
            except (HTTPError, OSError):
                since = int(time.monotonic() - seen) + 1
                self._done.wait(PAUSE)
