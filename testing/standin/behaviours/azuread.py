"""hashicorp/azuread: applications, their service principals, and the passwords of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolform.testing.standin.behaviour import Behaviour, Resource, digest, uuid
from poolform.testing.standin.behaviours.azurerm import TENANT

if TYPE_CHECKING:
    from poolform.testing.standin.behaviour import Compute
    from poolform.testing.standin.cloud import Objects
    from poolform.testing.standin.values import Attributes


def _application(given: Attributes, objects: Objects) -> Attributes:
    # A display name is not unique in a directory, so an application's ids can't come from it.
    known = [*objects.get("azuread_application", {}), *objects.get("azuread_application_registration", {})]
    name = (given["display_name"], len(known))
    return {
        "id": f"/applications/{uuid('object', name)}",
        "object_id": uuid("object", name),
        "client_id": uuid("client", name),
        "publisher_domain": "standin.onmicrosoft.com",
    }


def _service_principal(given: Attributes, objects: Objects) -> Attributes:
    applications = [
        item
        for type_ in ("azuread_application", "azuread_application_registration")
        for item in objects.get(type_, {}).values()
    ]
    known = (item for item in applications if item["client_id"] == given["client_id"])
    application = next(known, {"display_name": "standin"})
    id_ = uuid("principal", given["client_id"])
    return {
        "id": f"/servicePrincipals/{id_}",
        "object_id": id_,
        "display_name": application["display_name"],
        "application_tenant_id": TENANT,
    }


def _below(type_: str, parent: str, kind: str, key: str) -> Compute:
    """Return what a password or a federated credential gets: an id below its `parent`, never the same twice."""

    def compute(given: Attributes, objects: Objects) -> Attributes:
        id_ = uuid(given[parent], len(objects.get(type_, {})))
        return {
            "id": f"{given[parent].rsplit('/', 1)[-1]}/{kind}/{id_}",
            key: id_,
            "value": digest(id_, size=40),
            "start_date": "2026-01-01T00:00:00Z",
            "end_date": "2028-01-01T00:00:00Z",
        }

    return compute


BEHAVIOUR = Behaviour(
    environment={"tenant_id": TENANT},
    resources={
        "azuread_application": Resource(_application),
        "azuread_application_registration": Resource(_application),
        "azuread_application_federated_identity_credential": Resource(
            _below(
                "azuread_application_federated_identity_credential",
                "application_id",
                "federatedIdentityCredential",
                "credential_id",
            ),
            force_new=("application_id", "display_name"),
            unique=("application_id", "display_name"),
        ),
        "azuread_application_password": Resource(
            _below("azuread_application_password", "application_id", "password", "key_id"), force_new="all"
        ),
        "azuread_service_principal": Resource(
            _service_principal,
            defaults={"account_enabled": True},
            force_new=("client_id",),
            unique=("client_id",),
            conflict="The service principal cannot be created, updated, or restored because the service principal name"
            " {client_id} is already in use.",
        ),
        "azuread_service_principal_password": Resource(
            _below("azuread_service_principal_password", "service_principal_id", "password", "key_id"),
            force_new="all",
        ),
    },
    data_sources={
        "azuread_client_config": {
            "id": f"{TENANT}-standin",
            "client_id": uuid("client"),
            "object_id": uuid("object"),
            "tenant_id": TENANT,
        },
    },
)
