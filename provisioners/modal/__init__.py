"""Modal: each job is a Sandbox of an account there. Needs no infrastructure, and a token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolform.core.plugins import hookimpl

if TYPE_CHECKING:
    from poolform.core.pools.contract import Block


@hookimpl
def poolform_pool_types() -> dict[str, str]:
    """Say where it is."""
    return {"modal:push": "poolform.provisioners.modal.pool_type:ModalPush"}


@hookimpl
def poolform_block_types() -> list[type[Block]]:
    """Return the block that a token is kept in."""
    from poolform.provisioners.modal.tokens import ModalCredentials

    return [ModalCredentials]
