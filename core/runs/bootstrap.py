"""How a job starts the runtime: by name where Poolform is installed, else carried along on the command line.

The bootstrap is the runtime's own source and a stub of `poolform`, minified and compressed; it runs in any image with
Python 3.8 or newer. An image's own Poolform wins over it. It must leave room for everything else that a platform
counts: ECS allows 8,192 characters for all overrides of a task together. What fetches code, by the type of its source,
comes along only with jobs that need it.
"""

from __future__ import annotations

import zlib
from base64 import b85encode
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from poolform.core.runs.minify import minify

if TYPE_CHECKING:
    from poolform.core.runs.launchers import Launcher

SIZE_LIMIT = 5500
"""Most characters that the bootstrap may have as a command line, quotes included; a test holds it."""
FETCHING_SIZE_LIMIT = 8000
"""The same, together with any one way to fetch code; on ECS it is in the task definition, which takes 64 KiB."""

FETCHED = ("fsspec", "git", "inline")
"""Types of sources whose code a job fetches, each with a module `poolform.runtime.fetch_TYPE`."""

_RUNTIME = ("exit_codes", "refusal", "log", "entrypoint", "arguments", "job")
_MAIN = "poolform.runtime.job"

# Kubernetes and Cloud Run expand `$` in commands, so the payload has `,` in its place, which base85 leaves unused.
_LOADER = """\
try:from {main} import main
except ImportError:
 import sys,types,zlib,base64
 for n,s in eval(zlib.decompress(base64.b85decode("{payload}".replace(",",chr(36))))):
  m=sys.modules[n]=types.ModuleType(n);m.__path__=[];exec(s,m.__dict__)
 main=m.main
main()"""


@runtime_checkable
class StartsRuntime(Protocol):
    """A launcher that knows how the runtime is started where its jobs run; everywhere else, it is the bootstrap."""

    def runtime_command(self) -> tuple[str, ...]:
        """Return the command of a job that has none of its own."""


def runtime_command(launcher: Launcher, source_type: str = "") -> tuple[str, ...]:
    """Return the command that starts the runtime in this launcher's jobs, whose code is in such a source."""
    return launcher.runtime_command() if isinstance(launcher, StartsRuntime) else bootstrap_command(source_type)


@cache
def bootstrap_command(source_type: str = "") -> tuple[str, ...]:
    """Return the command that starts the runtime in any image with a `python`, with or without Poolform in it.

    `source_type` is that of the source whose code it must be able to fetch; "" and "local" need no fetching.
    """
    folder = resources.files("poolform.runtime")

    def small(*names: str, keep: tuple[str, ...]) -> str:
        sources = [folder.joinpath(f"{name}.py").read_text(encoding="utf-8") for name in names]
        return minify(sources, package="poolform.runtime", keep=keep)

    modules = [("poolform", small("stub", keep=("Flow", "flow", "__getattr__"))), ("poolform.runtime", "")]
    if source_type in FETCHED:
        name = f"fetch_{source_type}"
        modules.append((f"poolform.runtime.{name}", small(name, keep=("fetch",))))
    modules.append((_MAIN, small(*_RUNTIME, keep=("main",))))
    payload = b85encode(zlib.compress(repr(tuple(modules)).encode(), 9)).decode().replace("$", ",")
    return ("python", "-c", _LOADER.format(main=_MAIN, payload=payload))
