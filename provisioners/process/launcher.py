"""Launching, watching and ending processes on this machine.

A job is a folder: `pid` says which wrapper started it, `exit` how it ended, `log` what it printed. Jobs lead sessions
of their own, so they go on when the dispatcher ends, and Ctrl-C at its terminal does not reach them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from poolform.core.runs.launchers import JobStatus, Launcher, LaunchRefused, LogPage, NoCapacity
from poolform.provisioners.process.folder import JobFolder
from poolform.provisioners.process.leaders import Leader, send
from poolform.provisioners.process.strings import STRING_LIMIT, check_string
from poolform.provisioners.process.wrapper import SCRIPT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from poolform.core.runs.launchers import Job, Json

    Inherited = Callable[[], Mapping[str, str]]
    Scratch = Callable[[str], Path]

GRACE = 30.0
"""Seconds between asking a job to stop and killing it."""

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHELL = "/bin/sh"
_TRY_LATER = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT}
_NOT_INHERITED = ("POOLFORM_", "TF_", "PG_CONN_STR")
"""What a job's environment never takes over from the dispatcher's: our keys, our database, Terraform's secrets."""

_ASK_AGAIN = 1.0
"""Seconds after which a cancelled job that still runs is asked once more."""


class ProcessLauncher(Launcher):
    """Starts jobs below one folder. A job's handle is its key.

    `inherited` gives the environment that jobs start from, the dispatcher's own where it is not given; `scratch` the
    folder, by a job's key, that a job starts in and may write to, its folder of files where it is not given.
    """

    remembers: ClassVar[timedelta] = timedelta.max
    secrets: ClassVar[Literal["native", "plain", "none"]] = "plain"
    payload_limit: ClassVar[int | None] = STRING_LIMIT  # the parameters, one string, may be nearly all of a payload

    def __init__(
        self, folder: Path, *, grace: float = GRACE, inherited: Inherited | None = None, scratch: Scratch | None = None
    ) -> None:
        self.folder = folder
        self.grace = grace
        self._inherited = inherited or dispatchers_environment
        self._scratch = scratch or (lambda key: self._job(key).path)
        self._children: dict[str, subprocess.Popen[bytes]] = {}  # wrappers of ours, until their jobs are removed

    def runtime_command(self) -> tuple[str, ...]:
        """Start the runtime with this very Python. `-c` is 7 ms faster than `-m`, which imports half of importlib."""
        return (sys.executable, "-c", "from poolform.runtime.job import main; main()")

    def launch(self, job: Job) -> str:
        """Start the job's wrapper, unless one has claimed the job already."""
        command, env, cwd = _request(job, self._inherited())
        folder = self._job(job.key)
        if self._started(folder):
            self._watch(job.key)
            return job.key
        try:
            folder.make()
            if job.configuration.get("stream_output") is False:
                folder.note("quiet")
            scratch = self._scratch(job.key)
            env["POOLFORM_SCRATCH"] = str(scratch)  # code that the job fetches goes with the folder
            self._spawn(folder, command, env, cwd or scratch)
        except OSError as exc:
            raise _refusal(exc) from exc
        self._watch(job.key)
        return job.key

    def find(self, key: str) -> str | None:
        """Look whether a wrapper has claimed the job. One that is still on its way finds it claimed, or is the one."""
        return key if self._started(self._job(key)) else None

    def may_be_starting(self, key: str) -> bool:
        """Say whether a wrapper may be on its way of which `find` cannot know yet."""
        folder = self._job(key)
        return folder.exists and folder.may_be_starting

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobStatus]:
        """Look into the folders; kill what was cancelled and had its time."""
        found = {}
        for handle in handles:
            status = self._status(handle)
            if status is not None:
                found[handle] = status
        return found

    def logs(self, handle: str, cursor: Json) -> LogPage:
        """Read the log file from the byte that `cursor` says."""
        status = self._status(handle)  # before reading: what is written after this is on the next page
        if status is None:
            return LogPage((), cursor, done=True)
        return self._job(handle).page(cursor, ended=status.state == "exited")

    def cancel(self, handle: str) -> None:
        """Send SIGTERM to the job's group, and remember since when, for `poll` to kill what is left in the end."""
        folder = self._job(handle)
        status = self._status(handle)
        if status is None or status.state == "exited":
            return
        folder.note("cancelled")
        group = self._group(handle)
        if group is not None:
            send(group, signal.SIGTERM)

    def remove(self, handle: str) -> None:
        """End what is left of the job's processes and delete its folder."""
        folder = self._job(handle)
        leader = folder.leader()
        if leader is not None:
            leader.end_group()
        child = self._children.pop(handle, None)
        if child is not None:
            if child.poll() is None:  # lost the race for the job, or was never that far
                send(child.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=5)
        self._unwatch(handle)
        folder.delete()

    def close(self) -> None:
        """Let go of the wrappers; they and their jobs go on."""
        for child in self._children.values():
            if child.poll() is None:
                child.returncode = 0  # Popen warns of children that nobody waits for; these are to outlive us
        self._children.clear()

    def remove_all(self) -> None:
        """Cancel every job of the pool, wait for them as long as one may take to stop, and delete the pool's folder."""
        handles = [path.name for path in self.folder.glob("[!.]*")] if self.folder.is_dir() else []
        for handle in handles:
            self.cancel(handle)
        deadline = time.monotonic() + self.grace + 5
        while any(status.state != "exited" for status in self.poll(handles).values()) and time.monotonic() < deadline:
            time.sleep(0.05)
        for handle in handles:
            self.remove(handle)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _job(self, key: str) -> JobFolder:
        if not _KEY.fullmatch(key):
            raise LaunchRefused(f"{key!r} cannot name a job's folder.")
        return JobFolder(self.folder / key)

    def _started(self, folder: JobFolder) -> bool:
        child = self._children.get(folder.path.name)
        return folder.claimed or (child is not None and child.poll() is None)

    def _spawn(self, folder: JobFolder, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        log = folder.open_log()
        try:
            self._children[folder.path.name] = subprocess.Popen(
                [_SHELL, "-c", SCRIPT, "poolform", str(folder.path), *command],
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,  # one file: with two, nobody could say what was printed first
                start_new_session=True,  # not preexec_fn, which would cost a real fork
            )
        finally:
            os.close(log)

    def _status(self, handle: str) -> JobStatus | None:
        folder = self._job(handle)
        child = self._children.get(handle)
        waited = child.poll() if child is not None else None
        leader = folder.leader()
        if leader is not None and leader.is_alive:
            self._watch(handle)
            self._kill_if_due(folder, leader)
            return JobStatus("running")
        # In this order: a wrapper that ended since has recorded the exit code by now.
        code = folder.exit_code()
        if code is not None:
            self._unwatch(handle)
            return JobStatus("exited", code)
        if leader is None and ((child is not None and waited is None) or (waited is None and folder.may_be_starting)):
            return JobStatus("starting")
        self._unwatch(handle)
        if leader is None and not folder.claimed:
            return None  # its wrapper was killed before it could start anything, or the folder is gone
        if waited is None and child is not None:
            waited = child.poll()  # it was killed since it was asked
        return self._lost(folder, leader, waited)

    def _lost(self, folder: JobFolder, leader: Leader | None, waited: int | None) -> JobStatus:
        """Say how a job ended whose wrapper could not, and end what it left behind."""
        if leader is not None:
            leader.end_group()
        if folder.noted("killed") is not None:
            return JobStatus("exited", 128 + signal.SIGKILL, f"killed: it did not stop within {self.grace:g} s")
        if waited is not None and waited >= 0:
            return JobStatus("exited", waited, "its exit code could not be written to disk")
        how = f"by {signal.Signals(-waited).name}" if waited is not None else "or the machine restarted"
        return JobStatus("exited", None, f"its supervising process was killed {how}, so the job was ended")

    def _kill_if_due(self, folder: JobFolder, leader: Leader) -> None:
        since = folder.noted("cancelled")
        if since is None:
            return
        if time.time() - since > self.grace:
            folder.note("killed")
            leader.end_group()
        elif time.time() - since > _ASK_AGAIN and folder.noted("asked-again") is None:
            # The first one is lost when it arrives while the shell is forking the job: to the shell it comes after
            # the question whether to start at all, to the job before it is one.
            folder.note("asked-again")
            send(leader.pid, signal.SIGTERM)

    def _group(self, handle: str) -> int | None:
        """Return the id of the job's process group, None where there is none any more."""
        leader = self._job(handle).leader()
        if leader is not None:
            return leader.pid if leader.is_alive else None
        child = self._children.get(handle)
        return child.pid if child is not None else None

    def _watch(self, handle: str) -> None:
        """Begin to notice when the job ends. This launcher only knows when it is asked."""

    def _unwatch(self, handle: str) -> None:
        """Stop noticing."""


def dispatchers_environment() -> dict[str, str]:
    """Return what jobs inherit of this process's environment."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}


def _request(job: Job, inherited: Mapping[str, str]) -> tuple[list[str], dict[str, str], Path | None]:
    """Return command, environment and working directory. Raises LaunchRefused for what cannot be run here."""
    unset = {name for name, value in (job.configuration.get("env") or {}).items() if value is None}
    env = {name: value for name, value in inherited.items() if name not in unset}
    own = {**job.env, **job.secrets}
    for name, value in own.items():
        if not _ENV_NAME.fullmatch(name):  # the shell would drop it without a word
            raise LaunchRefused(f"{name!r} cannot name an environment variable: use letters, digits and underscores.")
        check_string(f"The environment variable {name}", f"{name}={value}")
    for word in job.command:
        check_string("A word of the command", word)
    env |= own
    cwd = job.configuration.get("working_dir")
    if cwd is not None:
        cwd = Path(cwd).expanduser()
        if not cwd.is_dir():
            raise LaunchRefused(f"The job's working_dir {cwd} is not a folder on this machine.")
        env["POOLFORM_WORKING_DIR"] = str(cwd)
    program = shutil.which(job.command[0], path=env.get("PATH"))
    if program is None and os.sep not in job.command[0]:
        raise LaunchRefused(f"There is no program {job.command[0]} on the PATH of this machine.")
    # A full path also keeps the shell from taking a program's name for one of its own commands.
    return [program or job.command[0], *job.command[1:]], env, cwd


def _refusal(error: OSError) -> Exception:
    if error.errno in _TRY_LATER:
        return NoCapacity(f"this machine has no room for another process: {error.strerror}")
    where = f" ({error.filename})" if error.filename else ""
    return LaunchRefused(f"The job cannot be started on this machine: {error.strerror}{where}.")
