"""The `process` pool type: jobs are processes on this machine. Its Terraform needs no provider and no network."""

from __future__ import annotations

import os
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from poolform.core.plugins import hookimpl
from poolform.core.pools.contract import Connection, Finding, JobVariables, Outputs, PoolType, Variables
from poolform.core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from poolform.core.pools.contract import Credential
    from poolform.core.runs.launchers import Json
    from poolform.provisioners.process.launcher import ProcessLauncher


_ANOTHER_FOLDER = "Make it writable, or provision the pool with another one: --set folder=PATH."


class ProcessVariables(Variables):
    """What can be set of a process pool."""

    folder: str = Field(description="Folder on this machine under which each pool keeps its jobs' files and logs.")

    @field_validator("folder")
    @classmethod
    def _absolute(cls, folder: str) -> str:
        try:
            path = Path(folder).expanduser()
        except RuntimeError as exc:  # "~nobody-here/…"
            raise ValueError(str(exc)) from exc
        if not path.is_absolute():
            raise ValueError("it must be an absolute path")
        return str(path)


class ProcessOutputs(Outputs):
    """What the module gives back."""

    folder: str


class ProcessJobVariables(JobVariables):
    """The settings of one job, as in Prefect's process worker."""

    stream_output: bool = Field(True, description="Keep what the job prints; if not, only how it started and ended.")
    working_dir: str | None = Field(
        None,
        description="Folder that the job runs in; the folder of the flow's code where it is not set.",
        json_schema_extra={"format": "path"},
    )


class Process(PoolType):
    """Runs each job as a process of its own, next to the worker."""

    slug = "process"
    title = "Process"
    description = "Run flows as processes on this machine."
    revision = 1
    variables = ProcessVariables
    outputs = ProcessOutputs
    job_variables = ProcessJobVariables
    templates = files("poolform.templates") / "process"
    nouns = {"terraform_data": "a process pool that keeps its jobs in {input[folder]}"}  # noqa: RUF012 - the contract's

    def discover(self) -> Mapping[str, Json]:
        """Keep jobs below Poolform's home."""
        return {"folder": str(Settings.from_environment().home / "jobs")}

    def preflight(self, variables: ProcessVariables, resources: Sequence[str]) -> Iterable[Finding]:
        """Try whether the folder can be made, or written to where it is there; leaves nothing behind."""
        folder = there = Path(variables.folder)
        try:
            while not there.exists():
                there = there.parent
            with tempfile.TemporaryDirectory(dir=there):
                pass
        except OSError as exc:
            what = f"{folder} cannot be written to" if there == folder else f"{folder} cannot be made in {there}"
            yield Finding("folder", "missing", f"{what}: {exc.strerror}", _ANOTHER_FOLDER, is_permission=False)

    def connect(self, variables: ProcessVariables, outputs: ProcessOutputs) -> Connection:
        """Remember the folder."""
        return Connection(settings={"folder": outputs.folder})

    def launcher(self, connection: Connection, credential: Credential | None) -> ProcessLauncher:
        """Return a launcher that says at once when a job ends, where the system can."""
        from poolform.provisioners.process.watching import process_launcher

        return process_launcher(Path(connection.settings["folder"]))

    def authenticate(self, connection: Connection, credential: Credential | None) -> Finding:
        """Say whether the folder can be written to."""
        folder = Path(connection.settings["folder"])
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(b"x")
        except OSError as exc:
            return Finding(
                "folder",
                "missing",
                f"The folder {folder} cannot be written to: {exc.strerror}.",
                _ANOTHER_FOLDER,
            )
        return Finding("folder", "allowed", f"{folder} can be written to.")

    def leaves(self, connection: Connection, variables: ProcessVariables) -> str | None:
        """Name the folder that a pool with another one leaves."""
        folder = Path(connection.settings["folder"])
        return None if folder.parent == Path(variables.folder) else f"Remove the folder {folder}, which its jobs used"

    def disconnect(self, connection: Connection, credential: Credential | None) -> None:
        """Stop all jobs and remove the pool's folder."""
        launcher = self.launcher(connection, credential)
        try:
            launcher.remove_all()
        finally:
            launcher.close()


@hookimpl
def poolform_pool_types() -> list[type[PoolType]]:
    """Offer the `process` pool type."""
    return [Process] if os.name == "posix" else []
