"""A job's output, read from Cloud Logging with a cursor that neither loses a line that comes late nor repeats one.

Logging promises no order of arrival: a line may show up after younger ones. So each look goes back some seconds behind
the newest line that was seen, and leaves out the lines, known by their insertId, that were seen there.
https://cloud.google.com/logging/docs/reference/v2/rest/v2/entries/list
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from poolform.core.runs.launchers import LogLine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from poolform.core.runs.launchers import Json
    from poolform.provisioners.cloud_run.session import Google

LATE = 20.0
"""Seconds by which a line may come late and is still not lost."""
_PAGE = 1000  # the most that Logging gives
_EVER = "1970-01-01T00:00:00Z"
_REMEMBERED = 4000  # lines whose ids the cursor holds at most: of a job that prints more in LATE, less far back


@dataclass(frozen=True)
class Cursor:
    """How far a log was read: the newest line's time, and which lines of the seconds before it were seen.

    `ended` is when the job was first known to be over and there was nothing to read, in seconds since the epoch.
    """

    newest: str = ""
    seen: Mapping[str, str] = field(default_factory=dict)
    """Times by a digest of the line's insertId."""
    ended: float | None = None

    @classmethod
    def parse(cls, stored: Json) -> Cursor:
        """Read what `to_json` wrote; None is the start."""
        return cls() if stored is None else cls(stored["newest"], dict(stored["seen"]), stored["ended"])

    def to_json(self) -> Json:
        """Return plain JSON."""
        return {"newest": self.newest, "seen": dict(self.seen), "ended": self.ended}

    def is_at(self, other: Cursor) -> bool:
        """Say whether both have read as far."""
        return self.newest == other.newest and self.seen == other.seen

    def after(self, entries: Sequence[Mapping[str, Any]]) -> Cursor:
        """Return the cursor once these entries were read too."""
        seen = {**self.seen, **{digest(entry): entry["timestamp"] for entry in entries}}
        newest = max([self.newest, *(entry["timestamp"] for entry in entries)], key=_moment)
        since = _moment(newest) - timedelta(seconds=LATE)
        kept = sorted(
            ((at, key) for key, at in seen.items() if _moment(at) >= since), key=lambda pair: _moment(pair[0])
        )
        return Cursor(newest, {key: at for at, key in kept[-_REMEMBERED:]})

    @property
    def since(self) -> str | None:
        """From when on lines are asked for; None for all of them."""
        if not self.newest:
            return None
        if len(self.seen) >= _REMEMBERED:
            return min(self.seen.values(), key=_moment)
        return (_moment(self.newest) - timedelta(seconds=LATE)).isoformat()


@dataclass(frozen=True)
class Page:
    """What was found, by job, oldest first; after how many questions; and whether there is nothing behind it."""

    entries: Mapping[str, list[dict[str, Any]]]
    questions: int
    is_last: bool


def read(google: Google, project: str, region: str, cursors: Mapping[str, Cursor]) -> Page:
    """Return a page of what these jobs have printed since their cursors. Raises google.api_core.exceptions."""
    request: dict[str, Any] = {
        "resourceNames": [f"projects/{project}"],
        "filter": _filter(project, region, cursors),
        "orderBy": "timestamp asc",
        "pageSize": _PAGE,
    }
    questions = 0
    while True:
        answer = google.call("POST", "logging", "v2/entries:list", request)
        questions += 1
        fresh: dict[str, list[dict[str, Any]]] = {}
        for entry in answer.get("entries", ()):
            job = entry["resource"]["labels"]["job_name"]
            if job in cursors and digest(entry) not in cursors[job].seen:
                fresh.setdefault(job, []).append(entry)
        token = answer.get("nextPageToken")
        if fresh or not token:
            return Page(fresh, questions, not token)
        request["pageToken"] = token


def line(entry: Mapping[str, Any]) -> LogLine:
    """Return an entry as the line that was printed. Cloud Run reads a line that is a JSON object as one."""
    text = entry.get("textPayload")
    if text is None:
        text = json.dumps(entry.get("jsonPayload", {}), ensure_ascii=False)
    return LogLine(text.rstrip("\n"), _moment(entry["timestamp"]).timestamp())


def digest(entry: Mapping[str, Any]) -> str:
    """Return a short name of an entry."""
    return hashlib.sha256(entry["insertId"].encode()).hexdigest()[:12]


def _filter(project: str, region: str, cursors: Mapping[str, Cursor]) -> str:
    names = " OR ".join(f'"projects/{project}/logs/run.googleapis.com%2F{stream}"' for stream in ("stdout", "stderr"))
    since = {job: cursor.since or _EVER for job, cursor in cursors.items()}
    jobs = " OR ".join(f'(resource.labels.job_name="{job}" AND timestamp>="{at}")' for job, at in since.items())
    return " AND ".join(
        (
            'resource.type="cloud_run_job"',
            f'resource.labels.location="{region}"',
            f"logName=({names})",
            f'timestamp>="{min(since.values(), key=_moment)}"',  # without one of its own, Logging would add a bound
            f"({jobs})",
        )
    )


def _moment(text: str) -> datetime:
    """Return a time stamp as a datetime, which holds microseconds: nanoseconds are cut off."""
    if not text:
        return datetime.min.replace(tzinfo=UTC)
    if text.endswith("Z") and "." in text:
        head, _, tail = text[:-1].partition(".")
        text = f"{head}.{tail[:6].ljust(6, '0')}+00:00"
    return datetime.fromisoformat(text)
