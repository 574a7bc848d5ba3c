"""hashicorp/azurerm: resource ids as Azure Resource Manager writes them, and which changes replace."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from poolform.testing.standin.behaviour import Behaviour, Resource, Validator, digest, uuid

if TYPE_CHECKING:
    from poolform.testing.standin.behaviour import Compute
    from poolform.testing.standin.cloud import Objects
    from poolform.testing.standin.values import Attributes

SUBSCRIPTION = "00000000-0000-4000-a000-000000000001"
TENANT = "00000000-0000-4000-a000-000000000002"

_GROUP = "/subscriptions/{subscription_id}/resourceGroups/{resource_group_name}"
_PLACED = ("name", "location", "resource_group_name")
_CONFLICT = (
    'A resource with the ID "{id}" already exists - to be managed via Terraform this resource needs to be imported'
    " into the State."
)


def _computed(id_: str, **also: Any) -> Compute:
    """Return the id and more; a callable in `also` is given the attributes."""

    def compute(given: Attributes, _objects: Objects) -> Attributes:
        values = {
            name: item(given) if callable(item) else item.format_map(given) if isinstance(item, str) else item
            for name, item in also.items()
        }
        return {"id": id_.format_map(given), **values}

    return compute


def _resource(kind: str, *fixed: str, defaults: Attributes | None = None, **also: Any) -> Resource:
    """Return how a resource of a resource group behaves."""
    id_ = f"{_GROUP}/providers/{kind}/{{name}}"
    return Resource(_computed(id_, **also), defaults=defaults or {}, force_new=(*_PLACED, *fixed), conflict=_CONFLICT)


def _below(parent: str, kind: str, *fixed: str, **also: Any) -> Resource:
    """Return how a resource behaves that belongs to another, whose id is the attribute `parent`."""
    return Resource(
        _computed(f"{{{parent}}}/{kind}/{{name}}", **also), force_new=("name", parent, *fixed), conflict=_CONFLICT
    )


def _named_id(*salt: str) -> Any:
    """Return a UUID that depends on what a resource is called and where it is."""
    return lambda given: uuid(*salt, given.get("resource_group_name"), given["name"])


def _subscription(scope: str) -> str:
    """Return the id of the subscription that a scope is in."""
    return "/".join(scope.split("/")[:3])


def _role_assignment(given: Attributes, _objects: Objects) -> Attributes:
    role = given.get("role_definition_id") or given.get("role_definition_name")
    name = given.get("name") or uuid(given["scope"], given["principal_id"], role)
    definition = f"{_subscription(given['scope'])}/providers/Microsoft.Authorization/roleDefinitions/{uuid(role)}"
    return {
        "id": f"{given['scope']}/providers/Microsoft.Authorization/roleAssignments/{name}",
        "name": name,
        "principal_type": "ServicePrincipal",
        "role_definition_id": definition,
        "role_definition_name": "Custom",
    }


def _settling_role(given: Attributes, _objects: Objects) -> str | None:
    """Refuse a role by a name that Azure does not answer with.

    It would take it, and every plan afterwards would replace the assignment: roles are named by the subscription that
    they are assigned in. https://github.com/hashicorp/terraform-provider-azurerm/issues/8764
    """
    role, wanted = given["role_definition_id"], f"{_subscription(given['scope'])}/providers/"
    if role.lower().startswith(wanted.lower()):
        return None
    return f"role_definition_id {role} would come back as {wanted}…, and replace the assignment with every plan"


def _role_definition(given: Attributes, _objects: Objects) -> Attributes:
    name = given.get("role_definition_id") or uuid(given["scope"], given["name"])
    # By its subscription, though its scope is a resource group.
    resource_id = f"{_subscription(given['scope'])}/providers/Microsoft.Authorization/roleDefinitions/{name}"
    return {
        "id": f"{resource_id}|{given['scope']}",
        "role_definition_id": name,
        "role_definition_resource_id": resource_id,
        "assignable_scopes": [given["scope"]],
    }


def _still_full(group: Attributes, objects: Objects) -> str | None:
    """Say what is in a resource group, as the provider does unless its features tell it otherwise."""
    inside = sorted(
        id_
        for items in objects.values()
        for id_ in items
        if id_.startswith(f"{group['id']}/") and "/Microsoft.Authorization/" not in id_
    )
    if not inside:
        return None
    return (
        f'deleting Resource Group "{group["name"]}": the Resource Group still contains Resources.\n\n'
        "Terraform is configured to check for Resources within the Resource Group when deleting the Resource Group:\n"
        + "\n".join(f"* `{id_}`" for id_ in inside)
    )


def _named(pattern: str, rule: str) -> dict[str, Validator]:
    """Return what a name must be like."""
    return {"name": Validator(re.compile(pattern).fullmatch, f"{{!r}}: {rule}")}


_REGISTRY_DEFAULTS = {
    "admin_enabled": False,
    "anonymous_pull_enabled": False,
    "data_endpoint_enabled": False,
    "export_policy_enabled": True,
    "network_rule_bypass_option": "AzureServices",
    "public_network_access_enabled": True,
    "quarantine_policy_enabled": False,
    "retention_policy_in_days": 0,
    "zone_redundancy_enabled": False,
}

BEHAVIOUR = Behaviour(
    environment={"subscription_id": SUBSCRIPTION, "tenant_id": TENANT},
    resources={
        "azurerm_resource_group": Resource(
            {"id": "/subscriptions/{subscription_id}/resourceGroups/{name}"},
            force_new=("name", "location"),
            conflict=_CONFLICT,
            validators=_named(r"[-\w.()]{0,89}[-\w()]", "at most 90 of letters, digits and -_.(), no dot at the end"),
            undeletable=_still_full,
        ),
        "azurerm_resource_provider_registration": Resource(
            {"id": "/subscriptions/{subscription_id}/providers/{name}"}, force_new=("name",), adopts=True
        ),
        "azurerm_container_registry": replace(
            _resource(
                "Microsoft.ContainerRegistry/registries",
                "zone_redundancy_enabled",
                defaults=_REGISTRY_DEFAULTS,
                login_server=lambda given: f"{given['name'].lower()}.azurecr.io",
                admin_username=lambda given: given["name"] if given.get("admin_enabled") else "",
                admin_password=lambda given: digest(given["name"], size=32) if given.get("admin_enabled") else "",
            ),
            unique=("name",),  # in all of Azure
            validators=_named(r"[a-zA-Z0-9]{5,50}", "5 to 50 letters and digits"),
        ),
        "azurerm_user_assigned_identity": replace(
            _resource(
                "Microsoft.ManagedIdentity/userAssignedIdentities",
                principal_id=_named_id("principal"),
                client_id=_named_id("client"),
                tenant_id=TENANT,
            ),
            validators=_named(r"[a-zA-Z0-9][-\w]{2,127}", "3 to 128 of letters, digits and -_"),
        ),
        "azurerm_federated_identity_credential": _below("user_assigned_identity_id", "federatedIdentityCredentials"),
        "azurerm_role_assignment": Resource(
            _role_assignment,
            force_new=(
                "name",
                "scope",
                "principal_id",
                "principal_type",
                "role_definition_id",
                "role_definition_name",
                "delegated_managed_identity_resource_id",
            ),
            unique=("scope", "principal_id", "role_definition_id"),
            requires=_settling_role,
            conflict="unexpected status 409 (409 Conflict) with error: RoleAssignmentExists: The role assignment"
            " already exists.",
        ),
        "azurerm_role_definition": Resource(
            _role_definition,
            force_new=("scope", "role_definition_id"),
            unique=("name",),  # in the whole directory
            conflict="unexpected status 409 (409 Conflict) with error: RoleDefinitionWithSameNameExists: A custom role"
            " with the same name already exists in this directory.",
        ),
        "azurerm_container_group": Resource(
            _computed(
                f"{_GROUP}/providers/Microsoft.ContainerInstance/containerGroups/{{name}}", ip_address="20.0.0.4"
            ),
            defaults={
                "ip_address_type": "Public",
                "priority": "Regular",
                "restart_policy": "Always",
                "sku": "Standard",
            },
            force_new="all",
            conflict=_CONFLICT,
        ),
        "azurerm_key_vault": _resource(
            "Microsoft.KeyVault/vaults", "tenant_id", vault_uri="https://{name}.vault.azure.net/"
        ),
        "azurerm_key_vault_secret": _below("key_vault_id", "secrets", version="1"),
        "azurerm_log_analytics_workspace": _resource(
            "Microsoft.OperationalInsights/workspaces",
            workspace_id=_named_id("workspace"),
            primary_shared_key=lambda given: digest("primary", given["name"], size=64),
            secondary_shared_key=lambda given: digest("secondary", given["name"], size=64),
            retention_in_days=30,
            sku="PerGB2018",
        ),
        "azurerm_virtual_network": _resource("Microsoft.Network/virtualNetworks", guid=_named_id("network")),
        "azurerm_network_security_group": _resource("Microsoft.Network/networkSecurityGroups"),
        "azurerm_subnet": Resource(
            {"id": f"{_GROUP}/providers/Microsoft.Network/virtualNetworks/{{virtual_network_name}}/subnets/{{name}}"},
            defaults={"default_outbound_access_enabled": True},
            force_new=("name", "resource_group_name", "virtual_network_name"),
            conflict=_CONFLICT,
        ),
        "azurerm_storage_account": _resource(
            "Microsoft.Storage/storageAccounts",
            "account_tier",
            primary_blob_endpoint="https://{name}.blob.core.windows.net/",
            primary_access_key=lambda given: digest("primary", given["name"], size=64),
            secondary_access_key=lambda given: digest("secondary", given["name"], size=64),
        ),
        "azurerm_storage_container": _below("storage_account_id", "blobServices/default/containers"),
    },
    data_sources={
        "azurerm_client_config": {
            "id": "Y2xpZW50",
            "client_id": uuid("client"),
            "object_id": uuid("object"),
            "subscription_id": "{subscription_id}",
            "tenant_id": TENANT,
        },
        "azurerm_subscription": {
            "id": "/subscriptions/{subscription_id}",
            "subscription_id": "{subscription_id}",
            "display_name": "standin",
            "state": "Enabled",
            "tenant_id": TENANT,
        },
    },
)
