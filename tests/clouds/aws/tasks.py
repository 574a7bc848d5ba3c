"""Tasks: RunTask, DescribeTasks, ListTasks and StopTask with ECS's rules, each task a real process."""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clouds.aws.accounts import ACCOUNT, Accounts
from clouds.aws.definitions import Definitions, page
from clouds.aws.process import Container
from clouds.aws.wire import AwsError, Request

if TYPE_CHECKING:
    from pathlib import Path

VISIBLE = 3600.0  # seconds for which a stopped task can be described
TOKEN_LIFE = 24 * 3600.0
OVERRIDES = 8192
NO_CAPACITY = "Capacity is unavailable at this time. Please try again later or in a different availability zone"


class Clock:
    """Time since the epoch, which tests may push forward."""

    def __init__(self) -> None:
        self._offset = 0.0

    def now(self) -> float:
        return time.time() + self._offset

    def advance(self, seconds: float) -> None:
        self._offset += seconds


@dataclass
class Task:
    """A task as DescribeTasks has it, and the process that it is."""

    shown: dict[str, Any]
    tags: list[dict[str, str]]
    definition: dict[str, Any]
    overrides: dict[str, Any]
    born: float  # on the machine's own clock
    container: Container | None = None
    stopping: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def region(self) -> str:
        return str(self.shown["taskArn"].split(":")[3])


class Tasks:
    """All tasks of the account.

    `capacity` False makes Fargate full; `lag` is how long a new task stays invisible to Describe and List; `images`
    says what is in an image's working folder, `missing_images` cannot be pulled; `memory_scale` shrinks the memory
    that tasks get; `stop_timeout` is how long a container has to stop, in seconds.
    """

    def __init__(self, accounts: Accounts, definitions: Definitions, clock: Clock) -> None:
        self._accounts, self._definitions, self._clock = accounts, definitions, clock
        self._tasks: dict[str, Task] = {}
        self._tokens: dict[str, tuple[str, list[str], float]] = {}
        self._lock = threading.RLock()
        self.capacity = True
        self.lag = 0.0
        self.start_delay = 0.0
        self.images: dict[str, Path] = {}
        self.missing_images: set[str] = set()
        self.memory_scale = 1.0
        self.stop_timeout = 30.0

    # What the API offers.

    def run(self, request: Request) -> dict[str, Any]:
        params = request.params
        cluster = self._cluster(request)
        definition = self._definitions.active(request.region, params["taskDefinition"])
        _check_run(params)
        self._check_network(request)
        token, asked = params.get("clientToken"), json.dumps(params, sort_keys=True)
        with self._lock:
            known = self._tokens.get(f"{cluster}/{token}") if token else None
            if known is not None and self._clock.now() - known[2] < TOKEN_LIFE:
                if known[0] != asked:
                    raise AwsError(
                        "ConflictException",
                        "The request was sent with the same client token and different parameters.",
                        resourceIds=known[1],
                    )
                return {"tasks": [self._tasks[arn].shown for arn in known[1] if arn in self._tasks], "failures": []}
            if not self.capacity:
                return {"tasks": [], "failures": [{"reason": NO_CAPACITY}]}
            tasks = [self._new(request, cluster, definition) for _ in range(params.get("count", 1))]
            if token:
                arns = [task.shown["taskArn"] for task in tasks]
                self._tokens[f"{cluster}/{token}"] = (asked, arns, self._clock.now())
            answer = {"tasks": [dict(task.shown) for task in tasks], "failures": []}
        for task in tasks:
            threading.Thread(target=self._live, args=(task,), daemon=True).start()
        return answer

    def describe(self, request: Request) -> dict[str, Any]:
        self._cluster(request)
        names = request.params["tasks"]
        if len(names) > 100:
            raise AwsError("InvalidParameterException", "Tasks cannot have more than 100 elements.")
        tags = "TAGS" in request.params.get("include", ())
        found, failures = [], []
        for name in names:
            task = self._visible(name)
            if task is None:
                failures.append({"arn": name, "reason": "MISSING"})
            else:
                with task.lock:
                    found.append({**task.shown, **({"tags": task.tags} if tags else {})})
        return {"tasks": found, "failures": failures}

    def list(self, request: Request) -> dict[str, Any]:
        cluster, params = self._cluster(request), request.params
        if "startedBy" in params and {"desiredStatus", "family", "serviceName", "launchType"} & set(params):
            raise AwsError("InvalidParameterException", "startedBy must be the only filter.")
        desired = params.get("desiredStatus", "RUNNING")
        arns = []
        for arn, task in sorted(self._tasks.items()):
            shown = task.shown
            if self._visible(arn) is None or shown["clusterArn"] != cluster or shown["desiredStatus"] != desired:
                continue
            if params.get("startedBy") not in (None, shown.get("startedBy")):
                continue
            if params.get("family") not in (None, task.definition["family"]):
                continue
            arns.append(arn)
        return page(request, "taskArns", arns)

    def stop(self, request: Request) -> dict[str, Any]:
        self._cluster(request)
        task = self._visible(request.params["task"])
        if task is None:
            raise AwsError("InvalidParameterException", "The referenced task was not found.")
        self._end(task, "UserInitiated", request.params.get("reason", "Task stopped by user"))
        return {"task": dict(task.shown)}

    # What tests do to it.

    def interrupt(self, arn: str) -> None:
        """Take a Spot task's capacity away."""
        self._end(self._tasks[arn], "SpotInterruption", "Your Spot Task was interrupted.")

    def alive(self) -> list[str]:
        return [arn for arn, task in self._tasks.items() if task.shown["lastStatus"] != "STOPPED"]

    def in_cluster(self, name: str) -> list[str]:
        return [arn for arn in self.alive() if arn.split("/")[1] == name]

    def started_by(self, value: str) -> list[str]:
        """Every task that was ever started with this startedBy, visible or not."""
        return [arn for arn, task in self._tasks.items() if task.shown.get("startedBy") == value]

    def get(self, arn: str) -> Task:
        return self._tasks[arn]

    def all(self) -> list[Task]:
        return list(self._tasks.values())

    def close(self) -> None:
        for task in self._tasks.values():
            if task.container is not None:
                task.container.kill()

    # How a task lives.

    def _new(self, request: Request, cluster: str, definition: dict[str, Any]) -> Task:
        params = request.params
        arn = f"{cluster.replace(':cluster/', ':task/')}/{uuid.uuid4().hex}"
        spot = [item["capacityProvider"] for item in params.get("capacityProviderStrategy", ())]
        where = {"capacityProviderName": spot[0]} if spot else {"launchType": params.get("launchType", "EC2")}
        containers = [
            {"name": item["name"], "image": item["image"], "lastStatus": "PENDING", "taskArn": arn}
            for item in definition["containerDefinitions"]
        ]
        shown = {
            "taskArn": arn, "clusterArn": cluster, "taskDefinitionArn": definition["taskDefinitionArn"],
            "lastStatus": "PROVISIONING", "desiredStatus": "RUNNING", "createdAt": round(self._clock.now(), 3),
            "group": f"family:{definition['family']}", "containers": containers, "cpu": definition.get("cpu"),
            "memory": definition.get("memory"), "overrides": params.get("overrides", {}), **where,
        }  # fmt: skip
        if params.get("startedBy"):
            shown["startedBy"] = params["startedBy"]
        overrides = params.get("overrides", {})
        task = Task(shown, params.get("tags", []), definition, overrides, time.monotonic())
        self._tasks[arn] = task
        return task

    def _live(self, task: Task) -> None:
        time.sleep(self.start_delay)
        container = Container.of(task.definition, task.overrides, task.shown, task.region, self.memory_scale)
        container.stop_timeout = min(container.stop_timeout, self.stop_timeout)
        container.content = self.images.get(task.definition["containerDefinitions"][0]["image"])
        reason = self._cannot_start(task, container)
        with task.lock:
            if reason is None and not task.stopping:
                container.start()
                task.container = container
                task.shown["lastStatus"] = "RUNNING"
                task.shown["startedAt"] = self._clock.now()
                task.shown["containers"][0]["lastStatus"] = "RUNNING"
        if task.container is None:
            self._stopped(task, None, "TaskFailedToStart", reason or "Task stopped before it started")
            return
        code = container.wait()
        detail = "OutOfMemoryError: Container killed due to memory usage" if container.out_of_memory else None
        self._stopped(task, code, "EssentialContainerExited", "Essential container in task exited", detail)

    def _cannot_start(self, task: Task, container: Container) -> str | None:
        image = task.definition["containerDefinitions"][0]["image"]
        if image in self.missing_images:
            return f"CannotPullContainerError: pull image manifest has been retried 1 time(s): {image}: not found"
        role = task.definition.get("executionRoleArn")
        if role is None:
            return None
        source = {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": task.shown["clusterArn"]}
        if not self._accounts.serves(role, "ecs-tasks.amazonaws.com", source):
            return f"ECS was unable to assume the role '{role}' that was provided for this task."
        for action, resource in container.needs():
            if self._accounts.decide(role, action, resource, {}).decision != "allowed":
                return f"ResourceInitializationError: {role} is not authorized to perform: {action} on {resource}"
        try:
            container.resolve()
        except AwsError as error:
            return f"ResourceInitializationError: {error}"
        return None

    def _stopped(self, task: Task, code: int | None, stop: str, why: str, detail: str | None = None) -> None:
        with task.lock:
            now = self._clock.now()
            first = task.shown["containers"][0]
            first["lastStatus"] = "STOPPED"
            if code is not None:
                first["exitCode"] = code
            if detail:
                first["reason"] = detail
            task.shown.setdefault("stopCode", stop)
            task.shown.setdefault("stoppedReason", why)
            task.shown.update(
                lastStatus="STOPPED", desiredStatus="STOPPED", stoppingAt=now, executionStoppedAt=now, stoppedAt=now
            )

    def _end(self, task: Task, stop: str, why: str) -> None:
        with task.lock:
            if task.shown["lastStatus"] == "STOPPED" or task.stopping:
                return
            task.stopping = True
            task.shown.update(desiredStatus="STOPPED", stopCode=stop, stoppedReason=why)
            if task.container is not None:
                task.container.terminate()

    # What it checks.

    def _visible(self, name: str) -> Task | None:
        task = self._tasks.get(name)
        if task is None or time.monotonic() - task.born < self.lag:
            return None
        if "stoppedAt" in task.shown and self._clock.now() - task.shown["stoppedAt"] > VISIBLE:
            return None
        return task

    def _cluster(self, request: Request) -> str:
        from moto.ecs.models import ecs_backends

        name = request.params.get("cluster", "default").rsplit("/", 1)[-1]
        cluster = ecs_backends[ACCOUNT][request.region].clusters.get(name)
        if cluster is None or cluster.status != "ACTIVE":
            raise AwsError("ClusterNotFoundException", "Cluster not found.")
        return f"arn:aws:ecs:{request.region}:{ACCOUNT}:cluster/{name}"

    def _check_network(self, request: Request) -> None:
        from moto.ec2.models import ec2_backends

        network = request.params.get("networkConfiguration", {}).get("awsvpcConfiguration")
        if network is None:
            raise AwsError(
                "InvalidParameterException",
                "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
            )
        backend = ec2_backends[ACCOUNT][request.region]
        known = {subnet.id for subnet in backend.describe_subnets()}
        for subnet in network["subnets"]:
            if subnet not in known:
                raise AwsError("InvalidParameterException", f"The subnet ID '{subnet}' does not exist")
        groups = {group.id for group in backend.describe_security_groups()}
        for group in network.get("securityGroups", ()):
            if group not in groups:
                raise AwsError("InvalidParameterException", f"The securityGroup ID '{group}' does not exist")


def _check_run(params: dict[str, Any]) -> None:
    token = params.get("clientToken")
    if token is not None and not re.fullmatch(r"[\x21-\x7e]{1,64}", token):
        raise AwsError("InvalidParameterException", "clientToken must be at most 64 printable ASCII characters.")
    by = params.get("startedBy")
    if by is not None and not re.fullmatch(r"[A-Za-z0-9/_-]{1,128}", by):
        raise AwsError("InvalidParameterException", "startedBy has an invalid length or characters.")
    if len(json.dumps(params.get("overrides", {}), separators=(",", ":"))) > OVERRIDES:
        raise AwsError("InvalidParameterException", f"Container Overrides length must be at most {OVERRIDES}")
    if params.get("launchType") and params.get("capacityProviderStrategy"):
        raise AwsError("InvalidParameterException", "Specifying both a launch type and capacity provider is not valid.")
    if params.get("launchType") not in (None, "FARGATE", "EC2", "EXTERNAL"):
        raise AwsError("InvalidParameterException", "Invalid launch type.")
    if len(params.get("tags", ())) > 50:
        raise AwsError("InvalidParameterException", "Too many tags.")
