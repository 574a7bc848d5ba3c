"""A job's log file, a page at a time. The cursor is the number of bytes that have been read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolform.core.runs.launchers import LogLine, LogPage

if TYPE_CHECKING:
    from pathlib import Path

PAGE_BYTES = 256 * 1024
LINE_BYTES = 64 * 1024
"""Longer lines are split."""
PAGE_LINES = 5_000


def page(path: Path, start: int, *, ended: bool, only_ours: bool = False) -> LogPage:
    """Return whole lines from `start` on, the last one held back while it may still grow; `ended`: it can't.

    What is no UTF-8, and NUL, becomes U+FFFD. `only_ours` leaves out what the runtime did not write.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(PAGE_BYTES)
            last = not file.read(1)
    except FileNotFoundError:
        return LogPage((), start, ended)
    lines: list[LogLine] = []
    taken = 0
    while taken < len(data) and len(lines) < PAGE_LINES:
        end = data.find(b"\n", taken, taken + LINE_BYTES)
        if end >= 0:
            text, following = data[taken:end], end + 1
        elif len(data) - taken >= LINE_BYTES:
            following = _before_a_character(data, taken + LINE_BYTES)
            text = data[taken:following]
        elif ended and last:
            text, following = data[taken:], len(data)
        else:
            break
        if not only_ours or text.startswith(b"poolform: {"):
            lines.append(LogLine(_decoded(text)))
        taken = following
    return LogPage(lines, start + taken, ended and last and taken == len(data))


def _before_a_character(data: bytes, end: int) -> int:
    """Move `end` back to where a UTF-8 character begins, if one is near."""
    for position in range(end, end - 4, -1):
        if position < len(data) and data[position] & 0xC0 != 0x80:
            return position
    return end


def _decoded(text: bytes) -> str:
    return text.removesuffix(b"\r").decode("utf-8", "replace").replace("\0", "�")
