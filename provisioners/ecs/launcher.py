"""Jobs on ECS: started once for each key, watched a hundred at a time, explained in words."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from poolform.core.runs.launchers import (
    JobStatus,
    Launcher,
    LaunchRefused,
    LogLine,
    LogPage,
    NoCapacity,
    Unavailable,
)
from poolform.core.runs.removed import Removed
from poolform.provisioners.ecs import definition, session
from poolform.provisioners.ecs.handle import Handle
from poolform.provisioners.ecs.status import status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from poolform.core.runs.launchers import Job, Json
    from poolform.provisioners.ecs.session import Clients

_BATCH = 100  # most tasks that DescribeTasks takes
# RunTask answers before Describe and List know the task; ECS promises only that they will.
_UNSEEN = 300.0
# CloudWatch shows an event some time after the driver has handed it over, which it does before a task stops.
SETTLE = 3.0
_NOT_FOUND = ("not found", "was not found")
_FULL = ("capacity", "RESOURCE:", "AGENT")


class EcsLauncher(Launcher):
    """Launches jobs as Fargate tasks.

    A job's key is the client token of its RunTask: AWS starts one task for it within 24 hours, however often it is
    asked, as long as it is asked exactly the same; so the request is settled by `prepare`, stored, and replayed.
    """

    remembers: ClassVar[timedelta] = timedelta(minutes=55)  # ECS shows a stopped task for about an hour
    secrets: ClassVar[Literal["native", "plain", "none"]] = "native"
    threads: ClassVar[int] = 8

    def __init__(
        self,
        clients: Clients,
        settings: Mapping[str, Json],
        *,
        clock: Callable[[], float] = time.time,
        settle: float = SETTLE,
    ) -> None:
        self._clients, self._settings, self._clock, self._settle = clients, settings, clock, settle
        self._definitions: dict[str, str] = {}
        self._containers: dict[str, list[dict[str, Any]]] = {}
        self._removed = Removed(clock, self.remembers.total_seconds() * 2)
        self._defining = threading.Lock()

    def prepare(self, job: Job) -> Json:
        """Return what RunTask will be asked for `job`, with its task definition registered where it is a new one."""
        arn = job.configuration.get("task_definition_arn") or self._register(definition.define(job, self._settings))
        folder = definition.secret_folder(self._settings["prefix"], job.key) if job.secrets else None
        return {"run_task": definition.run_request(job, self._settings, arn), "secrets": folder}

    def launch(self, job: Job) -> str:
        """Start `job`; replaying it starts nothing, and returns the same handle."""
        request = job.request or self.prepare(job)
        if request["secrets"]:
            self._put_secrets(request["secrets"], job)
        with _asking("launching", refusing=True):
            from botocore.exceptions import ClientError

            try:
                answer = self._clients["ecs"].run_task(**request["run_task"])
            except ClientError as exc:
                if session.error_code(exc) == "ConflictException":
                    # The token is spent: the job was launched before, by a request that was not quite this one.
                    return self._handle_of(exc.response["resourceIds"][0])
                raise
        for task in answer["tasks"]:
            return str(Handle.of(task))
        raise _refusal([failure.get("reason", "") for failure in answer["failures"]])

    def find(self, key: str) -> str | None:
        """Return the handle of the task that was started for `key`; trust None for as long as ECS shows old tasks."""
        mark = definition.started_by(key)
        with _asking("looking for a task"):
            for arns in self._pages(startedBy=mark):
                for task in self._describe(arns):
                    return str(Handle.of(task))
            # startedBy admits no other filter, and alone it finds only what should be running.
            for arns in self._pages(desiredStatus="STOPPED"):
                for task in self._describe(arns):
                    if task.get("startedBy") == mark:
                        return str(Handle.of(task))
        return None

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobStatus]:
        """Return the status of each task, a call for each hundred. What ECS does not know any more is left out."""
        known = {Handle.parse(handle).task: handle for handle in handles if handle not in self._removed}
        arns = list(known)
        found: dict[str, JobStatus] = {}
        with _asking("asking for tasks"):
            from botocore.exceptions import ClientError

            try:
                for start in range(0, len(arns), _BATCH):
                    for task in self._describe(arns[start : start + _BATCH]):
                        found[known[task["taskArn"]]] = status_of(task)
            except ClientError as exc:
                if session.error_code(exc) != "ClusterNotFoundException":
                    raise
                return {}  # and every task of it
        for handle in handles:
            young = self._clock() - Handle.parse(handle).created < _UNSEEN
            if young and handle not in found and handle not in self._removed:
                found[handle] = JobStatus("starting")
        return found

    def logs(self, handle: str, cursor: Json) -> LogPage:
        """Return what the job has printed since `cursor`. Done once the task is gone and nothing came for a while."""
        job = Handle.parse(handle)
        where = self._stream(job)
        if where is None:
            return LogPage([], cursor, done=True)
        token, ended = (cursor or {}).get("token"), (cursor or {}).get("ended")
        events, following = self._events(*where, token)
        if events:
            # More may come right behind; whether the task has ended is asked once there is nothing to read.
            lines = [LogLine(event["message"], event["timestamp"] / 1000) for event in events]
            return LogPage(lines, {"token": following, "ended": None}, done=False)
        now = self._clock()
        if ended is None and self._has_ended(handle):
            ended = now
        done = ended is not None and now - ended >= self._settle
        return LogPage([], {"token": following or token, "ended": ended}, done=done)

    def cancel(self, handle: str) -> None:
        """Have ECS stop the task: SIGTERM, and SIGKILL after thirty seconds."""
        job = Handle.parse(handle)
        with _asking("stopping a task"):
            from botocore.exceptions import ClientError

            try:
                self._clients["ecs"].stop_task(cluster=job.cluster, task=job.task, reason="Cancelled by Poolform")
            except ClientError as exc:
                if not _is_gone(exc):
                    raise

    def remove(self, handle: str) -> None:
        """Delete the job's own secrets and the definition that reads them.

        ECS forgets the task itself within the hour, and its output stays in CloudWatch for as long as the log group
        keeps it.
        """
        self._removed.add(handle)
        job = Handle.parse(handle)
        family = job.definition.partition(":")[0]
        folder = definition.once_folder(self._settings["prefix"], family)
        if folder is None:
            return
        with _asking("removing a job's secrets"):
            drop_secrets(self._clients["ssm"], folder)
            drop_definitions(self._clients["ecs"], family)

    def close(self) -> None:
        """Close connections to AWS."""
        self._clients.close()

    def _register(self, wanted: definition.Definition) -> str:
        """Return the ARN of a task definition, registered unless an earlier job or another worker did it."""
        with self._defining:
            if wanted.family not in self._definitions:
                with _asking("registering a task definition", refusing=True):
                    self._definitions[wanted.family] = self._registered(wanted)
            return self._definitions[wanted.family]

    def _registered(self, wanted: definition.Definition) -> str:
        from botocore.exceptions import ClientError

        ecs = self._clients["ecs"]
        try:
            # The family's name is a digest of the content: whatever is there is the same.
            known = ecs.describe_task_definition(taskDefinition=wanted.family)["taskDefinition"]
        except ClientError as exc:
            if session.error_code(exc) != "ClientException":
                raise
            known = ecs.register_task_definition(**wanted.request)["taskDefinition"]
        return str(known["taskDefinitionArn"])

    def _put_secrets(self, folder: str, job: Job) -> None:
        key = self._settings.get("kms_key_arn")
        with _asking("storing secrets", refusing=True):
            for name, value in job.secrets.items():
                self._clients["ssm"].put_parameter(
                    Name=f"{folder}/{name}",
                    Value=value,
                    Type="SecureString",
                    Overwrite=True,  # a replay puts the same
                    Tier="Intelligent-Tiering",
                    **({"KeyId": key} if key else {}),
                )

    def _handle_of(self, arn: str) -> str:
        for task in self._describe([arn]):
            return str(Handle.of(task))
        raise LaunchRefused(f"it was launched before, as {arn}, which ECS no longer shows")

    def _pages(self, **filters: str) -> Iterator[list[str]]:
        pages = (
            self._clients["ecs"].get_paginator("list_tasks").paginate(cluster=self._settings["cluster_arn"], **filters)
        )
        for page in pages:
            if page["taskArns"]:
                yield page["taskArns"]

    def _describe(self, arns: Sequence[str]) -> list[dict[str, Any]]:
        cluster = arns[0].replace(":task/", ":cluster/").rsplit("/", 1)[0]
        tasks: list[dict[str, Any]] = self._clients["ecs"].describe_tasks(cluster=cluster, tasks=list(arns))["tasks"]
        return tasks

    def _stream(self, job: Handle) -> tuple[str, str] | None:
        """Return the log group and stream that a job's output goes to; None where it goes elsewhere."""
        if job.definition not in self._containers:
            from botocore.exceptions import ClientError

            with _asking("reading a task definition"):
                try:
                    described = self._clients["ecs"].describe_task_definition(taskDefinition=job.definition)
                except ClientError as exc:
                    if session.error_code(exc) != "ClientException":
                        raise
                    return None  # deleted, as with the pool
            self._containers[job.definition] = described["taskDefinition"]["containerDefinitions"]
        for container in self._containers[job.definition]:
            if container["name"] == job.container:
                return definition.log_stream(container, job.task)
        return None

    def _events(self, group: str, stream: str, token: str | None) -> tuple[list[dict[str, Any]], str | None]:
        from botocore.exceptions import ClientError

        with _asking("reading logs"):
            try:
                page = self._clients["logs"].get_log_events(
                    logGroupName=group,
                    logStreamName=stream,
                    startFromHead=True,
                    **({"nextToken": token} if token else {}),
                )
            except ClientError as exc:
                if session.error_code(exc) != "ResourceNotFoundException":
                    raise
                return [], None  # the stream appears with the first line
            return page["events"], page["nextForwardToken"]

    def _has_ended(self, handle: str) -> bool:
        status = self.poll([handle]).get(handle)
        return status is None or status.state == "exited"


def drop_secrets(ssm: Any, folder: str) -> None:
    """Delete every parameter below a path."""
    names = []
    for page in ssm.get_paginator("get_parameters_by_path").paginate(Path=folder, Recursive=True):
        names += [parameter["Name"] for parameter in page["Parameters"]]
    for start in range(0, len(names), 10):  # most that DeleteParameters takes
        ssm.delete_parameters(Names=names[start : start + 10])


def drop_definitions(ecs: Any, family: str) -> None:
    """Deregister and delete every revision of a family of task definitions."""
    arns = []
    for status in ("ACTIVE", "INACTIVE"):
        for page in ecs.get_paginator("list_task_definitions").paginate(familyPrefix=family, status=status):
            arns += page["taskDefinitionArns"]
            if status == "ACTIVE":
                for arn in page["taskDefinitionArns"]:
                    ecs.deregister_task_definition(taskDefinition=arn)
    arns = list(dict.fromkeys(arns))
    for start in range(0, len(arns), 10):  # most that DeleteTaskDefinitions takes
        ecs.delete_task_definitions(taskDefinitions=arns[start : start + 10])


@contextmanager
def _asking(doing: str, *, refusing: bool = False) -> Iterator[None]:
    """Turn what boto3 raises into Unavailable; `refusing`, what AWS will never do into LaunchRefused."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except ClientError as exc:
        code, text = session.error_code(exc), session.error_text(exc)
        status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
        if code in session.NOT_ACCEPTED:
            raise Unavailable(f"{doing}: AWS does not accept the pool's credential: {text}") from exc
        if refusing and code not in session.THROTTLED and status < 500:
            raise LaunchRefused(f"{doing}: {text}") from exc
        raise Unavailable(f"{doing}: {text}") from exc
    except NoCredentialsError as exc:
        where = "log in to AWS, or set AWS_PROFILE or AWS_ACCESS_KEY_ID, where this runs"
        raise Unavailable(f"{doing}: there are no AWS credentials here ({where})") from exc
    except BotoCoreError as exc:
        raise Unavailable(f"{doing}: {exc}") from exc


def _refusal(reasons: Sequence[str]) -> Exception:
    text = "; ".join(filter(None, reasons)) or "ECS started no task and gave no reason"
    if any(mark.lower() in text.lower() for mark in _FULL):
        return NoCapacity(text)
    return LaunchRefused(text)


def _is_gone(exc: Any) -> bool:
    code, text = session.error_code(exc), session.error_text(exc).lower()
    return code in ("InvalidParameterException", "ClusterNotFoundException") and any(m in text for m in _NOT_FOUND)
