"""The settings of one job on Docker, under the names of Prefect's base job template where it has one."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from poolform.core.pools.contract import JobVariables

SIZE = r"^[0-9]+(\.[0-9]+)?[bkmgBKMG]?$"


class DockerJobVariables(JobVariables):
    """What a deployment or a run may say about its container."""

    image: str = Field("python:3.12-slim", description="Image that the job runs in; any with Python 3.8 or newer.")
    image_pull_policy: Literal["IfNotPresent", "Always", "IfPossible", "Never"] | None = Field(
        None,
        description="When to pull the image. IfPossible pulls it, and takes what is there where that fails. Where it "
        "is not set: IfPossible for the tag latest or none, IfNotPresent for others.",
    )
    cpus: float | None = Field(None, gt=0, description="How many CPUs the job may use at a time, such as 0.5.")
    mem_limit: str | None = Field(None, pattern=SIZE, description="Most memory of the job, such as 512m or 2g.")
    memswap_limit: str | None = Field(
        None, pattern=rf"^-1$|{SIZE}", description="Most memory and swap together; -1 is any amount of swap."
    )
    networks: list[str] = Field(default_factory=list, description="Networks that the job joins, by their names.")
    network_mode: str | None = Field(
        None, description="Such as host, none or container:NAME; networks is then not looked at."
    )
    volumes: list[str] = Field(
        default_factory=list,
        description="Volumes and folders of the engine's machine, as SOURCE:PATH or SOURCE:PATH:ro.",
    )
    privileged: bool = Field(False, description="Give the container all that the engine's machine may do.")
    auto_remove: bool = Field(
        True,
        description="Remove the container once its outcome and output are stored; without, it stays until the pool is "
        "deprovisioned.",
    )
    stream_output: bool = Field(True, description="Keep what the job prints; if not, only how it started and ended.")
    container_create_kwargs: dict[str, Any] = Field(
        default_factory=dict,
        description="More options of docker-py's containers.create, such as shm_size or device_requests.",
    )
