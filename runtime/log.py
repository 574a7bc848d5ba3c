"""The job's log: the flow's output as it comes, and our own lines whole between it."""

from __future__ import annotations

import contextlib
import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

REASON_LIMIT = 500
"""Most characters of a reason."""


class Log:
    """Owns stdout and stderr as far as a job must: UTF-8, flushed line by line, and our lines never glued to others'.

    Our lines go to a duplicate of stdout (of stderr, where stdout is closed), so a flow may close its own.
    """

    def __init__(self) -> None:
        self.fd = _duplicate(1, 2)
        self.ends: dict[TextIO, bytes] = {}  # the last byte that each stream was given
        for stream in (sys.stdout, sys.stderr):
            if stream:
                self._follow(stream)

    def _follow(self, stream: Any) -> None:
        """Note the last byte of each write to `stream`, text and binary alike, to know whether a line is open."""
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
        # Not the raw file's: interrupted by a signal after it had written, it would write the same bytes again.
        write = stream.buffer.write

        def followed(data: Any) -> Any:
            self.ends[stream] = bytes(data[-1:])[-1:] or self.ends.get(stream, b"")
            return write(data)

        stream.buffer.write = followed

    def fresh_line(self) -> None:
        """Flush what the flow has printed, and end its last line if that is open."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):  # it is None, nobody reads it, it is closed
                stream.flush()
        if self._line_is_open():
            self._write(b"\n")
            self.ends.clear()

    def event(self, event: str, **details: Any) -> None:
        """Print one line of ours."""
        text = json.dumps({"event": event, **details}, ensure_ascii=False, separators=(",", ":"))
        self._write(b"poolform: " + text.encode("utf-8", "backslashreplace") + b"\n")

    def _line_is_open(self) -> bool:
        try:  # a file that we may read knows best: subprocesses write to it too
            last = os.pread(self.fd, 1, max(os.fstat(self.fd).st_size - 1, 0))
        except (OSError, TypeError):
            return bool(b"".join(self.ends.values()).strip(b"\n"))
        return last not in (b"", b"\n")

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError, TypeError):  # nobody listens; the exit code still tells
            os.set_blocking(self.fd, True)  # a child may have set the shared pipe to non-blocking
            while data:
                data = data[os.write(self.fd, data) :]


def one_line(text: str) -> str:
    """Return `text` on one line of bounded length."""
    text = " ".join(text.split())
    return text if len(text) <= REASON_LIMIT else text[: REASON_LIMIT - 1] + "…"


def _duplicate(*fds: int) -> Any:
    for fd in fds:
        with contextlib.suppress(OSError):
            return os.dup(fd)
    return None
