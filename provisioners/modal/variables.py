"""What can be set of a Modal pool and of its jobs, and what its module gives back."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from poolform.core.pools.contract import JobVariables, Outputs, Variables


class ModalVariables(Variables):
    """The inputs of the module."""

    credentials: Literal["token", "ambient"] = Field(
        "token",
        description="Whose token launches jobs: token (yours, kept in an encrypted block), or ambient (whatever the "
        "dispatcher has).",
    )
    environment: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
        description="Modal environment that the pool's app is in; the token's default where none is named.",
    )


class ModalOutputs(Outputs):
    """What the module gives back."""

    app: str


class ModalJobVariables(JobVariables):
    """What a deployment or a run may say about its Sandbox."""

    image: str = Field("python:3.12-slim", description="Image in a registry; with Python, and pip, as Modal wants it.")
    cpu: float | None = Field(None, gt=0, description="CPU cores that are kept for the job; Modal's default if none.")
    memory: int | None = Field(None, gt=0, description="Memory that is kept for the job, in MiB; Modal's default.")
    timeout: int = Field(3600, ge=1, le=86400, description="Seconds after which Modal ends the job; 24 hours at most.")
    region: str | None = Field(None, description="Region of Modal's that the job must run in.")
    cloud: str | None = Field(None, description="Cloud that the job must run in, as Modal calls it.")
    workdir: str | None = Field(None, description="Folder of the image that the job starts in.")
