"""What a process is kept to: a user of its own, memory, CPUs. By the system's own programs, which replace each other.

`prlimit`, `taskset` and `setpriv` (util-linux) are exec'ed one after the other and end as the job, so a signal to the
job's group reaches it as ever. Each takes about a millisecond.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import zlib
from dataclasses import dataclass
from functools import cache
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from poolform.core.runs.launchers import LaunchRefused, NoCapacity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# systemd hands out this range to services that are to have a user only while they run:
# https://systemd.io/UIDS-GIDS/
USERS = range(61184, 65520)
_CLAIMS = Path("/run/poolform/users")


@dataclass(frozen=True)
class Limits:
    """What a job may use; None is no limit."""

    cpus: float | None = None
    memory: int | None = None
    """MiB."""


class Users:
    """Hands out user ids to jobs: nobody else's on this machine while the job is there. Root only."""

    def __init__(self, claims: Path = _CLAIMS) -> None:
        self._claims = claims

    def take(self, scratch: Path) -> int:
        """Return an id that no job has, for the job with this folder, whose name says which is tried first.

        Raises NoCapacity.
        """
        self._claims.mkdir(mode=0o755, parents=True, exist_ok=True)
        first = zlib.crc32(scratch.name.encode())
        for number in range(len(USERS)):
            user = USERS[(first + number) % len(USERS)]
            with contextlib.suppress(FileExistsError):
                (self._claims / str(user)).symlink_to(scratch)
                return user
        raise NoCapacity("every user that jobs may have is taken")

    def taken_for(self, scratch: Path) -> list[int]:
        """Return the ids that were taken for the job with this folder: one, or more if workers died at it."""
        claims = self._claims.iterdir() if self._claims.is_dir() else ()
        return sorted(int(claim.name) for claim in claims if claim.is_symlink() and claim.readlink() == scratch)

    def give_back(self, user: int) -> None:
        """End whatever still runs as this user, wherever it hid, and let others have the id."""
        for process in _processes_of(user):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        with contextlib.suppress(FileNotFoundError):
            (self._claims / str(user)).unlink()


def confined(command: Sequence[str], limits: Limits, user: int | None, key: str) -> list[str]:
    """Return a command that runs `command` within limits, as a user where one is given. Raises LaunchRefused."""
    words: list[str] = []
    if limits.memory is not None:
        # Not the address space, of which interpreters and libraries map far more than they use.
        words += [_program("prlimit"), f"--data={limits.memory * 2**20}", "--"]
    if limits.cpus is not None:
        words += [_program("taskset"), "--cpu-list", ",".join(map(str, _cpus(limits.cpus, key)))]
    if user is not None:
        as_whom = (f"--reuid={user}", f"--regid={user}", "--clear-groups")
        words += [_program("setpriv"), *as_whom, "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all", "--"]
    return [*words, *command]


def _cpus(count: float, key: str) -> list[int]:
    """Return whole CPUs; which ones depends on the job, so that several jobs do not meet on the first."""
    there = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    wanted, first = min(ceil(count), len(there)), zlib.crc32(key.encode())
    return sorted(there[(first + number) % len(there)] for number in range(wanted))


@cache
def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise LaunchRefused(f"This machine has no {name} (util-linux), which keeping a job to its limits takes.")
    return found


def _processes_of(user: int) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if path.stat().st_uid == user:
                yield int(path.name)
