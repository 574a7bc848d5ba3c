"""Cloud Run's jobs, executions and tasks: what CreateJob refuses, and each job's command run for real.

https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.jobs
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from clouds.google.wire import GoogleError
from clouds.processes import Container

if TYPE_CHECKING:
    from pathlib import Path

    from clouds.google.accounts import Accounts
    from clouds.google.output import Output
    from clouds.google.vault import Vault
    from clouds.google.wire import Request

# ExecutionReference.CompletionStatus and Condition.State
SUCCEEDED, FAILED, RUNNING, PENDING, CANCELLED = 1, 2, 3, 4, 5
CONDITION_FAILED, CONDITION_SUCCEEDED = 3, 4
_CPU_MEMORY = {1: (512, 4096), 2: (512, 8192), 4: (2048, 16384), 6: (4096, 24576), 8: (4096, 32768)}
_UNITS = {"G": 10**9, "Gi": 2**30, "M": 10**6, "Mi": 2**20}


@dataclass
class Jobs:
    """All jobs of one project. `images` are folders that they have as content; `memory_scale` shrinks limits."""

    accounts: Accounts
    output: Output
    vault: Vault
    images: dict[str, Path] = field(default_factory=dict)
    missing_images: set[str] = field(default_factory=set)
    refused_images: set[str] = field(default_factory=set)
    """Those whose job is refused by the operation that creating it is, and not by its condition."""
    memory_scale: float = 1.0
    stop_timeout: float = 10.0
    start_delay: float = 0.0
    most_jobs: int = 1000
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The one task of each execution, by the job's name."""
    started: list[str] = field(default_factory=list)
    """Every execution that ever was, to count launches."""
    _containers: dict[str, Container] = field(default_factory=dict)
    _cancelled: set[str] = field(default_factory=set)
    _lock: Any = field(default_factory=threading.RLock)

    def create(self, request: Request) -> dict[str, Any]:
        project, location = request.args
        job_id, body = request.query.get("jobId", ""), request.body
        _check_fields(body)
        task = body["template"]["template"] = _task_template(body)
        _check_name(job_id, body)
        _check_task(task)
        self._may_use(request.caller, task)
        name = f"projects/{project}/locations/{location}/jobs/{job_id}"
        with self._lock:
            if name in self.jobs:
                raise GoogleError(409, f"Resource '{job_id}' already exists.")
            if len(self.jobs) >= self.most_jobs:
                raise GoogleError(429, "Quota exceeded for total allowable count of jobs per region.")
            job = {
                **body,
                "name": name,
                "uid": str(uuid.uuid4()),
                "createTime": _now(),
                "creator": request.caller,
                "executionCount": 0,
            }
            self.jobs[name] = job
        operation = {"name": f"projects/{project}/locations/{location}/operations/{uuid.uuid4()}"}
        if task["containers"][0]["image"] in self.refused_images:
            return {
                **operation,
                "done": True,
                "error": {"code": 9, "message": "The image is not authorised by policy."},
            }
        self._start(job, job_id, location, task)
        return operation

    def get(self, request: Request) -> dict[str, Any]:
        with self._lock:
            return dict(
                self._known(
                    "/".join(("projects", request.args[0], "locations", request.args[1], "jobs", request.args[2]))
                )
            )

    def list(self, request: Request) -> dict[str, Any]:
        prefix = f"projects/{request.args[0]}/locations/{request.args[1]}/jobs/"
        size, start = int(request.query.get("pageSize") or 100), int(request.query.get("pageToken") or 0)
        with self._lock:
            found = [dict(job) for name, job in sorted(self.jobs.items()) if name.startswith(prefix)]
        more = {"nextPageToken": str(start + size)} if start + size < len(found) else {}
        return {"jobs": found[start : start + size], **more}

    def delete(self, request: Request) -> dict[str, Any]:
        name = "/".join(("projects", request.args[0], "locations", request.args[1], "jobs", request.args[2]))
        with self._lock:
            job = self._known(name)
            if job.get("latestCreatedExecution", {}).get("completionStatus") in (RUNNING, PENDING):
                raise GoogleError(400, f"Job {name} has running executions.", status="FAILED_PRECONDITION")
            del self.jobs[name]
            self.tasks.pop(name, None)
        return {"name": f"{name.rsplit('/jobs/', 1)[0]}/operations/{uuid.uuid4()}"}

    def cancel(self, request: Request) -> dict[str, Any]:
        project, location, job_id, execution = request.args
        name = f"projects/{project}/locations/{location}/jobs/{job_id}"
        with self._lock:
            reference = self._known(name).get("latestCreatedExecution")
            if reference is None or reference["name"] != execution:
                raise GoogleError(404, f"Resource '{execution}' of kind 'EXECUTION' does not exist.")
            if reference["completionStatus"] not in (RUNNING, PENDING):
                raise GoogleError(400, "Execution has already completed.", status="FAILED_PRECONDITION")
            self._cancelled.add(name)
            container = self._containers.get(name)
        if container is not None:
            container.terminate()
        return {"name": f"projects/{project}/locations/{location}/operations/{uuid.uuid4()}"}

    def list_tasks(self, request: Request) -> dict[str, Any]:
        name = "/".join(("projects", request.args[0], "locations", request.args[1], "jobs", request.args[2]))
        with self._lock:
            self._known(name)
            return {"tasks": [self.tasks[name]] if name in self.tasks else []}

    def alive(self) -> list[str]:
        """The names of jobs whose execution is not over."""
        with self._lock:
            return [
                name for name, job in self.jobs.items()
                if job.get("latestCreatedExecution", {}).get("completionStatus") in (RUNNING, PENDING)
            ]  # fmt: skip

    def close(self) -> None:
        """Kill what still runs."""
        for container in list(self._containers.values()):
            container.kill()

    # -- an execution --------------------------------------------------------------------------------------------

    def _start(self, job: dict[str, Any], job_id: str, location: str, task: dict[str, Any]) -> None:
        own, environment = task["containers"][0], {}
        if own["image"] in self.missing_images:
            return self._never(job, f"Image '{own['image']}' not found.")
        try:
            for variable in own.get("env", ()):
                reference = variable.get("valueSource", {}).get("secretKeyRef")
                value = variable.get("value", "")
                if reference:
                    value = self.vault.read(reference["secret"], reference["version"], task["serviceAccount"])
                environment[variable["name"]] = value
        except GoogleError as error:
            return self._never(job, error.message)
        execution = f"{job_id}-{job['startExecutionToken']}"
        container = Container(
            command=[*own.get("command", ()), *own.get("args", ())],
            environment={**environment, "CLOUD_RUN_JOB": job_id, "CLOUD_RUN_EXECUTION": execution},
            on_line=lambda text: self.output.write(location, job_id, execution, text),
            memory=_bytes(own["resources"]["limits"]["memory"]) * self.memory_scale,
            stop_timeout=self.stop_timeout,
            content=self.images.get(own["image"]),
        )
        with self._lock:
            self.started.append(execution)
            job["executionCount"] = 1
            job["latestCreatedExecution"] = {"name": execution, "createTime": _now(), "completionStatus": PENDING}
            self._containers[job["name"]] = container
        threading.Thread(target=self._run, args=(job, task, container), daemon=True).start()
        return None

    def _never(self, job: dict[str, Any], message: str) -> None:
        job["terminalCondition"] = {"type": "Ready", "state": CONDITION_FAILED, "message": message}

    def _run(self, job: dict[str, Any], task: dict[str, Any], container: Container) -> None:
        name, limit = job["name"], float(str(task.get("timeout", "600s")).rstrip("s"))
        time.sleep(self.start_delay)
        if name in self._cancelled:
            return self._end(job, None, CANCELLED, "")
        late = threading.Event()
        timer = threading.Timer(limit, lambda: (late.set(), container.terminate()))
        timer.daemon = True
        container.start()
        timer.start()
        self._note(job, completionStatus=RUNNING)
        code = container.wait()
        timer.cancel()
        if name in self._cancelled:
            return self._end(job, code, CANCELLED, "The execution was cancelled.")
        if late.is_set():
            return self._end(job, None, FAILED, "The configured timeout was reached.")
        if container.out_of_memory:
            return self._end(job, 137, FAILED, "The configured memory limit was reached.")
        return self._end(
            job, code, FAILED if code else SUCCEEDED, "The container exited with an error." if code else ""
        )

    def _end(self, job: dict[str, Any], code: int | None, status: int, message: str) -> None:
        execution = job["latestCreatedExecution"]["name"]
        result: dict[str, Any] = {"status": {"code": 2 if status != SUCCEEDED else 0, "message": message}}
        if code is not None and 128 < code < 160:  # a signal ended it
            result["termSignal"] = code - 128
        elif code is not None:
            result["exitCode"] = code
        with self._lock:
            self.tasks[job["name"]] = {
                "name": f"{job['name']}/executions/{execution}/tasks/{execution}-task0", "lastAttemptResult": result,
            }  # fmt: skip
            self._containers.pop(job["name"], None)
        self._note(job, completionStatus=status, completionTime=_now())

    def _note(self, job: dict[str, Any], **changes: Any) -> None:
        with self._lock:
            job["latestCreatedExecution"] = {**job["latestCreatedExecution"], **changes}

    def _known(self, name: str) -> dict[str, Any]:
        if name not in self.jobs:
            raise GoogleError(
                404,
                f"Resource '{name.rsplit('/', 1)[-1]}' of kind 'JOB' in region '{name.split('/')[3]}' does not exist.",
            )
        return self.jobs[name]

    def _may_use(self, caller: str, task: dict[str, Any]) -> None:
        """Whoever makes a job acts as its account, and must be able to read its image."""
        project, account = self.accounts.project, task["serviceAccount"]
        path = f"projects/{project}/serviceAccounts/{account}"
        if not self.accounts.allows(caller, "iam.serviceAccounts.actAs", path):
            raise GoogleError(
                403,
                f"Permission 'iam.serviceaccounts.actAs' denied on service account {account} (or it may not exist).",
            )
        match = re.match(
            rf"([a-z0-9-]+)-docker\.pkg\.dev/{re.escape(project)}/([^/]+)/", task["containers"][0]["image"]
        )
        if match:
            repository = f"projects/{project}/locations/{match[1]}/repositories/{match[2]}"
            self.accounts.require(caller, "artifactregistry.repositories.downloadArtifacts", repository)


def _check_fields(body: dict[str, Any]) -> None:
    """Refuse fields that are not in the API's public definition."""
    from google.cloud import run_v2
    from google.protobuf.json_format import ParseError

    try:
        run_v2.Job.from_json(json.dumps(body))
    except ParseError as exc:
        raise GoogleError(400, f"Invalid JSON payload received. {exc}") from exc


def _task_template(body: dict[str, Any]) -> dict[str, Any]:
    with contextlib.suppress(KeyError, TypeError):
        if body["template"]["template"]["containers"]:
            return dict(body["template"]["template"])
    raise GoogleError(400, "Violation in CreateJobRequest.job.template: a job needs a container.")


def _check_name(job_id: str, body: dict[str, Any]) -> None:
    token = body.get("startExecutionToken", "")
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", job_id):
        raise GoogleError(
            400, f"Violation in CreateJobRequest.job_id: {job_id!r} must be lower case, digits and dashes."
        )
    if not token or len(job_id) + len(token) >= 63:
        raise GoogleError(400, "The sum of job name and token length must be fewer than 63 characters.")
    for key, value in {**body.get("labels", {}), **body["template"].get("labels", {})}.items():
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) or not re.fullmatch(r"[a-z0-9_-]{0,63}", value):
            raise GoogleError(400, f"Violation in CreateJobRequest.job.labels: {key}={value}")


def _check_task(task: dict[str, Any]) -> None:
    own = task["containers"][0]
    if not own.get("image"):
        raise GoogleError(
            400, "Violation in CreateJobRequest.job.template.template.containers[0].image: it is required."
        )
    limits = own.get("resources", {}).get("limits", {})
    cpu = int(str(limits.get("cpu", "1000m")).removesuffix("000m"))
    if cpu not in _CPU_MEMORY:
        raise GoogleError(400, f"Invalid value specified for cpu: {limits['cpu']}")
    least, most = _CPU_MEMORY[cpu]
    if not least <= _bytes(limits.get("memory", "512Mi")) / 2**20 <= most:
        raise GoogleError(400, f"Invalid value specified for memory: {limits['memory']} with {cpu} CPU")
    if not 0 < float(str(task.get("timeout", "600s")).rstrip("s")) <= 604_800:
        raise GoogleError(400, f"Invalid value for timeout: {task['timeout']}")
    names = [variable["name"] for variable in own.get("env", ())]
    if len(names) > 1000 or len(set(names)) != len(names):
        raise GoogleError(400, "Environment variables must be unique, and at most 1000.")
    for variable in own.get("env", ()):
        if len(variable.get("value", "").encode()) > 32_768:
            raise GoogleError(400, f"The value of {variable['name']} is over 32768 bytes.")
    access = task.get("vpcAccess", {})
    if access.get("connector") and access.get("networkInterfaces"):
        raise GoogleError(400, "VPC connector and direct VPC can not be used together.")


def _bytes(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(\w+)", text).groups()
    return int(number) * _UNITS[unit]


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
