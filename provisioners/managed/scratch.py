"""The folders that managed jobs may write to, and whose each is: made before a launch, and cleared whoever dies.

Beside each folder is a note of the worker that makes it. One whose worker is dead, and whose job was never started,
belongs to nobody: its run may have been cancelled meanwhile, and then nobody comes for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from typing import TYPE_CHECKING

from poolform.provisioners.process.leaders import Leader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from poolform.provisioners.managed.confinement import Users

_NOTE, _NEW = ".of-", ".new-"


class Scratches:
    """The folders of one pool's jobs, by their keys; each with a user of its own where there are `users`."""

    def __init__(self, folder: Path, users: Users | None) -> None:
        self.folder, self.users = folder, users

    def of(self, key: str) -> Path:
        """Return where the folder of a job is."""
        return self.folder / key

    def make(self, key: str) -> int | None:
        """Make the folder of a job that this process is about to launch, and return the user that it belongs to."""
        with self._locked():
            self._sign(key)
            scratch = self.of(key)
            if scratch.is_dir():  # a worker before this one made it
                return None if self.users is None else scratch.stat().st_uid
            user = None if self.users is None else self.users.take(scratch)
            new = self.folder / f"{_NEW}{key}"  # nobody may find one that is not its user's yet
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(mode=0o700)
            if user is not None:
                os.chown(new, user, user)
            new.rename(scratch)
            return user

    def clear(self, key: str) -> None:
        """Delete the folder of a job, end whatever still runs as its user, and let others have that. Twice is fine."""
        if self.folder.is_dir():
            with self._locked():
                self._clear(key)

    def sweep(self, is_started: Callable[[str], bool], forget: Callable[[str], None]) -> None:
        """Clear what dead workers made for jobs that were not started; `forget` clears what else there is of one.

        No worker makes one of these meanwhile.
        """
        if not self.folder.is_dir() or not self._orphans():
            return
        with self._locked():
            for key in self._orphans():
                if not is_started(key):
                    forget(key)
                    self._clear(key)

    def jobs(self) -> list[str]:
        """Return the keys of all jobs that have a folder, or were to have one."""
        if not self.folder.is_dir():
            return []
        names = (path.name.removeprefix(_NOTE).removeprefix(_NEW) for path in self.folder.iterdir())
        return sorted({name for name in names if not name.startswith(".")})

    def _clear(self, key: str) -> None:
        for path in (self.of(key), self.folder / f"{_NEW}{key}"):
            shutil.rmtree(path, ignore_errors=True)
        if self.users is not None:
            for user in self.users.taken_for(self.of(key)):
                self.users.give_back(user)
        (self.folder / f"{_NOTE}{key}").unlink(missing_ok=True)

    def _orphans(self) -> list[str]:
        """Return the keys of those whose worker died; whether their jobs were started is not known here."""
        found = []
        for note in self.folder.glob(f"{_NOTE}*"):
            with contextlib.suppress(OSError, ValueError):
                pid, _, born = str(note.readlink()).partition(" ")
                if not Leader(int(pid), born).is_alive:
                    found.append(note.name.removeprefix(_NOTE))
        return found

    def _sign(self, key: str) -> None:
        """Note that it is this process that launches a job: a link, which is there whole or not at all."""
        note, new = self.folder / f"{_NOTE}{key}", self.folder / f".sign-{key}"
        own = Leader.own()
        new.unlink(missing_ok=True)
        new.symlink_to(f"{own.pid} {own.born}")
        new.rename(note)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other workers of this machine from making and clearing meanwhile."""
        with self.folder.with_name("scratch.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
