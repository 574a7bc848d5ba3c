"""Google's wire format, as far as telling requests apart and answering in its own dialect goes.

https://cloud.google.com/apis/design/errors
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

STATUSES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    409: "ALREADY_EXISTS", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
}  # fmt: skip


@dataclass(frozen=True)
class Request:
    """One API request. `name` is like the IAM permission that it needs, such as `run.jobs.create`."""

    name: str
    args: tuple[str, ...]
    query: dict[str, str]
    body: dict[str, Any]
    caller: str
    raw: bytes = field(repr=False)


class GoogleError(Exception):
    """An error as an API would answer it."""

    def __init__(self, code: int, message: str, *, status: str | None = None, reason: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.status, self.reason = code, message, status or STATUSES[code], reason

    def body(self) -> dict[str, Any]:
        error: dict[str, Any] = {"code": self.code, "message": self.message, "status": self.status}
        if self.reason:
            info = {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": self.reason,
                "domain": "googleapis.com",
            }
            error["details"] = [info]
        return {"error": error}


THROTTLED = GoogleError(429, "Quota exceeded for quota metric 'Requests' and limit 'Requests per minute'.")
BUSY = GoogleError(503, "The service is currently unavailable.")
BROKEN = GoogleError(500, "Internal error encountered.")
REFUSED = GoogleError(400, "The stand-in was asked to refuse this.")
