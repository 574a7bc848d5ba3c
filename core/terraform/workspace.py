"""A workspace: the folder that a module lives in, private, with its local state and nothing that matters only to us."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolform.core.errors import PoolformError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


LOCK_FILE = ".terraform.lock.hcl"
STATE_FILE = "terraform.tfstate"
PLAN_FILE = "plan.bin"
IMPORTS_FILE = "imports.tf"


@dataclass(frozen=True)
class Workspace:
    """A root module's folder. Plans hold values in clear, so nobody else may look into it (0700, files 0600)."""

    path: Path

    @property
    def plan_file(self) -> Path:
        """Where the saved plan is, while there is one."""
        return self.path / PLAN_FILE

    @property
    def has_local_state(self) -> bool:
        """Whether a local state was ever written here."""
        return (self.path / STATE_FILE).exists()

    def write(self, files: Mapping[str, str]) -> None:
        """Make the folder hold exactly these module files; state and lock file stay.

        Raises PoolformError when the folder cannot be written.
        """
        with _sentences(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for stale in self.path.glob("*.tf"):
                if stale.name not in files:
                    stale.unlink()
            for name, text in files.items():
                self.put(name, text)

    def put(self, name: str, text: str) -> None:
        """Write one file whole or not at all."""
        target = self.path / name
        with _sentences(self.path):
            if target.is_file() and target.read_text(encoding="utf-8") == text:
                return
            fresh = target.with_name(f".{name}.new")
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            fresh.replace(target)

    def read(self, name: str) -> str | None:
        """Return a file's text, None where it is absent."""
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def copy_state_from(self, other: Workspace) -> None:
        """Start from another workspace's local state, if it has one."""
        if other.has_local_state:
            with _sentences(self.path):
                target = self.path / STATE_FILE
                shutil.copyfile(other.path / STATE_FILE, target)
                target.chmod(0o600)

    def drop_plan(self) -> None:
        """Delete the saved plan."""
        self.plan_file.unlink(missing_ok=True)

    def drop_imports(self) -> None:
        """Delete what was to be adopted."""
        (self.path / IMPORTS_FILE).unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the folder and all in it."""
        shutil.rmtree(self.path, ignore_errors=True)


@contextmanager
def _sentences(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        full = exc.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "Free some space, then run this again." if full else "Check the folder's owner and permissions."
        raise PoolformError(f"The workspace {path} cannot be written: {exc.strerror or exc}.", hint=hint) from exc
