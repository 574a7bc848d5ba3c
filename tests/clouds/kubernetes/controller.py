"""The job controller: makes each Job's pod, ends it when its time is up, and says how the Job ended."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any

from clouds.kubernetes.kubelet import Node, Pod
from clouds.kubernetes.objects import now
from clouds.kubernetes.wire import ApiError

if TYPE_CHECKING:
    from clouds.kubernetes.objects import Object, Objects
    from clouds.kubernetes.terraform import Made

_TICK = 0.03
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


class Controller:
    """Looks after all Jobs, each in a thread of its own."""

    def __init__(self, objects: Objects, made: Made, node: Node) -> None:
        self._objects, self._made, self.node = objects, made, node
        self.pods: dict[tuple[str, str], Pod] = {}
        self.started: list[str] = []
        """The names of all Jobs whose container ever began, once each time."""
        self._closing = False

    def look_after(self, job: Object) -> None:
        threading.Thread(target=self._live, args=(job,), daemon=True).start()

    def close(self) -> None:
        self._closing = True
        for pod in list(self.pods.values()):
            pod.kill()

    def _live(self, job: Object) -> None:
        namespace, name, began = job["metadata"]["namespace"], job["metadata"]["name"], time.monotonic()
        pod: Pod | None = None
        why: tuple[str, str] | None = None
        while not self._closing:
            current = self._job(namespace, name)
            if current is None or current["metadata"]["uid"] != job["metadata"]["uid"]:
                break
            spec = current["spec"]
            deadline = spec.get("activeDeadlineSeconds")
            if deadline is not None and time.monotonic() - began > deadline and why is None:
                why = ("DeadlineExceeded", "Job was active longer than specified deadline")
                self._end(pod)
            if "deletionTimestamp" in current["metadata"] and not (pod and pod.ended):
                self._end(pod)
            stopping = why is not None or "deletionTimestamp" in current["metadata"]
            if pod is None and not stopping and not spec.get("suspend"):
                pod = self._make_pod(current)
            if pod is not None and not pod.started and not stopping and pod.start():
                self.started.append(name)
                threading.Thread(target=pod.wait, daemon=True).start()
            if pod is not None and not self._exists(pod) and why is None and not pod.over:
                pod.kill()
                why = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
            if (pod is None or pod.over) and (stopping or pod is not None):
                self._settle(current, pod, why)
                return
            if pod is None and why is not None:
                self._settle(current, pod, why)
                return
            time.sleep(_TICK)
        if pod is not None:
            pod.kill()

    def _job(self, namespace: str, name: str) -> Object | None:
        if namespace not in self._made.namespaces():
            return None
        with contextlib.suppress(ApiError):
            return self._objects.get("jobs", namespace, name)
        return None

    def _exists(self, pod: Pod) -> bool:
        return any(item["metadata"]["name"] == pod.name for item in self._objects.find("pods", pod.namespace))

    def _end(self, pod: Pod | None) -> None:
        if pod is None:
            return

        def mark(shown: Object) -> None:
            shown["metadata"]["deletionTimestamp"] = now()

        self._objects.change("pods", pod.namespace, pod.name, mark)
        pod.stop()

    def _make_pod(self, job: Object) -> Pod | None:
        namespace, template = job["metadata"]["namespace"], job["spec"]["template"]
        account = template["spec"].get("serviceAccountName", "default")
        known = {item["metadata"]["name"] for item in self._made.objects("serviceaccounts", namespace)}
        if account != "default" and account not in known:
            why = f'error looking up service account {namespace}/{account}: serviceaccount "{account}" not found'
            self._objects.tell(namespace, job, "FailedCreate", f'Error creating: pods "{job["metadata"]["name"]}-" is '
                               f"forbidden: {why}")  # fmt: skip
            return None
        if problem := self.over_quota("pods", namespace):
            self._objects.tell(namespace, job, "FailedCreate", f'Error creating: pods "{job["metadata"]["name"]}-" is '
                               f"forbidden: {problem}")  # fmt: skip
            return None
        name = job["metadata"]["name"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"],
                 "controller": True}  # fmt: skip
        metadata = {**template.get("metadata", {}), "ownerReferences": [owner]}
        metadata["name"] = f"{job['metadata']['name']}-{''.join(secrets.choice(_LETTERS) for _ in range(5))}"
        shown = self._objects.add("pods", namespace, {
            "metadata": metadata, "spec": template["spec"], "status": {"phase": "Pending"},
        })  # fmt: skip
        pod = Pod(self._objects, self.node, shown)
        self.pods[namespace, pod.name] = pod
        self._status(job, {"active": 1, "startTime": now()})
        return pod

    def over_quota(self, what: str, namespace: str) -> str | None:
        """What a quota of the namespace says against one more."""
        resource = "jobs" if what == "count/jobs.batch" else what
        for quota in self._made.objects("resourcequotas", namespace):
            limit = quota["spec"]["hard"].get(what)
            if limit is not None and (used := len(self._objects.find(resource, namespace))) >= int(limit):
                return (f"exceeded quota: {quota['metadata']['name']}, requested: {what}=1, used: {what}={used}, "
                        f"limited: {what}={limit}")  # fmt: skip
        return None

    def _settle(self, job: Object, pod: Pod | None, why: tuple[str, str] | None) -> None:
        namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
        succeeded = False
        if pod is not None and pod.over and pod.started:
            with contextlib.suppress(ApiError):
                shown = self._objects.get("pods", namespace, pod.name)
                succeeded = shown["status"]["phase"] == "Succeeded"
        if why is None and not succeeded:
            why = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
        condition: dict[str, Any] = {"type": "Complete", "status": "True"}
        if why is not None:
            condition = {"type": "Failed", "status": "True", "reason": why[0], "message": why[1]}
        if pod is not None and pod.ended:
            self._objects.drop("pods", namespace, pod.name)  # it was being deleted, and has stopped
        self._status(job, {"conditions": [condition], "succeeded": int(why is None), "failed": int(why is not None)})
        current = self._job(namespace, name)
        if current is not None and "deletionTimestamp" in current["metadata"]:
            self._objects.drop("jobs", namespace, name)

    def _status(self, job: Object, status: dict[str, Any]) -> None:
        def mark(shown: Object) -> None:
            shown["status"] = status

        self._objects.change("jobs", job["metadata"]["namespace"], job["metadata"]["name"], mark)
