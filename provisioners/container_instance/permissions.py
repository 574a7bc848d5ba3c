"""What the caller must be allowed, by the resource types of the rendered module.

Preflight asks Azure about exactly these, and docs/pool-types/azure-container-instance.md lists them.
https://learn.microsoft.com/azure/role-based-access-control/resource-provider-operations
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def _on(kind: str, verbs: str) -> tuple[str, ...]:
    return tuple(f"{kind}/{verb}" for verb in verbs.split())


ROLE_ASSIGNMENTS = _on("Microsoft.Authorization/roleAssignments", "delete read write")

BY_TYPE: Mapping[str, tuple[str, ...]] = {
    "azurerm_container_registry": (
        "Microsoft.ContainerRegistry/checkNameAvailability/read",
        *_on("Microsoft.ContainerRegistry/registries", "delete operationStatuses/read read replications/read write"),
    ),
    "azurerm_resource_group": _on(
        "Microsoft.Resources/subscriptions/resourceGroups", "delete read resources/read write"
    ),
    "azurerm_role_assignment": (*ROLE_ASSIGNMENTS, "Microsoft.Authorization/roleDefinitions/read"),
    "azurerm_role_definition": _on("Microsoft.Authorization/roleDefinitions", "delete read write"),
    "azurerm_user_assigned_identity": _on("Microsoft.ManagedIdentity/userAssignedIdentities", "delete read write"),
}

AMBIENT = _on("Microsoft.ContainerInstance/containerGroups", "delete read")
"""What looking at the pool's container groups, and clearing them away, takes where that is done as the caller."""

LOOKING = _on("Microsoft.Resources/subscriptions", "providers/read read")
"""What preflight itself takes; without it there are warnings."""

DIRECTORY_TYPES = ("azuread_application_registration", "azuread_service_principal")
"""Resource types that Microsoft Entra keeps, whose permissions are another system's."""

PROVIDERS = ("Microsoft.ContainerInstance", "Microsoft.ContainerRegistry", "Microsoft.ManagedIdentity")
"""Resource providers that have to be registered in the subscription."""


def needed(resources: Iterable[str]) -> tuple[str, ...]:
    """Return the actions for a module with these resource types, sorted."""
    return tuple(sorted({action for kind in resources for action in BY_TYPE.get(kind, ())}))


def role(subscription: str = "SUBSCRIPTION") -> dict[str, Any]:
    """Return a role definition for whoever provisions any kind of pool, as `az role definition create` takes it."""
    return {
        "Name": "Poolform provisioner",
        "Description": "Provisions work pools on Azure Container Instances",
        "Actions": sorted({*needed(BY_TYPE), *AMBIENT, *LOOKING}),
        "AssignableScopes": [f"/subscriptions/{subscription}"],
    }


def allows(permissions: Iterable[Mapping[str, Any]], action: str) -> bool:
    """Say whether what Azure answered about a caller's permissions lets it do something.

    Each entry is one role's: what its actions match and its notActions do not.
    https://learn.microsoft.com/azure/role-based-access-control/role-definitions#actions
    """
    return any(
        _matches(entry.get("actions") or (), action) and not _matches(entry.get("notActions") or (), action)
        for entry in permissions
    )


def _matches(patterns: Iterable[str], action: str) -> bool:
    return any(
        re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), action, re.IGNORECASE) is not None for pattern in patterns
    )
