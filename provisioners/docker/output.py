"""A container's output, a page at a time, from the engine's stream of log entries. Pure.

Each entry is a frame: which stream it was printed to, and its length, then a time stamp, a space and the text. Long
lines come as several entries, all but the last without a newline. The cursor is the last entry's time and how many
entries of that very time have been read.
https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach (stream format)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from poolform.core.runs.launchers import LogLine, LogPage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from poolform.core.runs.launchers import Json

PAGE_LINES = 5_000
LINE_BYTES = 64 * 1024
"""Longer lines are split."""


@dataclass(frozen=True)
class Entry:
    """One entry of the log: which stream (1, 2), when (as the engine writes it), and what."""

    stream: int
    at: str
    text: bytes


def entries(chunks: Iterable[bytes]) -> Iterator[Entry]:
    """Take the engine's stream apart; what was cut off at its end is left out."""
    buffer = b""
    for chunk in chunks:
        buffer += chunk
        taken = 0
        while len(buffer) >= taken + 8:
            end = taken + 8 + int.from_bytes(buffer[taken + 4 : taken + 8], "big")
            if len(buffer) < end:
                break
            stamp, _, text = buffer[taken + 8 : end].partition(b" ")
            yield Entry(buffer[taken], stamp.decode("ascii", "replace"), text)
            taken = end
        buffer = buffer[taken:]


def since(cursor: Json) -> float:
    """Return from when on the engine is to be asked, in seconds since the epoch: a bit early rather than late."""
    return int(_seconds(cursor["at"]) * 1000) / 1000 if cursor else 0


def page(found: Iterable[Entry], cursor: Json, *, ended: bool, only_ours: bool = False) -> LogPage:
    """Return whole lines after `cursor`.

    What may still grow is held back, with what came after it; `ended`: nothing does. `only_ours` leaves out what the
    runtime did not write.
    """
    reading = _Reading(cursor)
    for entry in found:
        if not reading.is_new(entry):
            continue
        if len(reading.lines) >= PAGE_LINES:
            reading.flush()
            return reading.page(done=False, only_ours=only_ours)
        reading.take(entry)
    if ended:
        reading.flush()
    return reading.page(done=ended, only_ours=only_ours)


class _Reading:
    """Lines so far, lines that are not whole yet, and how far everything was whole."""

    def __init__(self, cursor: Json) -> None:
        self.lines: list[tuple[str, bytes]] = []
        self._open: dict[int, tuple[str, bytes]] = {}  # stream → when its line began, and what there is of it
        self._start = self._position = (cursor["at"], cursor["seen"]) if cursor else ("", 0)
        self._whole = (0, self._position)
        self._passed = 0  # entries of the cursor's own time that were read before

    def is_new(self, entry: Entry) -> bool:
        """Say whether an entry comes after the cursor. The engine's stamps have one length, so text compares them."""
        at, seen = self._start
        if entry.at == at and self._passed < seen:
            self._passed += 1
            return False
        return entry.at >= at

    def take(self, entry: Entry) -> None:
        at, seen = self._position
        self._position = (entry.at, seen + 1) if entry.at == at else (entry.at, 1)
        begun, text = self._open.pop(entry.stream, (entry.at, b""))
        text += entry.text
        if text.endswith(b"\n") or len(text) >= LINE_BYTES:
            self.lines.append((begun, text))
        else:
            self._open[entry.stream] = begun, text
        if not self._open:
            self._whole = len(self.lines), self._position

    def flush(self) -> None:
        """Take lines as whole that are not: nothing can be added to them, or the page is full."""
        self.lines.extend(self._open.values())
        self._open.clear()
        self._whole = len(self.lines), self._position

    def page(self, *, done: bool, only_ours: bool) -> LogPage:
        count, (at, seen) = self._whole
        lines = [
            LogLine(_decoded(text), _seconds(begun))
            for begun, text in self.lines[:count]
            if not only_ours or text.startswith(b"poolform: {")
        ]
        return LogPage(lines, {"at": at, "seen": seen} if at else None, done)


def _decoded(text: bytes) -> str:
    return (
        text.removesuffix(b"\n")
        .removesuffix(b"\r")
        .decode("utf-8", "replace")
        .replace("\0", "\N{REPLACEMENT CHARACTER}")
    )


def _seconds(stamp: str) -> float:
    """Return seconds since the epoch of a stamp such as 2026-01-02T03:04:05.123456789Z."""
    return datetime.fromisoformat(f"{stamp[:26]}+00:00").timestamp()
