"""The few calls to the Kubernetes API that a launcher makes, each tried again while the server cannot answer."""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from tamis.errors import TamisError, UserError
from tamis.finetune.trainjob.spec import GROUP, PLURAL, VERSION

T = TypeVar("T")

PATIENCE = 600.0
"""Seconds for which a server that does not answer is asked again; the nodes train on meanwhile."""
PAUSE = 1.0
"""Seconds before the first new try; each further one waits twice as long, up to half a minute."""
WATCH = 60
"""Seconds after which a watch is begun anew, so that a connection that died silently is noticed."""
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_BUSY = (408, 429, 500, 502, 503, 504)


class Cluster:
    """TrainJobs of one namespace, and their pods."""

    def __init__(self, namespace: str = "") -> None:
        """Connects as the pod's service account, or outside a cluster as kubectl would.

        Raises:
            UserError: Neither is there.
        """
        settings = client.Configuration()
        try:
            if (_ACCOUNT / "token").exists():
                config.load_incluster_config(client_configuration=settings)
                own = (_ACCOUNT / "namespace").read_text().strip()
            else:
                config.load_kube_config(client_configuration=settings)
                own = config.list_kube_config_contexts()[1]["context"].get("namespace", "default")
        except (config.ConfigException, OSError) as error:
            raise UserError(f"launcher=trainjob needs a cluster: {error}") from error
        settings.retries = 0  # tried again here, where it is told
        self.namespace = namespace or own
        self.account_namespace = own
        connection = client.ApiClient(settings)
        self.objects, self.core = client.CustomObjectsApi(connection), client.CoreV1Api(connection)
        self.place: dict[str, Any] = {"group": GROUP, "version": VERSION, "namespace": self.namespace, "plural": PLURAL}

    def create(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """Creates a TrainJob; None if there is one of that name."""
        try:
            return dict(self._ask(self.objects.create_namespaced_custom_object, body=body, **self.place))
        except ApiException as error:
            if error.status == 409:
                return None
            if error.status == 404:
                raise UserError(
                    "this cluster has no TrainJobs; install Kubeflow Trainer 2, or use launcher=in-pod"
                ) from None
            raise self._refused("create", error) from None

    def get(self, name: str) -> dict[str, Any] | None:
        """Reads a TrainJob; None if there is none."""
        try:
            return dict(self._ask(self.objects.get_namespaced_custom_object, name=name, **self.place))
        except ApiException as error:
            if error.status == 404:
                return None
            raise self._refused("get", error) from None

    def delete(self, name: str, patience: float = PATIENCE) -> None:
        """Deletes a TrainJob with its pods; one that is not there is no error."""
        how = {"body": client.V1DeleteOptions(propagation_policy="Background"), "patience": patience}
        try:
            self._ask(self.objects.delete_namespaced_custom_object, name=name, **how, **self.place)
        except ApiException as error:
            if error.status != 404:
                raise self._refused("delete", error) from None

    def states(self, name: str) -> Iterator[dict[str, Any] | None]:
        """What becomes of a TrainJob: the object, now and after each change; None once it is deleted.

        The last state is given again from time to time, so that the caller can look at the clock.
        """
        state = self.get(name)
        while state is not None:
            yield state
            version = state["metadata"]["resourceVersion"]
            how = {
                "field_selector": f"metadata.name={name}",
                "resource_version": version,
                "timeout_seconds": WATCH,
                "_request_timeout": (10, WATCH + 15),
            }
            events = watch.Watch()
            try:
                for event in events.stream(self.objects.list_namespaced_custom_object, **how, **self.place):
                    if event["type"] == "DELETED":
                        yield None
                        return
                    if event["type"] in ("ADDED", "MODIFIED"):
                        state = event["object"]
                        yield state
            except ApiException as error:
                # 410: so much has changed that the server cannot tell it all any more. Read it anew.
                if error.status not in (410, *_BUSY):
                    raise self._refused("watch", error) from None
                time.sleep(PAUSE)
            except (HTTPError, OSError, ValueError):
                time.sleep(PAUSE)
            state = self.get(name)
        yield None

    def pods(self, name: str) -> list[Any]:
        """The pods of a TrainJob."""
        label = f"jobset.sigs.k8s.io/jobset-name={name}"
        return list(self.core.list_namespaced_pod(self.namespace, label_selector=label, _request_timeout=30).items)

    def log(self, pod: str, since: int | None) -> Any:
        """Follows what a pod prints: the open response."""
        return self.core.read_namespaced_pod_log(
            pod,
            self.namespace,
            container="node",
            follow=True,
            since_seconds=since,
            _preload_content=False,
            _request_timeout=(10, 3600),
        )

    def launcher(self) -> tuple[str, dict[str, Any] | None]:
        """Image of the pod that this runs in, and what it belongs to (its workflow, else itself) as an owner reference.

        Both are empty outside a pod, or where the pod cannot be read or is of another namespace.
        """
        name = os.environ.get("KFP_POD_NAME") or os.environ.get("POD_NAME")
        if not name or self.namespace != self.account_namespace:
            return "", None
        try:
            pod = self._ask(self.core.read_namespaced_pod, name=name, namespace=self.namespace)
        except ApiException as error:
            print(f"the pod {name} cannot be read ({error.status}): the TrainJob gets no owner", file=sys.stderr)
            return "", None
        containers = {one.name: one.image for one in pod.spec.containers}
        owner = next((one for one in pod.metadata.owner_references or [] if one.controller), None)
        if owner:
            found = {"apiVersion": owner.api_version, "kind": owner.kind, "name": owner.name, "uid": owner.uid}
        else:
            found = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": pod.metadata.uid}
        return str(containers.get("main") or next(iter(containers.values()))), found

    def _ask(self, call: Callable[..., T], *, patience: float | None = None, **arguments: Any) -> T:
        """Makes a call, again and again while the server is away or too busy.

        Raises:
            ApiException: It answered that it will not.
            TamisError: It did not answer for too long.
        """
        patience = PATIENCE if patience is None else patience
        end, pause = time.monotonic() + patience, PAUSE
        while True:
            try:
                return call(**arguments, _request_timeout=(10, 60))
            except ApiException as error:
                if error.status not in _BUSY:
                    raise
                reason, asked = f"{error.status} {error.reason}", (error.headers or {}).get("Retry-After", "")
            except (HTTPError, OSError) as error:
                reason, asked = type(error).__name__, ""
            wait = float(asked) if asked.isdigit() else pause * random.uniform(0.5, 1.0)
            if time.monotonic() + wait > end:
                raise TamisError(f"the Kubernetes API has not answered for {patience:.0f} s: {reason}")
            time.sleep(wait)
            pause = min(2 * pause, 30.0)

    def _refused(self, verb: str, error: ApiException) -> TamisError:
        try:
            said = str(json.loads(error.body)["message"])
        except (ValueError, KeyError, TypeError):
            said = str(error.reason)
        if error.status in (401, 403):
            return UserError(
                f"this service account may not {verb} trainjobs in {self.namespace}; give it the Role of "
                f"manifests/base ({said[:200]})"
            )
        return UserError(f"the cluster refuses to {verb} the TrainJob: {said[:500]}")
