"""Managed jobs as processes: the process launcher, with environments, users and limits around it."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

from poolform.core.runs.launchers import Launcher, LaunchRefused, NoCapacity, Notifies
from poolform.provisioners.managed import runtime
from poolform.provisioners.managed.confinement import USERS, Limits, Users, confined
from poolform.provisioners.managed.environments import Environments
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
        self._scratches = folder / "scratch"
        self._users = users or (Users() if os.geteuid() == 0 else None)
        builder = HostBuilder(for_others=self._users is not None)
        self._environments = Environments(folder / "environments", builder, keep=keep)
        self._inner = process_launcher(
            folder / "jobs", grace=grace, inherited=_clean_environment, scratch=self._scratch_of
        )

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
        scratch = str(self._scratch_of(job.key))
        ours = {"PATH": f"{environment / 'bin'}:{_PATH}", "VIRTUAL_ENV": str(environment)}
        return {**ours, "HOME": scratch, "TMPDIR": scratch, **job.env, **time_limit(job)}

    def find(self, key: str) -> str | None:
        """Look whether the job was started."""
        return self._inner.find(key)

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

    def remove_all(self) -> None:
        """Stop all jobs, and delete everything that the pool keeps."""
        self._inner.remove_all()
        for scratch in self._scratches.glob("[!.]*"):
            self._clear(scratch.name)
        shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """Let go of the jobs, which go on."""
        self._inner.close()

    def _scratch_of(self, key: str) -> Path:
        return self._scratches / key

    def _prepare(self, key: str) -> int | None:
        """Make the folder that the job may write to, and return the user that it belongs to: the job's, if any."""
        for folder in (self._folder, self._scratches):
            self._make(folder)
        (self._folder / "jobs").mkdir(mode=0o700, exist_ok=True)
        scratch = self._scratch_of(key)
        if scratch.is_dir():
            return None if self._users is None else scratch.stat().st_uid
        if self._users is None:
            scratch.mkdir(mode=0o700)
            return None
        user = self._users.take(key)
        new = scratch.with_name(f".new-{key}-{os.getpid()}")
        new.mkdir(mode=0o700, exist_ok=True)
        os.chown(new, user, user)
        try:
            new.rename(scratch)
        except OSError:  # another worker was faster, with another user
            new.rmdir()
            self._users.give_back(user)
            return scratch.stat().st_uid
        return user

    def _clear(self, key: str) -> None:
        """Delete what a job could write to, end whatever still runs as its user, and let its environment go."""
        scratch = self._scratch_of(key)
        if scratch.is_dir():
            user = scratch.stat().st_uid
            shutil.rmtree(scratch, ignore_errors=True)
            if self._users is not None and user in USERS:
                self._users.give_back(user)
        self._environments.leave(key)

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
