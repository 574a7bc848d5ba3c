"""The output of all jobs that somebody follows, read together: a project may ask Cloud Logging sixty times a minute.

https://cloud.google.com/logging/quotas
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from poolform.provisioners.cloud_run import logs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolform.core.runs.launchers import Json
    from poolform.provisioners.cloud_run.logs import Cursor
    from poolform.provisioners.cloud_run.session import Google

INTERVAL = 1.1
"""Seconds between two questions: fewer than sixty a minute."""
_REST = 10.0  # seconds of silence after Google has said that it was too often: other workers ask, too
_FOLLOWED = 15.0  # seconds after which somebody who has not asked again follows a job no more
_MOST = 100  # jobs in one question, whose filter may have 20,000 characters


@dataclass(frozen=True)
class Found:
    """What there was to read of a job since a cursor, oldest first, and when that was asked, on time.monotonic."""

    cursor: Cursor
    entries: list[dict[str, Any]]
    at: float


class Reader:
    """Asks for the output of several jobs at once, and keeps what it found of each until somebody asks. Thread-safe."""

    def __init__(self, google: Google, settings: Mapping[str, Json], interval: float = INTERVAL) -> None:
        self._google, self._project, self._region = google, settings["project"], settings["region"]
        self._interval, self._next = interval, 0.0
        self._wanted: dict[str, tuple[Cursor, float]] = {}
        self._found: dict[str, Found] = {}
        self._lock = threading.Lock()

    def read(self, job: str, cursor: Cursor) -> Found | None:
        """Return what is new of a job since `cursor`; None where that is not known just now, so ask again.

        Raises what Google's libraries raise, but for having asked too often.
        """
        with self._lock:
            now = time.monotonic()
            self._wanted[job] = (cursor, now)
            ready = self._found.pop(job, None)
            if ready is not None and ready.cursor.is_at(cursor):
                return ready
            if now < self._next:
                return None
            self._ask(job, now)
            return self._found.pop(job, None)

    def _ask(self, job: str, now: float) -> None:
        from google.api_core.exceptions import TooManyRequests

        followed = {name: cursor for name, (cursor, at) in self._wanted.items() if now - at < _FOLLOWED}
        self._wanted = {name: wanted for name, wanted in self._wanted.items() if name in followed}
        self._found = {name: found for name, found in self._found.items() if name in followed}
        # Whoever asks is among them; of the others, those whose turn was longest ago.
        waiting = sorted(followed.keys() - {job} - self._found.keys(), key=lambda name: self._wanted[name][1])
        asked = {name: followed[name] for name in (job, *waiting[: _MOST - 1])}
        self._next = now + self._interval
        try:
            page = logs.read(self._google, self._project, self._region, asked)
        except TooManyRequests:
            self._next = now + _REST
            return
        self._next = now + self._interval * page.questions
        for name, cursor in asked.items():
            entries = page.entries.get(name, [])
            if entries or page.is_last:  # else its lines may be on a later page
                self._found[name] = Found(cursor, entries, now)
