"""A job's output, of which Azure shows only the last part, read on from a cursor without losing or repeating lines.

It keeps 4 MB of a running container, and 16 KB or 1,000 lines of one that has ended.
https://learn.microsoft.com/azure/container-instances/container-instances-quotas
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Self

from poolform.core.runs.launchers import LogLine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolform.core.runs.launchers import Json

RUNNING_LIMIT = 4_000_000
"""Bytes, time stamps included: what comes near it may have been cut."""
ENDED_LIMIT = 16_000
ENDED_LINES = 1000
GAP = (
    "[Poolform: lines may be missing here; Azure keeps the last 4 MB of a running container's output, and 16 KB or "
    "1,000 lines of one that has ended]"
)
_STAMPED = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d) ?")


@dataclass(frozen=True)
class Place:
    """How far a job's output has been read: the time stamp of the last line, and how many lines bore the same."""

    stamp: str = ""
    same: int = 0

    @classmethod
    def parse(cls, cursor: Json) -> Self:
        """Read what `to_json` returned; None is the start."""
        return cls(**cursor) if cursor else cls()

    def to_json(self) -> Json:
        """Return plain JSON."""
        return {"stamp": self.stamp, "same": self.same}


def read_on(content: str, place: Place, *, ended: bool) -> tuple[list[LogLine], Place]:
    """Return the lines of `content`, output with time stamps, that come after `place`, and the place after them."""
    if not ended and not content.endswith("\n"):
        content = content[: content.rfind("\n") + 1]  # a line that is still being written
    stamped = _split(content)
    lines: list[LogLine] = []
    same = 0
    for stamp, text in stamped:
        if _order(stamp) < _order(place.stamp):
            continue
        if stamp == place.stamp:
            same += 1
            if same <= place.same:
                continue
        lines.append(LogLine(text, _seconds(stamp)))
    if not stamped or not lines:
        return [], place
    last = stamped[-1][0]
    count = sum(stamp == last for stamp, _ in stamped)
    following = Place(last, max(count, place.same if last == place.stamp else 0))
    if _is_cut(content, stamped, place, ended=ended):
        lines.insert(0, LogLine(GAP, lines[0].at))
    return lines, following


def _is_cut(content: str, stamped: Sequence[tuple[str, str]], place: Place, *, ended: bool) -> bool:
    """Say whether lines between `place` and what can be seen may be gone."""
    if place.stamp and _order(stamped[0][0]) <= _order(place.stamp):
        return False  # the last line that was read can still be seen
    if place.stamp:
        return True
    # What is kept is cut at a line: it may fall short of the limit by a line's length.
    size = len(content.encode()) + max(len(line) for line in content.splitlines())
    if ended:
        return len(stamped) >= ENDED_LINES or size >= ENDED_LIMIT
    return size >= RUNNING_LIMIT


def _split(content: str) -> list[tuple[str, str]]:
    """Return time stamp and text of each line. What bears no stamp goes with the line before it."""
    found: list[tuple[str, str]] = []
    for line in content.removesuffix("\n").split("\n"):
        match = _STAMPED.match(line)
        if match:
            found.append((match[0].rstrip(), line[match.end() :].removesuffix("\r")))
        elif found:
            found.append((found[-1][0], line))
        # A piece of a line that was cut off at the start of what Azure shows is not a line.
    return found


def _order(stamp: str) -> tuple[str, str]:
    """Return what sorts stamps by time, to the nanosecond; Azure writes them in UTC."""
    match = _STAMPED.match(stamp)
    return (match[1], (match[2] or ".0")[1:].ljust(9, "0")) if match else ("", "")


def _seconds(stamp: str) -> float | None:
    match = _STAMPED.match(stamp)
    if match is None:
        return None
    zone = "+00:00" if match[3] == "Z" else match[3]
    return datetime.fromisoformat(f"{match[1]}{(match[2] or '.0')[:7]}{zone}").timestamp()
