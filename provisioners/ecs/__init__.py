"""Amazon ECS on Fargate: `ecs:push`, whose jobs need no route back, and `ecs`, for workers near the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolform.core.plugins import hookimpl

if TYPE_CHECKING:
    from poolform.core.pools.contract import Block


@hookimpl
def poolform_pool_types() -> dict[str, str]:
    """Say where both ways of ECS are."""
    return {
        "ecs:push": "poolform.provisioners.ecs.pool_type:EcsPush",
        "ecs": "poolform.provisioners.ecs.pool_type:Ecs",
    }


@hookimpl
def poolform_block_types() -> list[type[Block]]:
    """Return the block that an access key is kept in."""
    from poolform.provisioners.ecs.keys import AwsCredentials

    return [AwsCredentials]
