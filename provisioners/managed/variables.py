"""What can be set of a managed pool and of its jobs, and what its module gives back."""

from __future__ import annotations

import sys
from typing import Literal

from pydantic import Field

from poolform.core.pools.contract import JobVariables, Outputs, Variables


class ManagedVariables(Variables):
    """The inputs of the module."""

    folder: str = Field(
        pattern=r"^/",
        description="Folder on the worker's machine under which each pool keeps jobs and environments. Where workers "
        "are root, other users must be able to enter it.",
    )
    isolation: Literal["auto", "process", "container"] = Field(
        "auto",
        description="How jobs are kept apart: process (a user of their own, where the worker is root), container, or "
        "auto: a container where a Docker engine answers when the pool is made.",
    )
    docker_host: str = Field(
        "unix:///var/run/docker.sock",
        pattern=r"^unix:///\S+$",
        description="The Docker engine of the worker's machine.",
    )
    keep_environments_days: int = Field(
        14, ge=1, description="Days after which an environment that no job has used is removed."
    )


class ManagedOutputs(Outputs):
    """What the module gives back."""

    folder: str
    pool_id: str


class ManagedJobVariables(JobVariables):
    """What a deployment or a run may say about its job."""

    pip_packages: list[str] = Field(
        default_factory=list,
        description="Packages that the flow needs, as pip would be told: polars, requests>=2.32. From an index, as "
        "wheels.",
    )
    cpus: float | None = Field(
        None, gt=0, description="How many CPUs the job may use at a time; whole ones, where it is a process."
    )
    memory: int | None = Field(None, ge=16, description="Most memory of the job, in MiB.")
    time_limit: float | None = Field(None, gt=0, description="Most seconds that the job may take.")
    image: str = Field(
        f"python:{sys.version_info.major}.{sys.version_info.minor}-slim",
        description="Image that the job runs in, where it is a container; any with Python 3.8 or newer.",
    )
    stream_output: bool = Field(True, description="Keep what the job prints; if not, only how it started and ended.")
