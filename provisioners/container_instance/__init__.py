"""Azure Container Instances: `azure-container-instance:push`, and `azure-container-instance` for workers near it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolform.core.plugins import hookimpl

if TYPE_CHECKING:
    from poolform.core.pools.contract import Block


@hookimpl
def poolform_pool_types() -> dict[str, str]:
    """Say where both ways of Azure Container Instances are."""
    home = "poolform.provisioners.container_instance.pool_type"
    return {
        "azure-container-instance:push": f"{home}:ContainerInstancePush",
        "azure-container-instance": f"{home}:ContainerInstance",
    }


@hookimpl
def poolform_block_types() -> list[type[Block]]:
    """Return the block that a client secret is kept in."""
    from poolform.provisioners.container_instance.keys import AzureCredentials

    return [AzureCredentials]
