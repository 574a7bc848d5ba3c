"""A Kubernetes cluster: `kubernetes`, each run a Job in the pool's namespace."""

from __future__ import annotations

from poolform.core.plugins import hookimpl


@hookimpl
def poolform_pool_types() -> dict[str, str]:
    """Say where the pool type is."""
    return {"kubernetes": "poolform.provisioners.kubernetes.pool_type:Kubernetes"}
