"""Task definitions, with ECS's rules: what Fargate takes, revisions that never come back, three lives."""

from __future__ import annotations

import json
import re
import threading
from typing import Any

from clouds.aws.accounts import ACCOUNT
from clouds.aws.wire import AwsError, Request

FARGATE_MEMORY = {
    256: (512, 1024, 2048),
    512: range(1024, 4096 + 1, 1024),
    1024: range(2048, 8192 + 1, 1024),
    2048: range(4096, 16384 + 1, 1024),
    4096: range(8192, 30720 + 1, 1024),
    8192: range(16384, 61440 + 1, 4096),
    16384: range(32768, 122880 + 1, 8192),
}
# A task definition is at most 64 KB.
LARGEST = 65536


class Definitions:
    def __init__(self) -> None:
        self.by_arn: dict[str, dict[str, Any]] = {}
        self._revisions: dict[str, int] = {}
        self._lock = threading.RLock()

    def active(self, region: str, name: str) -> dict[str, Any]:
        """The definition that RunTask would use for an ARN, `family:revision` or `family`."""
        definition = self._find(region, name)
        if definition is None:
            raise AwsError("ClientException", "TaskDefinition not found.")
        if definition["status"] != "ACTIVE":
            raise AwsError("InvalidParameterException", "TaskDefinition is inactive")
        return definition

    def register(self, request: Request) -> dict[str, Any]:
        params = request.params
        family = params["family"]
        _check(params)
        with self._lock:
            revision = self._revisions[family] = self._revisions.get(family, 0) + 1
            arn = f"arn:aws:ecs:{request.region}:{ACCOUNT}:task-definition/{family}:{revision}"
            tags = params.get("tags", [])
            definition = {
                **{key: value for key, value in params.items() if key != "tags"},
                "taskDefinitionArn": arn, "revision": revision, "status": "ACTIVE", "tags": tags,
            }  # fmt: skip
            self.by_arn[arn] = definition
        return {"taskDefinition": _shown(definition), "tags": tags}

    def describe(self, request: Request) -> dict[str, Any]:
        definition = self._find(request.region, request.params["taskDefinition"])
        if definition is None:
            raise AwsError("ClientException", "Unable to describe task definition.")
        tags = {"tags": definition["tags"]} if "TAGS" in request.params.get("include", ()) else {}
        return {"taskDefinition": _shown(definition), **tags}

    def deregister(self, request: Request) -> dict[str, Any]:
        name = request.params["taskDefinition"]
        definition = self._find(request.region, name) if ":" in name else None
        if definition is None:
            raise AwsError("ClientException", "The specified task definition does not exist.")
        definition["status"] = "INACTIVE"
        return {"taskDefinition": _shown(definition)}

    def delete(self, request: Request) -> dict[str, Any]:
        names = request.params["taskDefinitions"]
        if len(names) > 10:
            raise AwsError("InvalidParameterException", "A maximum of 10 task definitions can be deleted at once.")
        deleted, failures = [], []
        for name in names:
            definition = self._find(request.region, name)
            if definition is None:
                failures.append({"arn": name, "reason": "TASK_DEFINITION_NOT_FOUND"})
            elif definition["status"] == "ACTIVE":
                detail = "Deregister it first."
                failures.append({"arn": name, "reason": "The specified task definition is active.", "detail": detail})
            else:
                deleted.append({**_shown(definition), "status": "DELETE_IN_PROGRESS"})
                del self.by_arn[definition["taskDefinitionArn"]]
        return {"taskDefinitions": deleted, "failures": failures}

    def list(self, request: Request) -> dict[str, Any]:
        family, status = request.params.get("familyPrefix"), request.params.get("status", "ACTIVE")
        arns = [
            arn
            for arn, definition in sorted(self.by_arn.items())
            # Despite its name, this filter is a whole family.
            if definition["status"] == status and family in (None, definition["family"])
        ]
        return page(request, "taskDefinitionArns", arns)

    def families(self, request: Request) -> dict[str, Any]:
        prefix, status = request.params.get("familyPrefix", ""), request.params.get("status", "ALL")
        active = {definition["family"] for definition in self.by_arn.values() if definition["status"] == "ACTIVE"}
        every = {definition["family"] for definition in self.by_arn.values()}
        names = {"ACTIVE": active, "INACTIVE": every - active, "ALL": every}[status]
        return page(request, "families", sorted(name for name in names if name.startswith(prefix)))

    def _find(self, region: str, name: str) -> dict[str, Any] | None:
        if name.startswith("arn:"):
            return self.by_arn.get(name)
        if ":" in name:
            return self.by_arn.get(f"arn:aws:ecs:{region}:{ACCOUNT}:task-definition/{name}")
        with self._lock:
            found = [
                definition
                for definition in self.by_arn.values()
                if definition["family"] == name and definition["status"] == "ACTIVE"
            ]
        return max(found, key=lambda definition: definition["revision"], default=None)


def page(request: Request, key: str, items: list[Any]) -> dict[str, Any]:
    """One page of a list, as nextToken and maxResults ask."""
    size = request.params.get("maxResults", 100)
    if not 1 <= size <= 100:
        raise AwsError("InvalidParameterException", "maxResults must be between 1 and 100.")
    start = int(request.params.get("nextToken", 0))
    more = {"nextToken": str(start + size)} if start + size < len(items) else {}
    return {key: items[start : start + size], **more}


def _shown(definition: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in definition.items() if key != "tags"}


def _check(params: dict[str, Any]) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", params["family"]):
        raise AwsError("ClientException", "Family contains invalid characters.")
    if len(json.dumps(params, separators=(",", ":"))) > LARGEST:
        raise AwsError("ClientException", "Actual length is greater than the maximum: 65536 bytes.")
    containers = params["containerDefinitions"]
    if not containers:
        raise AwsError("ClientException", "Container list cannot be empty.")
    if "FARGATE" not in params.get("requiresCompatibilities", ()):
        return
    try:
        cpu, memory = int(params["cpu"]), int(params["memory"])
    except (KeyError, ValueError):
        raise AwsError("ClientException", "Fargate requires task definition to have cpu and memory.") from None
    if memory not in FARGATE_MEMORY.get(cpu, ()):
        raise AwsError("ClientException", "No Fargate configuration exists for given values.")
    logs = any((container.get("logConfiguration") or {}).get("logDriver") == "awslogs" for container in containers)
    if logs and not params.get("executionRoleArn"):
        raise AwsError(
            "ClientException",
            "Fargate requires task definition to have execution role ARN to support log driver awslogs.",
        )
