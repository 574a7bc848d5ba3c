"""Noticing at once that a job ended: a pidfd for each wrapper, and one epoll that is readable when one has ended."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from typing import TYPE_CHECKING

from poolform.provisioners.process.launcher import GRACE, ProcessLauncher

if TYPE_CHECKING:
    from pathlib import Path

    from poolform.provisioners.process.launcher import Inherited, Scratch


def process_launcher(
    folder: Path, *, grace: float = GRACE, inherited: Inherited | None = None, scratch: Scratch | None = None
) -> ProcessLauncher:
    """Return a launcher for the jobs below `folder`: one that notifies where this system has pidfds (Linux 5.3)."""
    kind = NotifyingProcessLauncher if sys.platform == "linux" and _has_pidfds() else ProcessLauncher
    return kind(folder, grace=grace, inherited=inherited, scratch=scratch)


class NotifyingProcessLauncher(ProcessLauncher):
    """A ProcessLauncher that can be waited for."""

    def __init__(
        self, folder: Path, *, grace: float = GRACE, inherited: Inherited | None = None, scratch: Scratch | None = None
    ) -> None:
        super().__init__(folder, grace=grace, inherited=inherited, scratch=scratch)
        self._epoll = select.epoll()
        self._pidfds: dict[str, tuple[int, int]] = {}  # handle → pid, pidfd

    def fileno(self) -> int:
        """Return a descriptor that is readable as long as some watched job has ended and was not polled since."""
        return self._epoll.fileno()

    def close(self) -> None:
        """Stop watching; jobs go on."""
        for handle in list(self._pidfds):
            self._unwatch(handle)
        self._epoll.close()
        super().close()

    def _watch(self, handle: str) -> None:
        pid = self._group(handle)
        watched = self._pidfds.get(handle)
        if pid is None or (watched is not None and watched[0] == pid):
            return
        if watched is not None:  # another dispatcher's wrapper won the job: its end is the one that counts
            self._unwatch(handle)
        with contextlib.suppress(ProcessLookupError):  # ended this instant: the next poll sees it
            pidfd = os.pidfd_open(pid)
            self._pidfds[handle] = pid, pidfd
            self._epoll.register(pidfd, select.EPOLLIN)

    def _unwatch(self, handle: str) -> None:
        _, pidfd = self._pidfds.pop(handle, (0, -1))
        if pidfd >= 0:
            self._epoll.unregister(pidfd)
            os.close(pidfd)


def _has_pidfds() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):  # an older kernel, or a sandbox that forbids it
        return False
    return True
