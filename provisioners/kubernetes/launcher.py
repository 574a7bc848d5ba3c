"""Jobs on Kubernetes: started once for each key, watched all at once, explained in words."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from poolform.core.runs.launchers import JobStatus, Launcher, LaunchRefused, LogPage, NoCapacity, Unavailable
from poolform.core.runs.removed import Removed
from poolform.provisioners.kubernetes import manifest
from poolform.provisioners.kubernetes.logs import Cursor
from poolform.provisioners.kubernetes.orphans import LABEL
from poolform.provisioners.kubernetes.session import ApiError, Unreachable
from poolform.provisioners.kubernetes.status import cancelled, container_of, finished, status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from poolform.core.runs.launchers import Job, Json
    from poolform.provisioners.kubernetes.session import Cluster

_NAMED = 50  # most jobs that a selector names one by one; with more, all of the pool's are listed


class KubernetesLauncher(Launcher):
    """Launches jobs as Kubernetes Jobs of one pod, never retried.

    A job's key is its Job's name, and Kubernetes makes one Job of a name. The name is free again once the Job is
    removed, which Poolform does when its outcome is stored, and Kubernetes itself after a day at the earliest.
    """

    remembers: ClassVar[timedelta] = timedelta(seconds=manifest.SHORTEST_TTL - 3600)
    secrets: ClassVar[Literal["native", "plain", "none"]] = "native"
    payload_limit: ClassVar[int | None] = manifest.OBJECT_LIMIT
    threads: ClassVar[int] = 8

    def __init__(
        self, cluster: Cluster, settings: Mapping[str, Json], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._cluster, self._settings, self._clock = cluster, settings, clock
        self._namespace = str(settings["namespace"])
        self._pods: dict[str, tuple[str, str]] = {}
        self._removed = Removed(clock)  # they are listed until their pods are gone

    def prepare(self, job: Job) -> Json:
        """Return the Job that Kubernetes will be asked for."""
        return {"job": manifest.manifest(job, self._settings), "secret": bool(job.secrets)}

    def launch(self, job: Job) -> str:
        """Start `job`; replaying it starts nothing, and returns the same handle.

        Its secrets are there before it, and become its own after it: cut off in between, either is put right by a
        replay, by `remove`, or by `disconnect`.
        """
        request = job.request or self.prepare(job)
        name = request["job"]["metadata"]["name"]
        with _asking("launching", refusing=True):
            if request["secret"]:
                self._put_secret(job, name)
            try:
                made = self._made(job, request["job"], name)
            except (ApiError, LaunchRefused) as exc:
                if request["secret"] and (isinstance(exc, LaunchRefused) or exc.is_final):
                    with suppress(ApiError, Unreachable):
                        self._cluster.delete(self._at("secrets", name))
                raise
            if request["secret"]:
                self._cluster.patch(self._at("secrets", name), manifest.owned_by(made))
        return self._handle(name)

    def find(self, key: str) -> str | None:
        """Return the handle of the Job that was made for `key`."""
        name = manifest.job_name(key)
        with _asking("looking for a job"):
            try:
                found = self._cluster.get(self._at("jobs", name))
            except ApiError as exc:
                if exc.status != 404:
                    raise
                return None
        return self._handle(name) if _made_for(found, key) else None

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobStatus]:
        """Return the status of each job: one list of Jobs, one of pods. What is gone is left out."""
        by_name = {_name(handle): handle for handle in handles if handle not in self._removed}
        if not by_name:
            return {}
        selector = self._selector(list(by_name))
        with _asking("asking for jobs"):
            jobs = {item["metadata"]["name"]: item for item in self._items("jobs", selector)}
            pods = {item["metadata"]["labels"].get(manifest.JOB): item for item in self._items("pods", selector)}
            found: dict[str, JobStatus] = {}
            for name, handle in by_name.items():
                if name in jobs:
                    status = status_of(jobs[name], pods.get(name), self._clock(), partial(self._told, name))
                    if status is not None:
                        found[handle] = status
        return found

    def logs(self, handle: str, cursor: Json) -> LogPage:
        """Return what the job has printed since `cursor`. Done once it has ended and there is nothing more to read."""
        at, ended = Cursor.of(cursor), False
        with _asking("reading logs"):
            lines, at = self._read(handle, at, whole=False)
            if not lines:
                status = self.poll([handle]).get(handle)
                ended = status is None or status.state == "exited"
                if ended:  # what it printed between the two questions is there by now
                    lines, at = self._read(handle, at, whole=True)
        return LogPage(lines, at.to_json(), done=ended and not lines)

    def cancel(self, handle: str) -> None:
        """Have Kubernetes stop the job: SIGTERM, and SIGKILL after its grace period of thirty seconds.

        A deadline that has passed does that, and unlike a deletion it leaves the Job there to tell how it ended. It may
        be set while a Job runs, and the controller looks at once: `updateJob` and `pastActiveDeadline` in
        https://github.com/kubernetes/kubernetes/blob/master/pkg/controller/job/job_controller.go
        """
        path = self._at("jobs", _name(handle))
        stop = {"metadata": {"annotations": {manifest.CANCELLED: "true"}}, "spec": {"activeDeadlineSeconds": 1}}
        with _asking("stopping a job"):
            try:
                job = self._cluster.get(path)
                if finished(job) is None and not cancelled(job) and "deletionTimestamp" not in job["metadata"]:
                    self._cluster.patch(path, stop)
            except ApiError as exc:
                if exc.status != 404:
                    raise

    def remove(self, handle: str) -> None:
        """Delete the Job, its pod with its log, and its secrets."""
        name = _name(handle)
        with _asking("removing a job"):
            self._cluster.delete(self._at("jobs", name), propagationPolicy="Foreground")
            # They go with the Job; but a launch that was cut off may have left some that nobody owns.
            self._cluster.delete(self._at("secrets", name))
        self._pods.pop(handle, None)
        self._removed.add(handle)

    def close(self) -> None:
        """Close connections to the cluster."""
        self._cluster.close()

    def _made(self, job: Job, wanted: Mapping[str, Json], name: str) -> dict[str, Any]:
        """Make the Job and return it, or the one that an earlier launch made."""
        try:
            # Strict: a misspelt field of the manifest is refused by name, not dropped.
            return self._cluster.post(self._at("jobs"), wanted, fieldValidation="Strict")
        except ApiError as exc:
            # A quota is looked at before names are: it may be this very Job that fills it.
            if exc.reason != "AlreadyExists" and not _is_full(exc):
                raise
            try:
                found = self._cluster.get(self._at("jobs", name))
            except ApiError as missing:
                raise (exc if missing.status == 404 else missing) from None
        if not _made_for(found, job.key):
            raise LaunchRefused(f"the namespace {self._namespace} has a Job {name} that is not Poolform's")
        return found

    def _put_secret(self, job: Job, name: str) -> None:
        wanted = manifest.secret(job, self._settings)
        try:
            self._cluster.post(self._at("secrets"), wanted)
        except ApiError as exc:
            if exc.reason != "AlreadyExists":
                raise
            self._cluster.patch(self._at("secrets", name), {"data": wanted["data"]})

    def _read(self, handle: str, at: Cursor, *, whole: bool) -> tuple[list[Any], Cursor]:
        pod = self._pod(handle)
        if pod is None:
            return [], at
        name, container = pod
        query = {"container": container, "timestamps": "true", **at.query}
        try:
            text = self._cluster.text(f"{self._at('pods', name)}/log", **query)
        except ApiError as exc:
            if exc.status not in (400, 404):
                raise
            return [], at  # its container has not begun, or it is gone
        return at.advance(text, whole=whole)

    def _pod(self, handle: str) -> tuple[str, str] | None:
        """Return the names of a job's pod and container; None while there is none."""
        if handle not in self._pods:
            for pod in self._items("pods", self._selector([_name(handle)])):
                self._pods[handle] = pod["metadata"]["name"], container_of(pod)
        return self._pods.get(handle)

    def _told(self, name: str) -> str | None:
        """Return the last warning that the cluster has for a Job or its pods."""
        events = [
            event
            for event in self._items("events", "")
            if event.get("type") == "Warning" and f"{event['involvedObject'].get('name')}-".startswith(f"{name}-")
        ]
        events.sort(key=lambda event: event.get("lastTimestamp") or event["metadata"]["creationTimestamp"])
        return str(events[-1].get("message") or events[-1].get("reason")) if events else None

    def _items(self, plural: str, selector: str) -> Iterator[dict[str, Any]]:
        return self._cluster.items(self._at(plural), **({"labelSelector": selector} if selector else {}))

    def _selector(self, names: Sequence[str]) -> str:
        ours = f"{LABEL}={self._settings['pool_id']}"
        return ours if len(names) > _NAMED else f"{ours},{manifest.JOB} in ({','.join(names)})"

    def _at(self, plural: str, name: str | None = None) -> str:
        api = "/apis/batch/v1" if plural == "jobs" else "/api/v1"
        return f"{api}/namespaces/{self._namespace}/{plural}{f'/{name}' if name else ''}"

    def _handle(self, name: str) -> str:
        return f"{self._namespace}/{name}"


def _is_full(exc: ApiError) -> bool:
    """Say whether a quota is used up: https://kubernetes.io/docs/concepts/policy/resource-quotas/."""
    return exc.status == 403 and "exceeded quota" in exc.message


def _name(handle: str) -> str:
    return handle.rsplit("/", 1)[-1]


def _made_for(job: Mapping[str, Any], key: str) -> bool:
    return (job["metadata"].get("annotations") or {}).get(manifest.KEY) == key


@contextmanager
def _asking(doing: str, *, refusing: bool = False) -> Iterator[None]:
    """Turn what the cluster says into Unavailable; `refusing`, what it will never do into LaunchRefused."""
    try:
        yield
    except ApiError as exc:
        if refusing and _is_full(exc):
            raise NoCapacity(exc.message) from exc
        if exc.status == 401:
            raise Unavailable(f"{doing}: the cluster does not accept the context's credentials: {exc}") from exc
        if refusing and exc.is_final:
            raise LaunchRefused(f"{doing}: {exc}") from exc
        raise Unavailable(f"{doing}: {exc}") from exc
    except Unreachable as exc:
        raise Unavailable(f"{doing}: {exc}") from exc
