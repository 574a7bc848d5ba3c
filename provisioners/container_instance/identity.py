"""Who the caller is to Azure, and whether it may do what a module needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolform.core.errors import PoolformError
from poolform.core.pools.contract import Finding, Identity
from poolform.provisioners.container_instance import session
from poolform.provisioners.container_instance.permissions import (
    AMBIENT,
    DIRECTORY_TYPES,
    PROVIDERS,
    ROLE_ASSIGNMENTS,
    allows,
    needed,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from poolform.core.runs.launchers import Json
    from poolform.provisioners.container_instance.session import Access
    from poolform.provisioners.container_instance.variables import ContainerInstanceVariables

_PERMISSIONS, _SUBSCRIPTIONS, _PROVIDERS = "2022-04-01", "2022-12-01", "2021-04-01"
_WHO = "An owner of the subscription {} can grant it: {} has a role with all that is needed."
_DIRECTORY_WHO = (
    "An administrator of Microsoft Entra can let it: the role Application Developer for people, the application "
    "permission Application.ReadWrite.OwnedBy for programs. Or use --set credentials=ambient, which needs neither."
)
# Either lets a program make applications of its own.
_GRAPH_ROLES = frozenset({"Application.ReadWrite.OwnedBy", "Application.ReadWrite.All"})


def identify(variables: ContainerInstanceVariables) -> Identity:
    """Return who the caller is. Raises PoolformError when Azure does not take the login, or hides the subscription."""
    access = session.Access(variables.environment)
    with session.sentences("Asking Azure who you are"):
        found = session.claims(access.token(access.endpoints.resource_manager))
        tenant = _tenant(access, variables.subscription_id)
    names = (found.get(key) for key in ("upn", "unique_name", "preferred_username", "appid", "oid"))
    principal = next(filter(None, names), "the Azure login of this environment")
    access.close()
    return Identity(str(principal), f"{tenant}/{variables.subscription_id}", variables.location)


def _tenant(access: Access, subscription: str) -> str:
    """Return the tenant of a subscription, which whoever has a role on anything in it sees in the list."""
    tenants = {item["subscriptionId"]: str(item["tenantId"]) for item in subscriptions(access)}
    if subscription not in tenants:
        seen = (
            f"It sees {', '.join(tenants)}." if tenants else "It sees none; log in to its tenant: az login --tenant …"
        )
        text = f"The Azure login of this environment does not see the subscription {subscription}."
        raise PoolformError(text, hint=seen)
    return tenants[subscription]


def subscriptions(access: Access) -> list[Any]:
    """Return the subscriptions that the caller sees."""
    base = access.endpoints.resource_manager
    return list(access.pages(base, "/subscriptions", **{"api-version": _SUBSCRIPTIONS}))


def suggest(variable: str, known: Mapping[str, Json]) -> Sequence[str]:
    """Return values of a variable to choose from; `known` are those found in the environment. Never fails."""
    try:
        session.require_azure()
        from azure.core.exceptions import AzureError

        access = session.Access(known.get("environment", "public"))
        try:
            seen = [item["subscriptionId"] for item in subscriptions(access)]
            if variable != "location":
                return seen if variable == "subscription_id" else ()
            subscription = known.get("subscription_id") or seen[0]
            answer = access.arm("GET", f"/subscriptions/{subscription}/providers/{PROVIDERS[0]}", _PROVIDERS)
        except (AzureError, LookupError):
            return ()
        finally:
            access.close()
    except PoolformError:
        return ()
    return _locations(answer)


def check(variables: ContainerInstanceVariables, resources: Sequence[str]) -> Iterator[Finding]:
    """Yield what Azure says of each permission. Raises PoolformError when it does not accept the caller at all."""
    access = session.Access(variables.environment)
    with session.sentences("Asking Azure what you may do"):
        access.token(access.endpoints.resource_manager)
        yield from _registrations(access, variables)
        actions = (*needed(resources), *(AMBIENT if variables.credentials == "ambient" else ()))
        yield from _actions(access, _scope(variables), actions, variables.subscription_id)
        for scope in _foreign_scopes(variables) if "azurerm_role_definition" in resources else ():
            yield from _actions(access, scope, ROLE_ASSIGNMENTS, variables.subscription_id)
        if set(resources) & set(DIRECTORY_TYPES):
            yield _directory(access)
    access.close()


def _scope(variables: ContainerInstanceVariables) -> str:
    subscription = f"/subscriptions/{variables.subscription_id}"
    group = variables.resource_group_name
    return subscription if group is None else f"{subscription}/resourceGroups/{group}"


def _foreign_scopes(variables: ContainerInstanceVariables) -> Iterable[str]:
    """Return existing things that the launcher is given its role on."""
    named = (variables.subnet_id, variables.log_analytics_workspace_id, *variables.job_identity_ids)
    return [scope for scope in named if scope]


def _actions(access: Access, scope: str, actions: Sequence[str], subscription: str) -> Iterator[Finding]:
    from azure.core.exceptions import HttpResponseError

    base = access.endpoints.resource_manager
    path = f"{scope}/providers/Microsoft.Authorization/permissions"
    try:
        entries = list(access.pages(base, path, **{"api-version": _PERMISSIONS}))
    except HttpResponseError as exc:
        yield Finding("permissions", "unknown", f"those on {scope} could not be checked: {session.error_text(exc)}")
        return
    hint = _WHO.format(subscription, session.PAGE)
    for action in actions:
        if allows(entries, action):
            yield Finding(action, "allowed")
        else:
            yield Finding(action, "missing", f"no role of yours allows it on {scope}", hint)


def _registrations(access: Access, variables: ContainerInstanceVariables) -> Iterator[Finding]:
    from azure.core.exceptions import HttpResponseError

    subscription = variables.subscription_id
    for name in PROVIDERS:
        subject = f"resource provider {name}"
        try:
            answer = access.arm("GET", f"/subscriptions/{subscription}/providers/{name}", _PROVIDERS)
        except HttpResponseError as exc:
            yield Finding(subject, "unknown", f"it could not be checked: {session.error_text(exc)}")
            continue
        if name == PROVIDERS[0]:
            yield from _region(answer, variables)
        state = answer["registrationState"]
        if state in ("Registered", "Registering"):
            yield Finding(subject, "allowed")
        else:
            hint = f"Register it, once for the subscription: az provider register --wait --namespace {name}"
            yield Finding(
                subject, "missing", f"it is {state} in the subscription {subscription}", hint, is_permission=False
            )


def _region(provider: Mapping[str, Any], variables: ContainerInstanceVariables) -> Iterator[Finding]:
    """Say whether containers run in the pool's region, as far as Azure says where they do."""
    if (there := _locations(provider)) and variables.location not in there:
        message = f"Azure Container Instances are not there for the subscription {variables.subscription_id}"
        hint = f"They are in {', '.join(there)}. Choose with --set location=…"
        yield Finding(f"region {variables.location}", "missing", message, hint, is_permission=False)


def _locations(provider: Mapping[str, Any]) -> list[str]:
    """Return the regions of container groups, spelt as `location` is; none where the answer has none."""
    kinds = provider.get("resourceTypes", ())
    names = next((kind.get("locations", ()) for kind in kinds if kind["resourceType"] == "containerGroups"), ())
    return sorted("".join(name.lower().split()) for name in names)


def _directory(access: Access) -> Finding:
    """Say whether the caller may make an application, as far as can be told without trying."""
    from azure.core.exceptions import AzureError

    subject = "registering an application in Microsoft Entra"
    try:
        found = session.claims(access.token(access.endpoints.graph))
        if found.get("idtyp") == "app" or "roles" in found:
            if _GRAPH_ROLES & set(found.get("roles", ())):
                return Finding(subject, "allowed")
            return Finding(subject, "missing", "this program has no permission of that kind", _DIRECTORY_WHO)
        policy = access.graph("GET", "/policies/authorizationPolicy")
    except AzureError as exc:
        return Finding(subject, "unknown", f"it could not be checked: {session.error_text(exc)}")
    if policy.get("defaultUserRolePermissions", {}).get("allowedToCreateApps"):
        return Finding(subject, "allowed")
    return Finding(subject, "unknown", "only people with a role for it may, in this directory", _DIRECTORY_WHO)
