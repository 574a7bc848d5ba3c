"""Requests to Azure's APIs, and how they refuse."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """One request. `api` is arm, graph, login or registry; `name` is what faults go by, as `PUT groups`."""

    api: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    name: str = ""

    def json(self) -> Any:
        try:
            return json.loads(self.body or b"{}")
        except ValueError as exc:
            raise AzureError(400, "InvalidRequestContent", "The request content was invalid.") from exc


@dataclass(frozen=True)
class Response:
    status: int
    content: Any = None
    headers: tuple[tuple[str, str], ...] = ()


class AzureError(Exception):
    """An error as the service would answer it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status, self.code, self.message = status, code, message

    def response(self, request: Request) -> Response:
        if request.api in ("login", "registry"):
            return Response(self.status, {"error": self.code, "error_description": self.message})
        return Response(self.status, {"error": {"code": self.code, "message": self.message}})


THROTTLED = AzureError(429, "TooManyRequests", "The request is being throttled.")
BROKEN = AzureError(500, "InternalServerError", "The stand-in was asked to break here.")
REFUSED = AzureError(400, "InvalidParameter", "The stand-in was asked to refuse this.")
