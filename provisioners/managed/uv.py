"""Environments made on this machine, for processes: by uv, or by venv and pip where there is no uv.

Wheels only: building a package from its source runs the package's code, and here it would run as the worker.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from poolform.core.runs.launchers import LaunchRefused
from poolform.provisioners.managed.environments import BuildFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SYSTEMS = "/usr/local/bin:/usr/bin"
_INDEXES = ("UV_", "PIP_")
"""What the environment says of indexes and proxies, under the names that uv and pip give it."""


def find_uv() -> str | None:
    """Return uv's executable: the package's, else the one on PATH."""
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        return shutil.which("uv")


def index_settings() -> dict[str, str]:
    """Return what the worker's environment says of package indexes."""
    return {name: value for name, value in os.environ.items() if name.startswith(_INDEXES)}


def find_python(*, for_others: bool) -> str:
    """Return the Python that environments are made of: the worker's own, where whoever runs jobs can run that.

    `for_others`: jobs are other users, who cannot enter root's home, for one. Another Python of the same version does
    as well. Raises LaunchRefused where there is none.
    """
    own = os.path.realpath(sys.executable)
    if not for_others or _open_to_all(Path(own)):
        return sys.executable
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = shutil.which(name, path=_SYSTEMS)
    if found is None or not _open_to_all(Path(os.path.realpath(found))):
        raise LaunchRefused(
            f"Each job is a user of its own, and none can run {own}. Install {name} where everybody can run it, or let "
            "jobs be containers: --set isolation=container"
        )
    return found


def _open_to_all(program: Path) -> bool:
    return program.stat().st_mode & 0o005 == 0o005 and all(folder.stat().st_mode & 0o001 for folder in program.parents)


class HostBuilder:
    """Makes environments of this machine's Python: see `find_python`."""

    def __init__(self, *, for_others: bool = False) -> None:
        self._for_others = for_others

    @property
    def identity(self) -> str:
        """Return which Python it is."""
        return f"{sys.implementation.cache_tag} {self._python}"

    @cached_property
    def _python(self) -> str:
        return find_python(for_others=self._for_others)

    @cached_property
    def _uv(self) -> str | None:
        return find_uv()

    def resolve(self, packages: Sequence[str]) -> Sequence[str]:
        """Return exact versions; without uv, what was asked for."""
        if self._uv is None:
            return packages
        asked = ("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--only-binary", ":all:")
        said = _run([self._uv, *asked, "--python", self._python, "-"], "\n".join(packages))
        return [line.strip() for line in said.splitlines() if line.strip() and not line.lstrip().startswith("#")]

    def build(self, folder: Path, pins: Sequence[str]) -> None:
        """Make the environment, readable for everybody, its bytecode compiled: jobs may not write to it."""
        if self._uv is None:
            _run([self._python, "-m", "venv", *(() if pins else ("--without-pip",)), str(folder)])
            if pins:
                pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--only-binary", ":all:")
                _run([*pip, *pins])
            return
        _run([self._uv, "venv", "--quiet", "--no-project", "--python", self._python, str(folder)])
        if pins:
            python = ("--python", str(folder / "bin" / "python"))
            install = ("pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--compile-bytecode")
            _run([self._uv, *install, *python, "-r", "-"], "\n".join(pins))
            _let_read(folder)


def _let_read(folder: Path) -> None:
    """Let everybody read an environment: files come with the modes of their wheels, where some are private."""
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        wanted = 0o055 if stat.S_ISDIR(mode) else 0o044
        if not stat.S_ISLNK(mode) and mode & wanted != wanted:
            path.chmod(stat.S_IMODE(mode) | wanted)


def _run(command: Sequence[str], stdin: str = "", env: Mapping[str, str] | None = None) -> str:
    """Run a command, with packages on its standard input, and return what it said. Raises BuildFailed."""
    done = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        umask=0o022,
        env={**(os.environ if env is None else env), "UV_NO_PROGRESS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    if done.returncode:
        raise BuildFailed(done.stderr or done.stdout or f"exit code {done.returncode}")
    return done.stdout
