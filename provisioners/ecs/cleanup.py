"""What launchers leave in the account, cleared away before the pool is destroyed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from poolform.provisioners.ecs import session
from poolform.provisioners.ecs.launcher import drop_definitions, drop_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolform.core.pools.contract import Connection, Credential
    from poolform.provisioners.ecs.session import Clients

# A container has thirty seconds to stop; a cluster with tasks cannot be deleted, nor a network that they are in.
_PATIENCE = 90.0


def disconnect(connection: Connection, credential: Credential | None) -> None:
    """Stop every task in the pool's cluster, and delete its task definitions and secrets. Twice is fine.

    Done as the launcher, which may do exactly this; as the caller where the launcher can't get in any more.
    """
    settings = connection.settings
    with session.sentences("Clearing away what jobs left"):
        clients = _working(settings, credential)
        _stop_tasks(clients["ecs"], settings["cluster_arn"])
        for family in list(_families(clients["ecs"], settings["prefix"])):
            drop_definitions(clients["ecs"], family)
        drop_secrets(clients["ssm"], f"/{settings['prefix']}")


def _working(settings: Any, credential: Credential | None) -> Clients:
    from botocore.exceptions import BotoCoreError, ClientError

    from poolform.core.errors import PoolformError

    try:
        clients = session.Clients.of_launcher(settings, credential)
        clients["ecs"].list_tasks(cluster=settings["cluster_arn"], maxResults=1)
    except (PoolformError, BotoCoreError):
        pass
    except ClientError as exc:
        if session.error_code(exc) not in session.NOT_ACCEPTED | session.DENIED | {"ClusterNotFoundException"}:
            raise
        if session.error_code(exc) == "ClusterNotFoundException":
            return clients
    else:
        return clients
    return session.Clients(settings["region"])


def _stop_tasks(ecs: Any, cluster: str) -> None:
    from botocore.exceptions import ClientError

    deadline = time.monotonic() + _PATIENCE
    try:
        while running := list(_tasks(ecs, cluster)):
            for arn, stopping in running:
                if not stopping:
                    ecs.stop_task(cluster=cluster, task=arn, reason="The work pool is being deprovisioned")
            if time.monotonic() > deadline:
                return  # Terraform waits a while longer, and says what is in its way
            time.sleep(0.5)
    except ClientError as exc:
        if session.error_code(exc) != "ClusterNotFoundException":
            raise


def _tasks(ecs: Any, cluster: str) -> Iterator[tuple[str, bool]]:
    """Yield each task that is not stopped, and whether it is on its way."""
    for status in ("RUNNING", "STOPPED"):  # what they should be: a task that is stopping still lives
        for page in ecs.get_paginator("list_tasks").paginate(cluster=cluster, desiredStatus=status):
            if not page["taskArns"]:
                continue
            for task in ecs.describe_tasks(cluster=cluster, tasks=page["taskArns"])["tasks"]:
                if task["lastStatus"] != "STOPPED":
                    yield task["taskArn"], status == "STOPPED"


def _families(ecs: Any, prefix: str) -> Iterator[str]:
    for page in ecs.get_paginator("list_task_definition_families").paginate(familyPrefix=f"{prefix}-", status="ALL"):
        yield from page["families"]
