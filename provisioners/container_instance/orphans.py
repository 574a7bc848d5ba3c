"""What an interrupted apply made and its state never heard of, found by the pool's id."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

from poolform.core.pools.contract import Orphan
from poolform.provisioners.container_instance import session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolform.provisioners.container_instance.session import Access
    from poolform.provisioners.container_instance.variables import ContainerInstanceVariables

_TAG = "poolform-pool-id"
_RESOURCES, _AUTHORIZATION = "2021-04-01", "2022-04-01"
_KINDS = {
    "microsoft.containerregistry/registries": "azurerm_container_registry.images",
    "microsoft.managedidentity/userassignedidentities": "azurerm_user_assigned_identity.pull",
}


def find(variables: ContainerInstanceVariables, pool_id: str) -> Iterator[Orphan]:
    """Yield every object that bears the pool's id, as the address in the module that it belongs to.

    What the caller may not list is passed over: Terraform then says that it exists.
    """
    access = session.Access(variables.environment)
    with session.sentences("Looking for what an interrupted run left"):
        group = None
        for group, is_ours in _groups(access, variables, pool_id):
            if is_ours:
                yield Orphan("azurerm_resource_group.this", group)
            yield from _resources(access, group, pool_id)
        principals = list(_directory(access, pool_id)) if variables.credentials == "key" else []
        yield from (orphan for orphan, _ in principals)
        if group is not None and (variables.credentials == "key" or variables.launcher_principal_ids):
            yield from _launcher_role(access, variables, group, pool_id)
    access.close()


def _groups(access: Access, variables: ContainerInstanceVariables, pool_id: str) -> Iterator[tuple[str, bool]]:
    """Yield the ids of resource groups that may hold something of ours, and whether the group itself is ours."""
    subscription = f"/subscriptions/{variables.subscription_id}"
    if variables.resource_group_name is not None:
        yield f"{subscription}/resourceGroups/{variables.resource_group_name}", False
        return
    query = {"api-version": _RESOURCES, "$filter": f"tagName eq '{_TAG}' and tagValue eq '{pool_id}'"}
    with _permitted():
        for group in access.pages(access.endpoints.resource_manager, f"{subscription}/resourcegroups", **query):
            # Look twice: what is adopted may be destroyed one day.
            if (group.get("tags") or {}).get(_TAG) == pool_id and group["name"].endswith(f"-{pool_id}"):
                yield f"{subscription}/resourceGroups/{group['name']}", True


def _resources(access: Access, group: str, pool_id: str) -> Iterator[Orphan]:
    """Yield what is in the group, and the role that its identity has on its registry."""
    found: dict[str, str] = {}
    with _permitted():
        query = {"api-version": _RESOURCES}
        for item in access.pages(access.endpoints.resource_manager, f"{group}/resources", **query):
            address = _KINDS.get(item["type"].lower())
            if address and item["name"].endswith(pool_id) and (item.get("tags") or {}).get(_TAG) == pool_id:
                found[address] = f"{group}/providers/{_canonical(item['type'])}/{item['name']}"
    yield from (Orphan(address, import_id) for address, import_id in found.items())
    registry = found.get("azurerm_container_registry.images")
    if registry is not None:
        yield from _assignment(access, "azurerm_role_assignment.pull", registry, f"poolform:{pool_id}:pull")


def _launcher_role(access: Access, variables: ContainerInstanceVariables, group: str, pool_id: str) -> Iterator[Orphan]:
    definition = f"providers/Microsoft.Authorization/roleDefinitions/{_named(f'poolform:{pool_id}:launcher')}"
    if _exists(access, f"{group}/{definition}"):
        # Azure calls a role by its subscription, wherever it was defined.
        import_id = f"/subscriptions/{variables.subscription_id}/{definition}|{group}"
        yield Orphan("azurerm_role_definition.launcher", import_id)
    scopes = {
        "group": group,
        "subnet": variables.subnet_id,
        "workspace": variables.log_analytics_workspace_id,
        **{f"identity {identity.lower()}": identity for identity in variables.job_identity_ids},
    }
    for launcher in variables.launcher_principal_ids or ["launcher"]:
        for place, scope in scopes.items():
            if scope is not None:
                key = f"{launcher} {place}"
                address = f'azurerm_role_assignment.launcher["{key}"]'
                yield from _assignment(access, address, scope, f"poolform:{pool_id}:launcher:{key}")


def _assignment(access: Access, address: str, scope: str, name: str) -> Iterator[Orphan]:
    assignment = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{_named(name)}"
    if _exists(access, assignment):
        yield Orphan(address, assignment)


def _directory(access: Access, pool_id: str) -> Iterator[tuple[Orphan, str]]:
    """Yield the launcher's application and its service principal, each with its object id."""
    tail = f"-launcher-{pool_id}"
    for path, address in (
        ("applications", "azuread_application_registration.launcher"),
        ("servicePrincipals", "azuread_service_principal.launcher"),
    ):
        with _permitted():
            query = {"$filter": "startswith(displayName,'poolform-')", "$select": "id,displayName"}
            for item in access.pages(access.endpoints.graph, f"/v1.0/{path}", **query):
                if item["displayName"].endswith(tail):
                    yield Orphan(address, f"/{path}/{item['id']}"), item["id"]


def _exists(access: Access, resource: str) -> bool:
    from azure.core.exceptions import ResourceNotFoundError

    try:
        with _permitted():
            access.arm("GET", resource, _AUTHORIZATION)
            return True
    except ResourceNotFoundError:
        pass
    return False


def _named(name: str) -> str:
    """Return what the module's uuidv5("url", …) does."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def _canonical(kind: str) -> str:
    """Return a resource type as Terraform's provider spells it in ids."""
    return {
        "microsoft.containerregistry/registries": "Microsoft.ContainerRegistry/registries",
        "microsoft.managedidentity/userassignedidentities": "Microsoft.ManagedIdentity/userAssignedIdentities",
    }[kind.lower()]


@contextmanager
def _permitted() -> Iterator[None]:
    from azure.core.exceptions import HttpResponseError

    try:
        yield
    except HttpResponseError as exc:
        if exc.status_code != 403:
            raise
