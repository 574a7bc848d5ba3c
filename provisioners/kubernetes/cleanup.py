"""What launchers leave in the namespace, cleared away before the pool is destroyed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from poolform.provisioners.kubernetes import session
from poolform.provisioners.kubernetes.orphans import LABEL
from poolform.provisioners.kubernetes.session import ApiError, Cluster

if TYPE_CHECKING:
    from poolform.core.pools.contract import Connection

# A pod has thirty seconds to stop.
_PATIENCE = 90.0


def disconnect(connection: Connection) -> None:
    """Stop every job of the pool, and delete them and their secrets. Twice is fine.

    Done as the launcher, which may do exactly this; as the caller where the launcher can't get in any more.
    """
    settings = connection.settings
    with session.sentences("Clearing away what jobs left"):
        cluster = Cluster.of_launcher(settings)
        try:
            _clear(cluster, settings["namespace"], settings["pool_id"])
        except ApiError as exc:
            if exc.status not in (401, 403) or settings["credentials"] == "ambient":
                raise
            _clear(Cluster.of_connection(settings), settings["namespace"], settings["pool_id"])


def _clear(cluster: Cluster, namespace: str, pool_id: str) -> None:
    ours = f"{LABEL}={pool_id}"
    cluster.delete(f"/apis/batch/v1/namespaces/{namespace}/jobs", labelSelector=ours, propagationPolicy="Foreground")
    cluster.delete(f"/api/v1/namespaces/{namespace}/secrets", labelSelector=ours)
    deadline = time.monotonic() + _PATIENCE
    while any(cluster.items(f"/api/v1/namespaces/{namespace}/pods", labelSelector=ours)):
        if time.monotonic() > deadline:
            return  # Kubernetes goes on with it; a namespace of the pool's own waits for them
        time.sleep(0.5)
