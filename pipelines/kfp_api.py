"""The few calls of the Kubeflow Pipelines API (v2beta1) that starting a run takes.

It uses the generated client and not `kfp.Client`, which waits for ever on a cancelled run, has no time-outs, and gives
up when the server is busy. Looking is tried again by urllib3. Making is tried again here, and only after looking
whether the request whose answer was lost has been carried out.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kfp_server_api as kfp
import urllib3
from kfp_server_api.exceptions import ApiException

from tamis.errors import TamisError, UserError

TIMEOUT = (10.0, 60.0)  # seconds to connect, and of silence
PAUSE = 1.0  # seconds before the second try; it doubles
TRIES = 6
LOOK = 15.0  # seconds between two looks at a run that is waited for
PASSING = (0, 429, 500, 502, 503, 504)  # may be over at the next try; 0: no answer at all
OVER = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")
FAILED = ("FAILED", "CANCELED", "CANCELING")


@dataclass(frozen=True)
class Cluster:
    """Where and as whom to start runs.

    Attributes:
        endpoint: URL of the pipelines API, such as http://ml-pipeline.kubeflow:8888.
        namespace: Where the runs live; only asked for in multi-user mode, there the pod's own by default.
        experiment: What the runs are listed under; made if it is not there.
        service_account: Of the pods of the runs; empty for the cluster's default.
        ui: URL of the pages, for links; empty for `endpoint`.
        token_file: Holds a token of a service account; read for each request, since it is renewed there.
    """

    endpoint: str
    namespace: str = ""
    experiment: str = "tamis"
    service_account: str = ""
    ui: str = ""
    token_file: str = ""

    def __post_init__(self) -> None:
        """Refuses an address that cannot be one, without repeating what may hold a password."""
        try:
            parts = urlsplit(self.endpoint)
            good = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
        except ValueError:
            good = False
        if not good:
            raise UserError("where is the pipelines API? give --endpoint http://host:port or set KF_PIPELINES_ENDPOINT")

    def link(self, run_id: str) -> str:
        """The page of a run."""
        return f"{(self.ui or self.endpoint).rstrip('/')}/#/runs/details/{run_id}"


@contextmanager
def connect(cluster: Cluster) -> Iterator["Api"]:
    """The API, once it has shown that it is one and lets us in.

    Raises:
        UserError: It refuses something, for a reason that the message gives.
        TamisError: It does not answer, or fails again and again.
    """
    where = cluster.endpoint
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it warns of each try that is not the last
    try:
        yield Api(cluster)
    except ApiException as error:
        raise _told(error, cluster) from None
    except urllib3.exceptions.HTTPError as error:
        cause = getattr(error, "reason", None) or error
        raise TamisError(f"{where} does not answer: {' '.join(str(cause).split())[:200]}") from None


class Api:
    """Finds and makes pipelines, runs and schedules."""

    def __init__(self, cluster: Cluster) -> None:
        """Asks how the API server is set up."""
        self.cluster = cluster
        config = kfp.Configuration(host=cluster.endpoint.rstrip("/"))
        config.ssl_ca_cert = os.environ.get("SSL_CERT_FILE") or None
        config.retries = urllib3.Retry(
            total=TRIES - 1,
            backoff_factor=PAUSE,
            status_forcelist=[status for status in PASSING if status],
            allowed_methods={"GET", "DELETE"},
            raise_on_status=False,
        )
        if cluster.token_file:
            config.api_key_prefix["authorization"] = "Bearer"
            config.api_key["authorization"] = ""
            config.refresh_api_key_hook = self._read_token
        client = kfp.ApiClient(config)
        self.experiments, self.pipelines = kfp.ExperimentServiceApi(client), kfp.PipelineServiceApi(client)
        self.runs, self.schedules = kfp.RunServiceApi(client), kfp.RecurringRunServiceApi(client)
        self.uploads = kfp.PipelineUploadServiceApi(client)
        try:
            setup = self._call(kfp.HealthzServiceApi(client).healthz_service_get_healthz)
            multi_user, store = setup.multi_user, setup.pipeline_store
        except (AttributeError, TypeError, KeyError, ValueError):  # the client cannot read a page that asks to log in
            multi_user = store = None
        if multi_user is None and store is None:
            where = cluster.endpoint
            raise UserError(f"{where} answers, but not as the pipelines API does (perhaps with a page to log in)")
        self.in_kubernetes = store == "kubernetes"
        namespace = (cluster.namespace or _own_namespace()) if multi_user else ""
        if multi_user and not namespace:
            raise UserError("this is a multi-user installation: give --namespace")
        self.scope = {"namespace": namespace} if namespace else {}  # a single-user server refuses to be given one

    def version(self, pipeline: str, name: str, compiled: Path) -> tuple[str, str]:
        """The ids of a pipeline and of its version, uploaded if the API server keeps pipelines in its database.

        Raises:
            UserError: It keeps them in Kubernetes, and this version has not been applied there.
        """
        for wait in (*_pauses(), None):
            parent = self._pipeline(pipeline)
            found = parent and self._version(parent.pipeline_id, name)
            if found:
                return parent.pipeline_id, found.pipeline_version_id
            if not self.in_kubernetes:
                break
            if wait is not None:  # what was just applied may take a moment to be seen
                time.sleep(wait)
        if self.in_kubernetes:
            raise UserError(
                f"{name} is not there, and this server keeps pipelines in Kubernetes: apply the manifests first"
            )
        body = kfp.V2beta1Pipeline(name=pipeline, display_name=pipeline, **self.scope)
        parent, _ = _once(
            lambda: self._pipeline(pipeline),
            lambda: self._call(self.pipelines.pipeline_service_create_pipeline, body),
        )
        named = {"name": name, "display_name": name, "pipelineid": parent.pipeline_id}
        found, _ = _once(
            lambda: self._version(parent.pipeline_id, name),
            lambda: self._call(self.uploads.upload_pipeline_version, str(compiled), **named),
        )
        return parent.pipeline_id, found.pipeline_version_id

    def experiment(self) -> str:
        """The id of the experiment."""
        service, name = self.experiments, self.cluster.experiment
        body = kfp.V2beta1Experiment(display_name=name, **self.scope)
        found, _ = _once(
            lambda: self._first(service.experiment_service_list_experiments, "experiments", name, **self.scope),
            lambda: self._call(service.experiment_service_create_experiment, body),
        )
        return str(found.experiment_id)

    def run(self, name: str, values: dict[str, Any], pipeline: str, version: str) -> tuple[Any, bool]:
        """The oldest run of this name that has not failed, or a new one; and whether it is new."""
        service, experiment = self.runs, self.experiment()

        def oldest() -> Any:
            found = self._named(service.run_service_list_runs, "runs", name, experiment_id=experiment)
            live = [run for run in found if run.state not in FAILED]
            return min(live, key=lambda run: (run.created_at, run.run_id), default=None)

        body = kfp.V2beta1Run(
            experiment_id=experiment,
            display_name=name,
            pipeline_version_reference=kfp.V2beta1PipelineVersionReference(pipeline, version),
            runtime_config=kfp.V2beta1RuntimeConfig(parameters=values),
            service_account=self.cluster.service_account or None,
        )
        run, new = _once(oldest, lambda: self._call(service.run_service_create_run, body))
        first = oldest() if new else run
        if first and first.run_id != run.run_id:  # two asked at once and both found nothing: the later one yields
            self._delete(service.run_service_delete_run, run.run_id)
            return first, False
        return run, new

    def wait(self, run_id: str) -> Any:
        """The run once it is over. An API server that is away for some minutes does not end the waiting."""
        failures = 0
        while True:
            try:
                run = self._call(self.runs.run_service_get_run, run_id)
                failures = 0
                if run.state in OVER:
                    return run
            except (ApiException, urllib3.exceptions.HTTPError) as error:
                failures += 1
                if getattr(error, "status", 0) not in PASSING or failures == 10:
                    raise
            time.sleep(LOOK)

    def schedule(self, name: str, values: dict[str, Any], pipeline: str, cron: str) -> str:
        """Makes a recurring run, makes it again or leaves it alone; says which.

        There is no call that changes one, so one that differs is deleted and made again.
        """
        service, experiment = self.schedules, self.experiment()
        body = kfp.V2beta1RecurringRun(
            experiment_id=experiment,
            display_name=name,
            mode="ENABLE",
            no_catchup=True,
            max_concurrency="1",
            pipeline_version_reference=kfp.V2beta1PipelineVersionReference(pipeline, ""),  # empty: the newest
            runtime_config=kfp.V2beta1RuntimeConfig(parameters=values),
            service_account=self.cluster.service_account or None,
            trigger=kfp.V2beta1Trigger(cron_schedule=kfp.V2beta1CronSchedule(cron=cron)),
        )

        def existing() -> list[Any]:
            listing = service.recurring_run_service_list_recurring_runs
            return self._named(listing, "recurring_runs", name, experiment_id=experiment)

        old = existing()
        if len(old) == 1 and _same(old[0], body):
            return "unchanged"
        for recurring in old:
            self._delete(service.recurring_run_service_delete_recurring_run, recurring.recurring_run_id)
        _once(
            lambda: next((schedule for schedule in existing() if _same(schedule, body)), None),
            lambda: self._call(service.recurring_run_service_create_recurring_run, body),
        )
        return "replaced" if old else "created"

    def _pipeline(self, name: str) -> Any:
        try:
            return self._call(self.pipelines.pipeline_service_get_pipeline_by_name, name, **self.scope)
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def _version(self, pipeline_id: str, name: str) -> Any:
        listing = self.pipelines.pipeline_service_list_pipeline_versions
        return self._first(listing, "pipeline_versions", name, pipeline_id=pipeline_id)

    def _first(self, listing: Callable[..., Any], items: str, name: str, **scope: Any) -> Any:
        return next(iter(self._named(listing, items, name, **scope)), None)

    def _named(self, listing: Callable[..., Any], items: str, name: str, **scope: Any) -> list[Any]:
        # By substring, since a server that keeps pipelines in Kubernetes has no other filter.
        wanted = json.dumps({"predicates": [{"operation": "IS_SUBSTRING", "key": "display_name", "stringValue": name}]})
        found: list[Any] = []
        token = ""
        while True:
            page = self._call(listing, filter=wanted, page_size=100, page_token=token, **scope)
            found += [item for item in getattr(page, items) or [] if item.display_name == name]
            token = page.next_page_token
            if not token:
                return found

    def _delete(self, method: Callable[..., Any], item: str) -> None:
        try:
            self._call(method, item)
        except ApiException as error:
            if error.status != 404:
                raise

    def _call(self, method: Callable[..., Any], *args: Any, **values: Any) -> Any:
        return method(*args, _request_timeout=TIMEOUT, **values)

    def _read_token(self, config: Any) -> None:
        path = self.cluster.token_file
        try:
            config.api_key["authorization"] = Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            raise UserError(f"KF_PIPELINES_SA_TOKEN_PATH={path} cannot be read: {reason}") from None


def _once(find: Callable[[], Any], make: Callable[[], Any]) -> tuple[Any, bool]:
    """What is found, or is made; and whether it was made now."""
    for wait in (*_pauses(), None):
        if (found := find()) is not None:
            return found, False
        try:
            return make(), True
        except (ApiException, urllib3.exceptions.HTTPError) as error:
            if wait is None or getattr(error, "status", 0) not in (*PASSING, 409):  # 409: someone has just made it
                raise
            asked = str((getattr(error, "headers", None) or {}).get("Retry-After", ""))
            time.sleep(min(60.0, max(wait, float(asked))) if asked.isdigit() else wait)
    raise AssertionError("the last round returns or raises")


def _pauses() -> list[float]:
    return [PAUSE * 2**i for i in range(TRIES - 1)]


def _same(one: Any, other: Any) -> bool:
    """Whether two recurring runs do the same; the server adds to what it was given."""

    def does(schedule: Any) -> tuple[Any, ...]:
        version, cron = schedule.pipeline_version_reference, schedule.trigger and schedule.trigger.cron_schedule
        return (
            schedule.mode,
            cron and cron.cron,
            version and (version.pipeline_id, version.pipeline_version_id or ""),
            schedule.runtime_config and schedule.runtime_config.parameters,
        )

    account = one.service_account == other.service_account or not other.service_account
    return account and does(one) == does(other)


def _told(error: ApiException, cluster: Cluster) -> TamisError:
    try:
        body = json.loads(error.body)
        message = body.get("message") or body.get("error") or error.reason
    except (TypeError, ValueError, AttributeError):
        message = error.reason
    message, where = " ".join(str(message).split())[:300], cluster.endpoint
    match error.status:
        case 401:
            does = "rejects the token" if cluster.token_file else "wants a token"
            return UserError(f"{where} {does} (401): KF_PIPELINES_SA_TOKEN_PATH names the file with one made for it")
        case 403:
            return UserError(f"{where} forbids it (403): {message}; the account needs a role that allows it")
        case 404:
            return UserError(f"{where} has nothing there (404): {message}; is it the pipelines API?")
        case status if status in PASSING:
            return TamisError(f"{where} failed {TRIES} times in a row ({status}): {message}")
        case status:
            return UserError(f"{where} refuses it ({status}): {message}")


def _own_namespace() -> str:
    try:
        return Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read_text().strip()
    except OSError:
        return ""
