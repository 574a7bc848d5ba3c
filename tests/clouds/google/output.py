"""Cloud Logging: entries of jobs, visible after a while, listed by filter, page by page."""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from clouds.google.wire import GoogleError

if TYPE_CHECKING:
    from collections.abc import Callable

    from clouds.google.wire import Request

_FILTER = re.compile(
    r'resource\.type="cloud_run_job" AND resource\.labels\.location="(?P<location>[^"]+)" AND '
    r'logName=\((?P<logs>[^)]+)\) AND timestamp>="(?P<since>[^"]+)" AND \((?P<jobs>\(.+\))\)'
)
_JOB = re.compile(r'\(resource\.labels\.job_name="([^"]+)" AND timestamp>="([^"]+)"\)')
_KNOWN = {"resourceNames", "filter", "orderBy", "pageSize", "pageToken"}


@dataclass
class Output:
    """What jobs have printed. `late` says by how many seconds a line is shown late."""

    project: str
    late: Callable[[str], float] | None = None
    entries: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    _last: int = 0
    _lock: Any = field(default_factory=threading.Lock)

    def write(self, location: str, job: str, execution: str, text: str) -> None:
        """Add a line. One that is a JSON object becomes one: https://cloud.google.com/run/docs/logging#using-json"""
        with self._lock:
            self._last = max(self._last + 1, time.time_ns() // 1000)
            at = datetime.fromtimestamp(self._last / 1e6, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        entry: dict[str, Any] = {
            "insertId": secrets.token_hex(10),
            "logName": f"projects/{self.project}/logs/run.googleapis.com%2Fstdout",
            "resource": {
                "type": "cloud_run_job",
                "labels": {"job_name": job, "location": location, "project_id": self.project},
            },
            "labels": {"run.googleapis.com/execution_name": execution},
            "timestamp": at,
        }
        try:
            parsed = json.loads(text) if text.startswith("{") else None
        except ValueError:
            parsed = None
        entry |= {"jsonPayload": parsed} if isinstance(parsed, dict) else {"textPayload": text}
        shown = time.time() + (self.late(text) if self.late else 0.0)
        with self._lock:
            self.entries.append((shown, entry))

    def list(self, request: Request) -> dict[str, Any]:
        """entries.list: https://cloud.google.com/logging/docs/reference/v2/rest/v2/entries/list"""
        body = request.body
        unknown = body.keys() - _KNOWN
        if unknown:
            raise GoogleError(400, f'Invalid JSON payload received. Unknown name "{min(unknown)}": Cannot find field.')
        match = _FILTER.fullmatch(body.get("filter", ""))
        if match is None or body.get("resourceNames") != [f"projects/{self.project}"]:
            raise GoogleError(400, f"Unparseable filter: {body.get('filter')}")
        if not 0 < body.get("pageSize", 50) <= 1000 or body.get("orderBy") != "timestamp asc":
            raise GoogleError(400, "page_size must be between 1 and 1000")
        since, now = _moment(match["since"]), time.time()
        jobs = {name: max(since, _moment(at)) for name, at in _JOB.findall(match["jobs"])}
        if len(body["filter"]) > 20_000 or _JOB.sub("", match["jobs"]).replace(" OR ", ""):
            raise GoogleError(400, "Unparseable or overlong filter.")
        with self._lock:
            found = [
                entry for shown, entry in self.entries
                if shown <= now and (labels := entry["resource"]["labels"])["location"] == match["location"]
                and f'"{entry["logName"]}"' in match["logs"] and labels["job_name"] in jobs
                and _moment(entry["timestamp"]) >= jobs[labels["job_name"]]
            ]  # fmt: skip
        found.sort(key=lambda entry: (entry["timestamp"], entry["insertId"]))
        start = int(body.get("pageToken") or 0)
        end = start + body.get("pageSize", 50)
        return {"entries": found[start:end], **({"nextPageToken": str(end)} if end < len(found) else {})}


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
