"""A pod's output, read on from a cursor so that nothing is lost and nothing comes twice.

The API gives lines since a second, not since a line (`sinceTime` of
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/; the kubelet skips each line older than
that, wherever it stands). So the cursor holds a second that lies safely back, how many lines
since then were read, and a digest of those. What comes first next time is the same again, and is skipped; where it
is not (the node began a new file), what is not younger than the last line is.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from poolform.core.runs.launchers import LogLine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolform.core.runs.launchers import Json

# Seconds by which stdout's and stderr's lines may come in another order than their times.
_BACK = 1


class Line(NamedTuple):
    """A line as the API has it: its time, in seconds since the epoch, and all of its bytes."""

    at: float
    raw: bytes

    @property
    def line(self) -> LogLine:
        """The line without its time."""
        return LogLine(self.raw.partition(b" ")[2].decode(errors="replace"), self.at)


@dataclass(frozen=True)
class Cursor:
    """Where reading stopped."""

    since: int | None = None
    seen: int = 0
    digest: str = ""
    last: float = 0.0

    @classmethod
    def of(cls, stored: Json) -> Cursor:
        """Read what `to_json` gave; None is the start."""
        return cls(**stored) if stored else cls()

    def to_json(self) -> Json:
        """Return plain JSON."""
        return {"since": self.since, "seen": self.seen, "digest": self.digest, "last": self.last}

    @property
    def query(self) -> dict[str, str]:
        """What to ask the API for."""
        if self.since is None:
            return {}
        return {"sinceTime": datetime.fromtimestamp(self.since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}

    def advance(self, text: bytes, *, whole: bool) -> tuple[list[LogLine], Cursor]:
        """Return the lines of an answer that are new, and where to go on. `whole`: the last line is no mere piece."""
        lines = _split(text, whole=whole)
        fresh = self._fresh(lines)
        if not fresh:
            return [], self
        last = max(line.at for line in lines)
        since = int(last) - _BACK
        again = [line for line in lines if line.at >= since]
        return [line.line for line in fresh], Cursor(since, len(again), _digest(again), last)

    def _fresh(self, lines: list[Line]) -> list[Line]:
        if _digest(lines[: self.seen]) == (self.digest or _digest([])):
            return lines[self.seen :]
        return [line for line in lines if line.at > self.last]


def _split(text: bytes, *, whole: bool) -> list[Line]:
    pieces = text.split(b"\n")
    if not whole or not pieces[-1]:
        pieces.pop()  # the job is still writing it, or it is the nothing after the last newline
    found: list[Line] = []
    for piece in pieces:
        stamp, _, _ = piece.partition(b" ")
        try:
            found.append(Line(datetime.fromisoformat(stamp.decode()).timestamp(), piece))
        except ValueError:
            # Not the job's: the kubelet says in the middle of the log that it cannot read on.
            continue
    return found


def _digest(lines: Sequence[Line]) -> str:
    return hashlib.sha256(b"\n".join(line.raw for line in lines)).hexdigest()[:16]
