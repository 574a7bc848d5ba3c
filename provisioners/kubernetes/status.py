"""What Kubernetes says of a Job and its pod, in the launcher contract's words and a person's."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from poolform.core.runs.launchers import JobStatus
from poolform.provisioners.kubernetes.manifest import CANCELLED, PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Object = Mapping[str, Any]

# Why a container does not start, as kubelets put it: `waiting.reason` in
# https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#PodStatus
_IMAGE = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
     "RegistryUnavailable"}
)  # fmt: skip
_SETUP = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff"})
# Why a pod was ended by the cluster: `reason` of the condition DisruptionTarget,
# https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
_DISRUPTED = {
    "PreemptionByScheduler": "it made room for a job of higher priority",
    "DeletionByTaintManager": "its node was closed to it",
    "EvictionByEvictionAPI": "it was moved away from its node",
    "DeletionByPodGC": "its node is gone",
    "TerminationByKubelet": "its node ended it: it was short of something, or shut down",
}
STOPPED = "it was stopped on request"


def finished(job: Object) -> Object | None:
    """Return the condition in which a Job ended; None while it has not."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return dict(condition)
    return None


def cancelled(job: Object) -> bool:
    """Say whether somebody has asked for the Job's end."""
    return CANCELLED in (job["metadata"].get("annotations") or {})


def status_of(job: Object, pod: Object | None, now: float, explain: Callable[[], str | None]) -> JobStatus | None:
    """Return a Job's status; None for one that is being deleted. `explain` says what the cluster's events tell of it.

    A Job counts as exited once the job's own container has, whatever runs beside it.
    """
    state = _own_state(pod)
    if "terminated" in state:
        ended = state["terminated"]
        return JobStatus("exited", int(ended["exitCode"]), _ending(job, pod or {}, ended))
    if "running" in state:
        return JobStatus("running")
    if "deletionTimestamp" in job["metadata"]:
        return None
    if pod is not None and (pod.get("status") or {}).get("phase") == "Failed":
        return JobStatus("exited", None, _pod_reason(pod) or "Kubernetes ended it and gave no reason")
    condition = finished(job)
    if condition is not None:
        return _without_pod(job, condition, explain)
    if pod is None and cancelled(job):
        return JobStatus("exited", None, STOPPED)
    return _waiting(job, pod, state, now, explain)


def _own_state(pod: Object | None) -> Mapping[str, Any]:
    """Return the state of the job's container."""
    if pod is None:
        return {}
    name = container_of(pod)
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        if status["name"] == name:
            return dict(status.get("state") or {})
    return {}


def container_of(pod: Object) -> str:
    """Return the name of the job's container: the first."""
    return str(pod["spec"]["containers"][0]["name"])


def _ending(job: Object, pod: Object, ended: Object) -> str | None:
    """Say why a container exited, where its exit code does not tell."""
    reason, message = ended.get("reason") or "", (ended.get("message") or "").strip()
    if reason == "OOMKilled":
        limit = ((pod["spec"]["containers"][0].get("resources") or {}).get("limits") or {}).get("memory")
        if limit:
            return f"ran out of memory: its limit was {limit}; give it more with the job variable memory_limit"
        return "ran out of memory: its node had no more; say what it needs with the job variable memory_request"
    if reason in ("StartError", "ContainerCannotRun"):
        return f"its command cannot be started: {message}"
    if reason == "ContainerStatusUnknown":
        return f"its node lost it: {message}"
    if int(ended["exitCode"]) == 0:
        return None
    return _pod_reason(pod) or (STOPPED if cancelled(job) else None)


def _pod_reason(pod: Object) -> str | None:
    status = pod.get("status") or {}
    reason, message = status.get("reason") or "", (status.get("message") or "").strip()
    if reason == "Evicted":
        return f"its node evicted it: {message}"
    if reason in ("Preempting", "Preempted"):
        return f"it made room for a job of higher priority: {message}".rstrip(": ")
    if reason == "DeadlineExceeded":
        return f"it ran longer than it may: {message}".rstrip(": ")
    for condition in status.get("conditions") or ():
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            why = _DISRUPTED.get(condition.get("reason") or "", "the cluster ended it")
            return f"{why}: {condition.get('message') or ''}".rstrip(": ")
    if reason or message:
        return ": ".join(filter(None, (reason, message)))
    return None


def _without_pod(job: Object, condition: Object, explain: Callable[[], str | None]) -> JobStatus:
    """Return the status of a Job that ended, and whose pod is gone or never was."""
    if condition["type"] == "Complete":
        return JobStatus("exited", 0)
    if cancelled(job):
        return JobStatus("exited", None, STOPPED)
    if condition.get("reason") == "DeadlineExceeded":
        seconds = job["spec"].get("activeDeadlineSeconds")
        return JobStatus("exited", None, f"it took longer than its {seconds} s (job_watch_timeout_seconds)")
    why = explain() or condition.get("message") or condition.get("reason") or "Kubernetes gave no reason"
    return JobStatus("exited", None, f"its pod is gone: {why}")


def _waiting(
    job: Object, pod: Object | None, state: Mapping[str, Any], now: float, explain: Callable[[], str | None]
) -> JobStatus:
    """Return the status of a job that has not begun; one that waited too long for something is given up."""
    since, reason = job["metadata"]["creationTimestamp"], None
    if (job.get("spec") or {}).get("suspend"):
        return JobStatus("starting", reason="it is suspended")  # by whoever queues jobs in this cluster
    if pod is not None:
        since, reason = pod["metadata"]["creationTimestamp"], _hindrance(pod, state)
    patience = float((job["metadata"].get("annotations") or {}).get(PATIENCE) or 300)
    waited = now - seconds(since)
    if waited < patience:
        return JobStatus("starting", reason=reason)
    if pod is None:
        reason = explain()
        reason = reason and f"Kubernetes makes no pod for it: {reason}"
    if reason is None:
        return JobStatus("starting")
    return JobStatus("exited", None, f"{reason} (given up after {patience:g} s: pod_watch_timeout_seconds)")


def _hindrance(pod: Object, state: Mapping[str, Any]) -> str | None:
    """Say what keeps a container from starting; None where it only takes its time."""
    waiting = state.get("waiting") or {}
    reason, message = waiting.get("reason") or "", (waiting.get("message") or "").strip()
    if reason in _IMAGE:
        image = pod["spec"]["containers"][0].get("image")
        return f"the image {image} cannot be pulled: {message or reason}"
    if reason in _SETUP:
        return f"its container cannot be made: {message or reason}"
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return f"no node has room for it: {condition.get('message') or ''}".rstrip(": ")
    return None


def seconds(stamp: str) -> float:
    """Return a time of the API's, in seconds since the epoch."""
    return datetime.fromisoformat(stamp).timestamp()
