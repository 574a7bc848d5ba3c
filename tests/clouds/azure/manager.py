"""Azure Resource Manager: which permission a request takes, and the answers of its services."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from clouds.azure.wire import AzureError, Request, Response

from poolform.testing.standin.behaviours.azurerm import SUBSCRIPTION, TENANT

if TYPE_CHECKING:
    from clouds.azure.authorisation import Roles
    from clouds.azure.directory import Principal
    from clouds.azure.groups import Groups

    from poolform.testing.standin import Cloud

_ACI = "Microsoft.ContainerInstance/containerGroups"
_GROUP = r"(?P<group>/subscriptions/[^/]+/resourceGroups/(?P<group_name>[^/]+))"
# Name (for faults), method, path, the action that it takes; None for what everybody may see of themselves.
ROUTES = tuple(
    (name, method, re.compile(path, re.IGNORECASE), action)
    for name, method, path, action in (
        ("GET subscriptions", "GET", r"/subscriptions", None),
        ("GET permissions", "GET", r"(?P<scope>/.*?)/providers/Microsoft.Authorization/permissions", None),
        (
            "GET provider", "GET", r"(?P<scope>/subscriptions/[^/]+)/providers/(?P<provider>[^/]+)",
            "Microsoft.Resources/subscriptions/providers/read",
        ),
        (
            "GET resource groups", "GET", r"(?P<scope>/subscriptions/[^/]+)/resourcegroups",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
        ),
        (
            "GET resources", "GET", rf"(?P<scope>{_GROUP})/resources",
            "Microsoft.Resources/subscriptions/resourceGroups/resources/read",
        ),
        (
            "GET role assignment", "GET",
            r"(?P<scope>/.*?)/providers/Microsoft.Authorization/roleAssignments/(?P<name>[^/]+)",
            "Microsoft.Authorization/roleAssignments/read",
        ),
        (
            "GET role definition", "GET",
            r"(?P<scope>/.*?)/providers/Microsoft.Authorization/roleDefinitions/(?P<name>[^/]+)",
            "Microsoft.Authorization/roleDefinitions/read",
        ),
        ("LIST groups", "GET", rf"(?P<scope>{_GROUP})/providers/{_ACI}", f"{_ACI}/read"),
        ("GET groups", "GET", rf"(?P<scope>{_GROUP}/providers/{_ACI}/[^/]+)", f"{_ACI}/read"),
        ("PUT groups", "PUT", rf"(?P<scope>{_GROUP}/providers/{_ACI}/[^/]+)", f"{_ACI}/write"),
        ("DELETE groups", "DELETE", rf"(?P<scope>{_GROUP}/providers/{_ACI}/[^/]+)", f"{_ACI}/delete"),
        ("POST stop", "POST", rf"(?P<scope>{_GROUP}/providers/{_ACI}/[^/]+)/stop", f"{_ACI}/stop/action"),
        (
            "GET logs", "GET", rf"(?P<scope>{_GROUP}/providers/{_ACI}/[^/]+)/containers/(?P<container>[^/]+)/logs",
            f"{_ACI}/containers/logs/read",
        ),
        (
            "GET workspace", "GET", rf"(?P<scope>{_GROUP}/providers/Microsoft.OperationalInsights/workspaces/[^/]+)",
            "Microsoft.OperationalInsights/workspaces/read",
        ),
        (
            "POST sharedKeys", "POST",
            rf"(?P<scope>{_GROUP}/providers/Microsoft.OperationalInsights/workspaces/[^/]+)/sharedKeys",
            "Microsoft.OperationalInsights/workspaces/sharedKeys/action",
        ),
    )
)  # fmt: skip


class Manager:
    """Answers requests to Azure Resource Manager. `registered` are resource providers, by name."""

    def __init__(self, cloud: Cloud, roles: Roles, groups: Groups) -> None:
        self._cloud, self._roles, self._groups = cloud, roles, groups
        self.registered: dict[str, str] = {}
        self.resource_groups: set[str] = set()
        """Existing resource groups, besides those that Terraform made."""
        self.workspace_key = "workspace-key-that-nobody-may-write-down"

    def answer(self, request: Request, caller: Principal) -> Response:
        name, _, pattern, action = _route(request)
        if not request.query.get("api-version"):
            raise AzureError(400, "MissingApiVersionParameter", "The api-version query parameter is required.")
        match = pattern.fullmatch(request.path)
        assert match is not None
        parts = match.groupdict()
        scope = parts.get("scope") or "/"
        if action is not None and not self._roles.allow(caller.object_id, action, scope):
            raise AzureError(
                403, "AuthorizationFailed",
                f"The client '{caller.client_id}' with object id '{caller.object_id}' does not have authorization to "
                f"perform action '{action}' over scope '{scope}' or the scope is invalid.",
            )  # fmt: skip
        if parts.get("group_name") and parts["group_name"].lower() not in self._group_names():
            raise AzureError(
                404, "ResourceGroupNotFound", f"Resource group '{parts['group_name']}' could not be found."
            )
        return self._do(name, parts, request, caller)

    def _do(self, name: str, parts: dict[str, str], request: Request, caller: Principal) -> Response:
        match name:
            case "GET subscriptions":
                sees = self._roles.anywhere(caller.object_id)
                return Response(200, {"value": [_SHOWN] if sees else []})
            case "GET permissions":
                return self._permissions(parts["scope"], caller)
            case "GET provider":
                state = self.registered.get(parts["provider"], "Registered")
                kinds = [{"resourceType": "containerGroups", "locations": ["West Europe", "North Europe"]}]
                shown = {"namespace": parts["provider"], "registrationState": state, "resourceTypes": kinds}
                return Response(200, shown)
            case "GET resource groups":
                return self._resource_groups(request.query.get("$filter", ""))
            case "GET resources":
                return self._resources(parts["group"])
            case "GET role assignment" | "GET role definition":
                return self._by_id(request.path, name.removeprefix("GET role "))
            case "GET workspace":
                return Response(200, {"id": parts["scope"], "properties": {"customerId": "c" * 32}})
            case "POST sharedKeys":
                return Response(200, {"primarySharedKey": self.workspace_key, "secondarySharedKey": "s"})
            case "LIST groups":
                return self._groups.list(parts["scope"])
            case "GET groups":
                return self._groups.get(parts["scope"])
            case "PUT groups":
                self._require_registered("Microsoft.ContainerInstance")
                return self._groups.put(parts["scope"], request, caller.object_id)
            case "DELETE groups":
                return self._groups.delete(parts["scope"])
            case "POST stop":
                return self._groups.stop(parts["scope"])
            case _:
                return self._groups.logs(parts["scope"], parts["container"], request.query)

    def _permissions(self, scope: str, caller: Principal) -> Response:
        held = self._roles.of(caller.object_id, scope)
        entries = [
            {"actions": list(a.actions), "notActions": list(a.not_actions), "dataActions": [], "notDataActions": []}
            for a in held
        ]
        return Response(200, {"value": entries})

    def _resource_groups(self, wanted: str) -> Response:
        match = re.fullmatch(r"tagName eq '([^']*)' and tagValue eq '([^']*)'", wanted)
        if wanted and match is None:
            raise AzureError(400, "InvalidFilterInQueryString", f"Invalid $filter '{wanted}' specified.")
        made = self._cloud.objects().get("azurerm_resource_group", {}).values()
        found = [
            {"id": item["id"], "name": item["name"], "location": item["location"], "tags": item["tags"] or {}}
            for item in made
            if match is None or (item["tags"] or {}).get(match[1]) == match[2]
        ]
        return Response(200, {"value": found})

    def _resources(self, group: str) -> Response:
        found = []
        for items in self._cloud.objects().values():
            for id_, item in items.items():
                inner = re.fullmatch(rf"{re.escape(group)}/providers/([^/]+/[^/]+)/([^/]+)", id_, re.IGNORECASE)
                if inner and not inner[1].lower().startswith("microsoft.authorization"):
                    found.append({"id": id_, "type": inner[1], "name": inner[2], "tags": item.get("tags") or {}})
        return Response(200, {"value": found})

    def _by_id(self, path: str, what: str) -> Response:
        kind = {"assignment": "azurerm_role_assignment", "definition": "azurerm_role_definition"}[what]
        scope, _, name = path.partition(f"/providers/Microsoft.Authorization/role{what.title()}s/")
        for item in self._cloud.objects().get(kind, {}).values():
            own = item["role_definition_id"] if what == "definition" else item["name"]
            if own == name and item["scope"].lower() == scope.lower():
                return Response(200, {"id": path, "name": name})
        raise AzureError(404, f"Role{what.title()}DoesNotExist", f"The role {what} '{path}' is not found.")

    def _require_registered(self, provider: str) -> None:
        if self.registered.get(provider, "Registered") != "Registered":
            message = f"The subscription is not registered to use namespace '{provider}'."
            raise AzureError(409, "MissingSubscriptionRegistration", message)

    def _group_names(self) -> set[str]:
        made = self._cloud.objects().get("azurerm_resource_group", {}).values()
        return {item["name"].lower() for item in made} | {name.lower() for name in self.resource_groups}


_SHOWN: dict[str, Any] = {
    "id": f"/subscriptions/{SUBSCRIPTION}",
    "subscriptionId": SUBSCRIPTION,
    "tenantId": TENANT,
    "displayName": "standin",
    "state": "Enabled",
}


def name_of(method: str, path: str) -> str:
    """What a request is called, for faults."""
    return next((name for name, verb, pattern, _ in ROUTES if verb == method and pattern.fullmatch(path)), method)


def _route(request: Request) -> Any:
    for route in ROUTES:
        if route[1] == request.method and route[2].fullmatch(request.path):
            return route
    raise AzureError(404, "InvalidResourceType", f"{request.method} {request.path}: the stand-in has no such thing.")
