"""Managed jobs as processes: the process launcher, with environments, users and limits around it."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

from poolform.core.runs.launchers import Launcher, LaunchRefused, NoCapacity, Notifies
from poolform.provisioners.managed import runtime
from poolform.provisioners.managed.confinement import Limits, Users, confined
from poolform.provisioners.managed.environments import Environments
from poolform.provisioners.managed.scratch import Scratches
from poolform.provisioners.managed.uv import HostBuilder
from poolform.provisioners.process.launcher import GRACE
from poolform.provisioners.process.strings import STRING_LIMIT
from poolform.provisioners.process.watching import process_launcher

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from poolform.core.runs.launchers import Job, JobStatus, Json, LogPage

_INHERITED = ("LANG", "LC_", "TZ")
_PATH = "/usr/local/bin:/usr/bin:/bin"
_TIDY_EVERY = 60.0
"""Seconds between two looks for what dead workers left, at least."""


def managed_processes(folder: Path, *, keep: float, grace: float = GRACE) -> ManagedProcesses:
    """Return a launcher for the jobs below `folder`, which notifies where the process launcher does."""
    launcher = ManagedProcesses(folder, keep=keep, grace=grace)
    return launcher if launcher.descriptor is None else NotifyingManagedProcesses(folder, keep=keep, grace=grace)


class ManagedProcesses(Launcher):
    """Starts processes that see an environment of their own and none of the dispatcher's.

    Where the dispatcher is root, each job has a user id of its own, and can read nothing of Poolform's or of another
    job. Where it is not, jobs are the dispatcher's own user, and only their environment is clean.
    """

    remembers: ClassVar[timedelta] = timedelta.max
    secrets: ClassVar[Literal["native", "plain", "none"]] = "plain"
    payload_limit: ClassVar[int | None] = STRING_LIMIT

    def __init__(self, folder: Path, *, keep: float, grace: float = GRACE, users: Users | None = None) -> None:
        self._folder = folder
        self._users = users or (Users() if os.geteuid() == 0 else None)
        self._scratches = Scratches(folder / "scratch", self._users)
        builder = HostBuilder(for_others=self._users is not None)
        self._environments = Environments(folder / "environments", builder, keep=keep)
        self._inner = process_launcher(
            folder / "jobs", grace=grace, inherited=_clean_environment, scratch=self._scratches.of
        )
        self._tidied_at = 0.0

    @property
    def descriptor(self) -> int | None:
        """What tells of ends, where something does."""
        return self._inner.fileno() if isinstance(self._inner, Notifies) else None

    def runtime_command(self) -> tuple[str, ...]:
        """Start the runtime beside the job's environment."""
        return self._runtime_command

    @cached_property
    def _runtime_command(self) -> tuple[str, ...]:
        self._make(self._folder)
        return runtime.command(str(runtime.lay_out(self._folder)))

    def launch(self, job: Job) -> str:
        """Start the job in the environment that it asks for, unless it was started."""
        if self._inner.find(job.key) is not None:
            return self._inner.launch(job)
        configuration = job.configuration
        environment = self._environments.provide(configuration.get("pip_packages") or ())
        try:
            user = self._prepare(job.key)
            self._environments.use(environment, job.key)
            limits = Limits(configuration.get("cpus"), configuration.get("memory"))
            command = confined(with_python_of(environment, job.command), limits, user, job.key)
            env = self._environment_of(job, environment)
            return self._inner.launch(replace(job, command=tuple(command), env=env))
        except (LaunchRefused, NoCapacity):
            self._clear(job.key)
            raise

    def _environment_of(self, job: Job, environment: Path) -> dict[str, str]:
        scratch = str(self._scratches.of(job.key))
        ours = {"PATH": f"{environment / 'bin'}:{_PATH}", "VIRTUAL_ENV": str(environment)}
        return {**ours, "HOME": scratch, "TMPDIR": scratch, **job.env, **time_limit(job)}

    def find(self, key: str) -> str | None:
        """Look whether the job was started. If not, a worker may have died at it, and left more than this one job."""
        found = self._inner.find(key)
        if found is None:
            self._tidy()
        return found

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobStatus]:
        """Ask the process launcher."""
        return self._inner.poll(handles)

    def logs(self, handle: str, cursor: Json) -> LogPage:
        """Ask the process launcher."""
        return self._inner.logs(handle, cursor)

    def cancel(self, handle: str) -> None:
        """Have the job's processes stopped."""
        self._inner.cancel(handle)

    def remove(self, handle: str) -> None:
        """End what is left of the job, whatever group it is in, and delete its folders."""
        self._inner.remove(handle)
        self._clear(handle)
        if time.monotonic() - self._tidied_at > _TIDY_EVERY:
            self._tidy()

    def remove_all(self) -> None:
        """Stop all jobs, and delete everything that the pool keeps."""
        self._inner.remove_all()
        for key in self._scratches.jobs():
            self._clear(key)
        shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """Let go of the jobs, which go on."""
        self._inner.close()

    def _prepare(self, key: str) -> int | None:
        """Make the folder that the job may write to, and return the user that it belongs to: the job's, if any."""
        for folder in (self._folder, self._scratches.folder):
            self._make(folder)
        (self._folder / "jobs").mkdir(mode=0o700, exist_ok=True)
        return self._scratches.make(key)

    def _clear(self, key: str) -> None:
        """Delete what a job could write to, end whatever still runs as its user, and let its environment go."""
        self._scratches.clear(key)
        self._environments.leave(key)

    def _tidy(self) -> None:
        """Clear away what workers made that died before they started a job: its run may have been cancelled since."""
        self._tidied_at = time.monotonic()

        def is_started(key: str) -> bool:
            return self._inner.find(key) is not None or self._inner.may_be_starting(key)

        def forget(key: str) -> None:
            self._inner.remove(key)
            self._environments.leave(key)

        self._scratches.sweep(is_started, forget)

    def _make(self, folder: Path) -> None:
        """Make a folder that jobs can go through and not look into."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if folder.stat().st_uid == os.geteuid():
                folder.chmod(0o711 if self._users is not None else 0o700)
        except OSError as exc:
            raise LaunchRefused(f"The pool's folder {folder} cannot be made: {exc.strerror}.") from exc


class NotifyingManagedProcesses(ManagedProcesses):
    """One that can be waited for."""

    def fileno(self) -> int:
        """Return a descriptor that is readable as long as some job has ended and was not polled since."""
        assert self.descriptor is not None
        return self.descriptor


def with_python_of(environment: Path, command: Sequence[str]) -> list[str]:
    """Return a command whose Python is the environment's, and no other one in its stead."""
    if command[0] in ("python", "python3"):
        return [str(environment / "bin" / "python"), *command[1:]]
    return list(command)


def time_limit(job: Job) -> dict[str, str]:
    """Return the runtime's time limit where the job's is the shorter one."""
    limit, given = job.configuration.get("time_limit"), job.env.get("POOLFORM_TIMEOUT_SECONDS")
    if limit is None or (given is not None and float(given) <= limit):
        return {}
    return {"POOLFORM_TIMEOUT_SECONDS": f"{limit:g}"}


def _clean_environment() -> dict[str, str]:
    """Return what a job may know of this process's environment: its language and its time zone."""
    return {name: value for name, value in os.environ.items() if name.startswith(_INHERITED)}
