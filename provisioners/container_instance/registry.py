"""The pool's container registry: what images are called in it, and a login for whoever pushes some."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolform.core.runs.docker import RegistryLogin
from poolform.provisioners.container_instance import session

if TYPE_CHECKING:
    from poolform.core.pools.contract import Connection

# What a registry calls everybody who shows a token instead of a password.
# https://learn.microsoft.com/azure/container-registry/container-registry-authentication
_ANYBODY = "00000000-0000-0000-0000-000000000000"


def reference(connection: Connection, name: str, tag: str) -> str:
    """Return an image's name in the pool's registry, which makes a repository when something is pushed to it."""
    return f"{connection.image_namespace}/{name}:{tag}"


def login(connection: Connection) -> RegistryLogin:
    """Return a login as whoever deploys, valid for 3 hours. Raises PoolformError where Azure gives none.

    The registry gives a token of its own for one of Azure Resource Manager.
    https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md
    """
    settings = connection.settings
    server = str(connection.image_namespace)
    access = session.Access(settings["environment"])
    with session.sentences("Getting a login for the pool's registry"):
        from azure.core import PipelineClient
        from azure.core.rest import HttpRequest

        form = {
            "grant_type": "access_token",
            "service": server,
            "tenant": settings["tenant_id"],
            "access_token": access.token(access.endpoints.resource_manager),
        }
        client: Any = PipelineClient(f"https://{server}", policies=[])
        with client:
            response = client.send_request(HttpRequest("POST", f"https://{server}/oauth2/exchange", data=form))
            response.raise_for_status()
            token = response.json()["refresh_token"]
    access.close()
    return RegistryLogin(server, _ANYBODY, token)
