"""What can be set of a Docker pool, and what its module gives back."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from poolform.core.pools.contract import Outputs, Variables

# https://github.com/moby/moby/blob/master/daemon/names/names.go
Name = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$")]


class DockerVariables(Variables):
    """The inputs of the Docker module. Existing networks are used only where they are named, and never changed."""

    host: str = Field(
        pattern=r"^(unix|tcp|http|https|ssh)://\S+$|^[a-zA-Z0-9][a-zA-Z0-9_.+-]*$",
        description="Address of the engine, as in DOCKER_HOST (unix://…, tcp://…, ssh://USER@…), or the name of a "
        "context of the docker program; found where that program would find it.",
    )
    engine: str | None = Field(
        None,
        pattern=r"^\S+$",
        description="Id of the engine (docker info), to launch jobs on no other. For pools whose workers are on "
        "several machines, where one address leads to several engines.",
    )
    network: Name | None = Field(None, description="An existing network that jobs join; the engine's default if none.")
    own_network: bool = Field(
        False, description="Make a network for the pool's jobs, with the Terraform provider kreuzwerker/docker."
    )
    own_volume: bool = Field(
        False, description="Make a volume that all jobs of the pool share, with the same Terraform provider."
    )
    volume_path: str = Field("/data", pattern=r"^/[^:,]+$", description="Where jobs find the pool's own volume.")
    image_namespace: str | None = Field(
        None,
        pattern=r"^[a-zA-Z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*$",
        description="Registry and path that images of this pool are pushed to, such as ghcr.io/team; without, images "
        "stay on the engine that built them.",
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.network is not None and self.own_network:
            raise ValueError("network names an existing network, so own_network must not make another one")
        return self


class DockerOutputs(Outputs):
    """What the Docker module gives back."""

    pool_id: str
    network: str | None = None
    """The network that the pool made for itself."""
    volume: str | None = None
    """The volume that the pool made for itself."""
