"""The runtime as a folder that every job can read, compiled: environments are the flow's own, and have no Poolform.

It comes last on a job's path, so a Poolform among its packages wins.
"""

from __future__ import annotations

import compileall
import hashlib
import os
import shutil
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MAIN = "import sys; sys.path.append({folder!r}); from poolform.runtime.job import main; main()"


def command(folder: str) -> tuple[str, ...]:
    """Return what starts the runtime that `lay_out` has put into a folder."""
    return ("python", "-c", _MAIN.format(folder=folder))


def lay_out(below: Path) -> Path:
    """Put the runtime into a folder named after its content, once, and return the folder."""
    source = resources.files("poolform.runtime")
    modules = {item.name: item.read_bytes() for item in source.iterdir() if item.name.endswith(".py")}
    digest = hashlib.sha256(repr(sorted(modules.items())).encode()).hexdigest()[:12]
    folder = below / f"runtime-{digest}"
    if folder.is_dir():
        return folder
    new = below / f".new-{digest}-{os.getpid()}"
    package = new / "poolform" / "runtime"
    package.mkdir(mode=0o755, parents=True)
    for name, text in modules.items():
        (package / name).write_bytes(text)
    (new / "poolform" / "__init__.py").write_bytes(modules["stub.py"])
    compileall.compile_dir(new, quiet=2, stripdir=str(new), prependdir=str(folder))
    for path in (new, *new.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    try:
        new.rename(folder)
    except OSError:  # another worker was faster
        shutil.rmtree(new, ignore_errors=True)
    return folder
