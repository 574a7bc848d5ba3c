"""The pool type `managed`: nothing to have but this machine."""

from __future__ import annotations

import contextlib
import os
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from poolform.core.errors import PoolformError
from poolform.core.pools.contract import Connection, Finding, PoolType
from poolform.core.runs.launchers import LaunchRefused, Unavailable
from poolform.core.settings import Settings
from poolform.provisioners.docker.engine import Engine
from poolform.provisioners.managed.containers import ManagedContainers
from poolform.provisioners.managed.processes import ManagedProcesses, managed_processes
from poolform.provisioners.managed.uv import find_python, find_uv
from poolform.provisioners.managed.variables import ManagedJobVariables, ManagedOutputs, ManagedVariables

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from poolform.core.pools.contract import Credential
    from poolform.core.runs.launchers import Json

Kind = Literal["process", "container"]
_DAY = 24 * 3600.0
_ROOTS_FOLDER = "/var/lib/poolform/managed"  # other users cannot enter root's home, and each job is another user


class Managed(PoolType):
    """Runs each job on this machine, apart from it, in an environment with the packages that it asks for."""

    slug = "managed"
    title = "Managed"
    description = "Flows with packages of their own, kept apart on the worker's machine; no account needed."
    variables = ManagedVariables
    outputs = ManagedOutputs
    job_variables = ManagedJobVariables
    templates = files("poolform.templates") / "managed"
    nouns: ClassVar[Mapping[str, str]] = {"terraform_data": "a managed pool that keeps its jobs in {input[folder]}"}

    def discover(self) -> Mapping[str, Json]:
        """Keep jobs below Poolform's home; root's where every user can come."""
        if os.geteuid() == 0:
            return {"folder": _ROOTS_FOLDER}
        return {"folder": str(Settings.from_environment().home / "managed")}

    def preflight(self, variables: ManagedVariables, resources: Sequence[str]) -> Iterable[Finding]:
        """Say what jobs are kept from here, and what is missing for it."""
        kind = variables.isolation if variables.isolation != "auto" else _found(variables.docker_host)
        if variables.isolation == "container" and _found(variables.docker_host) != "container":
            hint = "Start it, or let jobs be processes: --set isolation=process"
            yield Finding(
                "a Docker engine", "missing", f"none answers at {variables.docker_host}", hint, is_permission=False
            )
        if kind == "process" and os.geteuid() != 0:
            yield Finding(
                "isolation",
                "unknown",
                "jobs are processes of your own user, and can read Poolform's home",
                "Run workers as root, or start a Docker engine.",
            )
        if kind == "process":
            try:
                find_python(for_others=os.geteuid() == 0)
            except LaunchRefused as exc:
                hint = "Use one that everybody can run."
                yield Finding("a Python for jobs", "missing", str(exc), hint, is_permission=False)
        if find_uv() is None:
            yield Finding("uv", "unknown", "environments are made by pip, slowly: pip install 'poolform[managed]'")

    def connect(self, variables: ManagedVariables, outputs: ManagedOutputs) -> Connection:
        """Remember the folder, and how jobs are kept apart."""
        return Connection(
            settings={
                "folder": outputs.folder,
                "pool_id": outputs.pool_id,
                "isolation": variables.isolation,
                "docker_host": variables.docker_host,
                "keep": variables.keep_environments_days * _DAY,
            }
        )

    def launcher(self, connection: Connection, credential: Credential | None) -> ManagedProcesses | ManagedContainers:
        """Return the launcher of the pool's kind of isolation."""
        settings = connection.settings
        folder = Path(settings["folder"])
        if _settled(settings) == "container":
            engine = Engine(settings["docker_host"])
            return ManagedContainers(folder, engine, settings["pool_id"], keep=settings["keep"])
        return managed_processes(folder, keep=settings["keep"])

    def authenticate(self, connection: Connection, credential: Credential | None) -> Finding:
        """Say whether jobs can be started: the folder can be written to, and the engine answers, if it is needed."""
        settings = connection.settings
        folder = Path(settings["folder"])
        try:
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        except OSError as exc:
            hint = "Provision the pool with another one: --set folder=PATH"
            return Finding("folder", "missing", f"The folder {folder} cannot be made: {exc.strerror}.", hint)
        kind = _settled(settings)
        if kind == "container" and _found(settings["docker_host"]) != "container":
            return Finding("engine", "missing", "No Docker engine answers, and jobs are containers.", "Start it.")
        how = "containers" if kind == "container" else "processes with a user of their own"
        if kind == "process" and os.geteuid() != 0:
            how = "processes of this user"
        return Finding("isolation", "allowed", f"Jobs are {how}.")

    def leaves(self, connection: Connection, variables: ManagedVariables) -> str | None:
        """Name the folder that a pool with another one leaves."""
        folder = Path(connection.settings["folder"])
        return None if folder.parent == Path(variables.folder) else f"Remove the folder {folder}, which its jobs used"

    def disconnect(self, connection: Connection, credential: Credential | None) -> None:
        """Stop all jobs and remove the pool's folder."""
        launcher = self.launcher(connection, credential)
        try:
            launcher.remove_all()
        except Unavailable as exc:
            raise PoolformError(f"The pool's jobs cannot be removed: {exc}.", hint="Start the Docker engine.") from exc
        finally:
            launcher.close()


def _settled(settings: Mapping[str, Json]) -> Kind:
    """Return the kind of isolation; `auto` is settled once, so that no worker looks for a job in the wrong place."""
    if settings["isolation"] != "auto":
        kind: Kind = settings["isolation"]
        return kind
    note = Path(settings["folder"]) / "isolation"
    with contextlib.suppress(OSError):
        note.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError), note.open("x") as file:
            file.write(_found(settings["docker_host"]))
        return "container" if note.read_text() == "container" else "process"
    return "process"


def _found(host: str) -> Kind:
    """Return `container` where an engine answers."""
    if find_spec("docker") is None or not Path(host.removeprefix("unix://")).exists():
        return "process"
    try:
        Engine(host).connect().close()
    except (Unavailable, PoolformError):
        return "process"
    return "container"
