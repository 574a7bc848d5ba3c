"""The Kubernetes API's requests, told apart as its authorisation does, and its errors.

https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/v1"
    r"(?:/namespaces/(?P<namespace>[^/]+))?(?:/(?P<resource>[^/]+)(?:/(?P<object>[^/]+)(?:/(?P<sub>[^/]+))?)?)?"
)


@dataclass(frozen=True)
class Request:
    """One request. `resource` has its subresource, as in `pods/log`; `object` is the name of what it is about."""

    verb: str
    group: str
    resource: str
    namespace: str | None
    object: str | None
    query: dict[str, str]
    headers: dict[str, str] = field(repr=False)
    content: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """What faults are matched by, such as `create jobs`."""
        return f"{self.verb} {self.resource}"

    @property
    def body(self) -> Any:
        if not self.content:
            return None
        try:
            return json.loads(self.content)
        except ValueError as exc:
            raise ApiError(400, "BadRequest", f"the object provided is unrecognized: {exc}") from exc


class ApiError(Exception):
    """A Status object, as every error of the API comes."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message,
            "reason": self.reason, "code": self.status,
        }  # fmt: skip


def not_found(resource: str, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{resource} "{name}" not found')


def invalid(kind: str, name: str, *problems: str) -> ApiError:
    text = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
    return ApiError(422, "Invalid", f'{kind} "{name}" is invalid: {text}')


def parse(method: str, target: str, headers: dict[str, str], content: bytes) -> Request:
    path, _, text = target.partition("?")
    query = {key: values[0] for key, values in parse_qs(text, keep_blank_values=True).items()}
    match = _PATH.fullmatch(unquote(path))
    if match is None:
        raise ApiError(404, "NotFound", "the server could not find the requested resource")
    group, namespace, resource, name, sub = match.group("group", "namespace", "resource", "object", "sub")
    if resource is None:
        resource, name = "namespaces", namespace
    verbs = {"POST": "create", "PATCH": "patch", "PUT": "update"}
    verb = verbs.get(method) or {"GET": ("list", "get"), "DELETE": ("deletecollection", "delete")}[method][bool(name)]
    return Request(
        verb, group or "", f"{resource}/{sub}" if sub else resource, namespace, name, query, headers, content
    )
