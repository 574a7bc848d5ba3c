"""Cloud Run jobs: `cloud-run:push`, whose jobs need no route back, and `cloud-run`, for workers near the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolform.core.plugins import hookimpl

if TYPE_CHECKING:
    from poolform.core.pools.contract import Block


@hookimpl
def poolform_pool_types() -> dict[str, str]:
    """Say where both ways of Cloud Run are."""
    return {
        "cloud-run:push": "poolform.provisioners.cloud_run.pool_type:CloudRunPush",
        "cloud-run": "poolform.provisioners.cloud_run.pool_type:CloudRun",
    }


@hookimpl
def poolform_block_types() -> list[type[Block]]:
    """Return the block that a key is kept in."""
    from poolform.provisioners.cloud_run.keys import GcpCredentials

    return [GcpCredentials]
