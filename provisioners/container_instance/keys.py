"""The client secret of a pool's launcher: one at a time, made outside Terraform so that no state holds it.

https://learn.microsoft.com/graph/api/application-addpassword
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from poolform.core.pools.contract import Block, Credential, Finding
from poolform.provisioners.container_instance import session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolform.core.pools.contract import Connection

_THROTTLED = 429


class AzureCredentials(Block):
    """A service principal of Azure and its client secret, under the names of Prefect's block."""

    block_type = "azure-container-instance-credentials"
    title = "Azure Container Instance credentials"

    client_id: str
    tenant_id: str
    client_secret: SecretStr


def issued(connection: Connection) -> Sequence[str]:
    """Return the ids of the secrets that the launcher's application has; none where there is no such application."""
    application = connection.settings["application_object_id"]
    if application is None:
        return ()
    from azure.core.exceptions import ResourceNotFoundError

    with session.sentences("Listing the secrets of the pool's launcher"):
        try:
            found = _caller(connection).graph("GET", f"/applications/{application}", select="passwordCredentials")
        except ResourceNotFoundError:
            return ()
    return [secret["keyId"] for secret in found["passwordCredentials"]]


def mint(connection: Connection) -> Credential:
    """Make a client secret and return it: Microsoft Graph shows it this once."""
    settings = connection.settings
    # Asked once: Graph would answer a repetition, after a lost answer, with another secret.
    access = session.Access(settings["environment"], retries=0)
    with session.sentences("Creating a secret for the pool's launcher"):
        body = {"passwordCredential": {"displayName": "Poolform"}}
        made = access.graph("POST", f"/applications/{settings['application_object_id']}/addPassword", body)
    data = {"client_id": settings["client_id"], "tenant_id": settings["tenant_id"], "client_secret": made["secretText"]}
    return Credential(AzureCredentials.block_type, data, key_id=made["keyId"])


def revoke(connection: Connection, key_id: str) -> None:
    """Delete a secret of the launcher's application. Gone is fine."""
    application = connection.settings["application_object_id"]
    from azure.core.exceptions import HttpResponseError

    access = _caller(connection)
    with session.sentences(f"Deleting the secret {key_id} of the pool's launcher"):
        try:
            access.graph("POST", f"/applications/{application}/removePassword", {"keyId": key_id})
        except HttpResponseError as exc:
            # What is wrong with an unknown key id is told in words only, so look whether it is still there.
            if exc.status_code not in (400, 404) or key_id in issued(connection):
                raise


def authenticate(connection: Connection, credential: Credential | None) -> Finding:
    """List the pool's container groups once, which needs the identity, its role and the resource group."""
    session.require_azure()
    from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

    settings = connection.settings
    subject = "the Azure login of this environment"
    if settings["credentials"] == "key":
        subject = f"secret of the application {settings['client_id']}"
    again = "Make a new one: poolform work-pool provision-infra POOL" if settings["credentials"] == "key" else None
    access = session.Access.of_launcher(settings, credential)
    try:
        container_groups = access.container_instances(settings["subscription_id"]).container_groups
        next(iter(container_groups.list_by_resource_group(settings["resource_group_name"])), None)
    except ClientAuthenticationError as exc:
        return Finding(subject, "missing", session.error_text(exc), again)
    except HttpResponseError as exc:
        status = exc.status_code or 500
        verdict: Any = "unknown" if status >= 500 or status == _THROTTLED else "missing"
        return Finding(subject, verdict, session.error_text(exc), again if verdict == "missing" else None)
    except AzureError as exc:
        return Finding(subject, "unknown", session.error_text(exc))
    finally:
        access.close()
    return Finding(subject, "allowed")


def _caller(connection: Connection) -> session.Access:
    """Return Azure as the caller: the launcher itself may not touch its own secrets."""
    return session.Access(connection.settings["environment"])
