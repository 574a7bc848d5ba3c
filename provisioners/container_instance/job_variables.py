"""The settings of one job on Azure Container Instances, under the names of Prefect's base job template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from poolform.core.pools.contract import JobVariables

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTAINER = "flow"
"""What the job's own container is called in its group."""


class RegistryIdentity(BaseModel):
    """A registry, and the user-assigned identity that may pull from it; as Prefect's ACRManagedIdentity."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    registry_url: str = Field(description="Login server, such as team.azurecr.io.")
    identity: str = Field(description="Resource id of the identity.")


class ContainerInstanceJobVariables(JobVariables):
    """What a deployment or a run may say about its container group."""

    image: str = Field("python:3.12-slim", description="Image that the job runs in; any with Python 3.8 or newer.")
    cpu: float = Field(1.0, gt=0, description="CPU cores.")
    memory: float = Field(1.0, gt=0, description="Memory in GB, in steps of 0.1.")
    image_registry: RegistryIdentity | None = Field(
        None, description="Another registry that the image comes from, and who pulls it; the pool's own needs none."
    )
    identities: list[str] = Field(
        default_factory=list,
        description="Resource ids of user-assigned identities that the flow has; the pool's job_identity_ids.",
    )
    subnet_ids: list[str] = Field(default_factory=list, description="Subnet to run in; the pool's own.")
    dns_servers: list[str] = Field(default_factory=list, description="Name servers, where the job runs in a subnet.")
    priority: Literal["Regular", "Spot"] = Field(
        "Regular", description="Spot is cheaper, and Azure may take it back at any time; not in a subnet."
    )


# Filled in for each job. `container_group` is the body of the API's PUT, so that a platform team can add what it needs
# to a pool's base job template: volumes, sidecars, zones.
JOB_CONFIGURATION: Mapping[str, Any] = {
    "name": "{{ name }}",
    "command": "{{ command }}",
    "env": "{{ env }}",
    "labels": "{{ labels }}",
    "image_registry": "{{ image_registry }}",
    "identities": "{{ identities }}",
    "subnet_ids": "{{ subnet_ids }}",
    "container_group": {
        "properties": {
            "osType": "Linux",
            "priority": "{{ priority }}",
            "dnsConfig": {"nameServers": "{{ dns_servers }}"},
            "containers": [
                {
                    "name": CONTAINER,
                    "properties": {
                        "image": "{{ image }}",
                        "resources": {"requests": {"cpu": "{{ cpu }}", "memoryInGB": "{{ memory }}"}},
                    },
                }
            ],
        },
    },
}
