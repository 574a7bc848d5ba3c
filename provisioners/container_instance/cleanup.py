"""What launchers leave in the resource group, cleared away before the pool is destroyed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from poolform.core.errors import PoolformError
from poolform.provisioners.container_instance import group as groups
from poolform.provisioners.container_instance import launcher, session

if TYPE_CHECKING:
    from poolform.core.pools.contract import Connection, Credential

# A resource group with something in it is not deleted, nor a subnet that a container group is in.
_PATIENCE = 120.0
_ASSERTED = 3.0


def disconnect(connection: Connection, credential: Credential | None) -> None:
    """Delete the pool's container groups, running or not, and wait until they are gone. Twice is fine.

    Done as the launcher, which may do exactly this; as the caller where the launcher can't get in any more.
    """
    settings = connection.settings
    with session.sentences("Clearing away what jobs left"):
        access = _working(settings, credential)
        container_groups = access.container_instances(settings["subscription_id"]).container_groups
        deadline, asked = time.monotonic() + _PATIENCE, dict[str, float]()
        while names := _ours(container_groups, settings):
            for name in names:
                if time.monotonic() - asked.get(name, float("-inf")) > _ASSERTED:
                    _ask_to_delete(container_groups, settings["resource_group_name"], name)
                    asked[name] = time.monotonic()
            if time.monotonic() > deadline:
                break  # Terraform says what is in its way
            time.sleep(0.5)
        access.close()


def _working(settings: Any, credential: Credential | None) -> session.Access:
    from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

    try:
        access = session.Access.of_launcher(settings, credential)
        container_groups = access.container_instances(settings["subscription_id"]).container_groups
        next(iter(container_groups.list_by_resource_group(settings["resource_group_name"])), None)
    except (ClientAuthenticationError, PoolformError):
        return session.Access(settings["environment"])
    except HttpResponseError as exc:
        if exc.status_code not in (401, 403, 404):
            raise
        return session.Access(settings["environment"])
    return access


def _ours(container_groups: Any, settings: Any) -> list[str]:
    from azure.core.exceptions import ResourceNotFoundError

    beginning = groups.prefix(settings["pool_id"])
    try:
        found = list(container_groups.list_by_resource_group(settings["resource_group_name"]))
    except ResourceNotFoundError:
        return []
    return [group.name for group in found if group.name.startswith(beginning)]


def _ask_to_delete(container_groups: Any, resource_group: str, name: str) -> None:
    from azure.core.exceptions import HttpResponseError

    try:
        launcher.delete(container_groups, resource_group, name)
    except HttpResponseError as exc:
        if session.error_code(exc) != launcher.TRANSITIONING:
            raise  # it is still being made, or stopped; asked again soon
