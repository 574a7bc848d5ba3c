"""Containers on a Docker engine, this machine's or a remote one's. Needs no account, no registry and no network."""

from __future__ import annotations

from poolform.core.plugins import hookimpl


@hookimpl
def poolform_pool_types() -> dict[str, str]:
    """Say where it is."""
    return {"docker": "poolform.provisioners.docker.pool_type:Docker"}
