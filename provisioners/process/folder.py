"""One job's folder: everything that is known of a job is a file in it, so that no dispatcher need live to know it."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from typing import TYPE_CHECKING

from poolform.provisioners.process.leaders import Leader
from poolform.provisioners.process.wrapper import CLAIM, EXIT

if TYPE_CHECKING:
    from pathlib import Path

    from poolform.core.runs.launchers import Json, LogPage

_STARTING = 5.0
"""Seconds after which a wrapper that has not said who it is never will: it takes milliseconds."""


class JobFolder:
    """The files of one job."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        """Make the folder, private to this user."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def exists(self) -> bool:
        """Whether there is such a job."""
        return self.path.is_dir()

    @property
    def claimed(self) -> bool:
        """Whether a wrapper has taken the right to start the job."""
        return (self.path / CLAIM).exists()

    def leader(self) -> Leader | None:
        """Return the wrapper that took it, None where none did or it has not said who it is."""
        record = self._read(CLAIM)
        return Leader.parse(record) if record else None

    def exit_code(self) -> int | None:
        """Return the job's exit code, None where none is recorded."""
        record = self._read(EXIT)
        return int(record) if record and record.endswith("\n") else None

    @property
    def may_be_starting(self) -> bool:
        """Whether a wrapper may be on its way that has not said who it is."""
        for name in (CLAIM, "."):
            with contextlib.suppress(OSError):
                return time.time() - (self.path / name).stat().st_mtime < _STARTING
        return False

    def note(self, name: str) -> None:
        """Remember that something was done, and when it was done first: cancelled, killed, quiet."""
        with contextlib.suppress(FileExistsError):
            (self.path / name).touch(exist_ok=False)

    def noted(self, name: str) -> float | None:
        """Return when something was done first, in seconds since the epoch; None where it was not."""
        try:
            return (self.path / name).stat().st_mtime
        except FileNotFoundError:
            return None

    def open_log(self) -> int:
        """Return a descriptor that appends to the log. The runtime also reads from it, to end lines left open."""
        return os.open(self.path / "log", os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def page(self, cursor: Json, *, ended: bool) -> LogPage:
        """Return what was logged since `cursor`; `ended`: nobody writes any more."""
        from poolform.provisioners.process.logfile import page

        return page(self.path / "log", cursor or 0, ended=ended, only_ours=self.noted("quiet") is not None)

    def delete(self) -> None:
        """Remove the folder with all that is in it. At once for everybody who looks, however long that takes."""
        bin_ = self.path.with_name(f".removed-{self.path.name}")
        shutil.rmtree(bin_, ignore_errors=True)  # somebody began to, and was killed
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(bin_)
        shutil.rmtree(bin_, ignore_errors=True)

    def _read(self, name: str) -> str | None:
        try:
            return (self.path / name).read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return None
