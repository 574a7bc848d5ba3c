"""Which process is which: pids are used again, so a process is its pid and the moment at which it was born."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class Leader:
    """The process that leads a job's group and session: its wrapper.

    `born` tells it from every other process that has had or will have its pid, across reboots too.
    """

    pid: int
    born: str

    @classmethod
    def parse(cls, record: str) -> Leader | None:
        """Read what a wrapper wrote about itself; None where it did not get to write it all."""
        if not record.endswith("\n"):
            return None
        if ")" in record:
            stat, _, boot = record.rstrip().rpartition(" ")
            return cls(int(record.split(" ", 1)[0]), f"{_start_time(stat)} {boot}")
        pid, _, started = record.strip().partition(" ")
        return cls(int(pid), " ".join(started.split()))

    @classmethod
    def own(cls) -> Leader:
        """Return this very process."""
        return cls(os.getpid(), _born(os.getpid()) or "")

    @property
    def is_alive(self) -> bool:
        """Whether this very process is running; one that has ended and that nobody has waited for is not."""
        return _born(self.pid) == self.born

    def end_group(self) -> None:
        """Kill the leader and every process that is left of its group; does nothing when there is none."""
        # A pid that is some group's id is given to nobody, so a stranger with it means that the group has ended.
        if self.is_alive or _born(self.pid) is None:
            send(self.pid, signal.SIGKILL)


def send(group: int, number: int) -> None:
    """Send a signal to a process group; one that has ended, or is not ours to signal, is left alone."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


def _born(pid: int) -> str | None:
    """Return when the running process with this pid was born, None if there is none."""
    if not _has_proc():
        return _ps_born(pid)
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    state = stat.rpartition(")")[2].split()[0]
    return None if state in "ZX" else f"{_start_time(stat)} {_boot_id()}"


def _start_time(stat: str) -> str:
    """Return field 22 of /proc/PID/stat; the second field, the name in parentheses, may hold anything."""
    return stat.rpartition(")")[2].split()[19]


def _ps_born(pid: int) -> str | None:
    """Ask ps, as macOS has no /proc."""
    command = ["ps", "-o", "state=,lstart=", "-p", str(pid)]
    state, _, started = (
        subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip().partition(" ")
    )
    return None if not state or state.startswith("Z") else " ".join(started.split())


@cache
def _has_proc() -> bool:
    return (_PROC / "self" / "stat").exists()


@cache
def _boot_id() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
