"""What the caller must be allowed, by the resource types of the rendered module; and what the launcher is.

Preflight asks the cluster about exactly these, docs/pool-types/kubernetes.md lists them, and tests compare the
launcher's with the role that the module makes, and with what launching used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from poolform.core.runs.launchers import Json

RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True, order=True)
class Permission:
    """A verb on a kind of objects, as Kubernetes' RBAC has it; `resource` may have a subresource, as in pods/log."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        where = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {where}"


def _on(group: str, resource: str, verbs: str) -> tuple[Permission, ...]:
    return tuple(Permission(group, resource, verb) for verb in verbs.split())


_CHANGES = "create delete get patch"

# What the provider calls: https://github.com/hashicorp/terraform-provider-kubernetes/tree/main/kubernetes
BY_TYPE: Mapping[str, tuple[Permission, ...]] = {
    "kubernetes_limit_range_v1": _on("", "limitranges", _CHANGES),
    "kubernetes_namespace_v1": _on("", "namespaces", _CHANGES),
    "kubernetes_network_policy_v1": _on("networking.k8s.io", "networkpolicies", _CHANGES),
    "kubernetes_resource_quota_v1": _on("", "resourcequotas", _CHANGES),
    "kubernetes_role_binding_v1": _on(RBAC, "rolebindings", _CHANGES),
    "kubernetes_role_v1": _on(RBAC, "roles", _CHANGES),
    "kubernetes_service_account_v1": _on("", "serviceaccounts", _CHANGES),
}

LAUNCHER = (
    *_on("batch", "jobs", "create delete deletecollection get list patch"),
    *_on("", "pods", "list"),
    *_on("", "pods/log", "get"),
    *_on("", "secrets", "create delete deletecollection patch"),
    *_on("", "events", "list"),
)
"""What launching takes. Kubernetes lets nobody hand on what they may not do themselves, so whoever makes the role needs
these, too, or both of `HANDING_ON`."""

HANDING_ON = (*_on(RBAC, "roles", "escalate"), *_on(RBAC, "roles", "bind"))
"""What lets somebody hand on more than they have."""

IMPERSONATE = _on("", "serviceaccounts", "impersonate")
"""What acting as the launcher takes, with credentials=impersonate."""

LISTING = (
    *_on("", "limitranges", "list"),
    *_on("", "namespaces", "list"),
    *_on("networking.k8s.io", "networkpolicies", "list"),
    *_on("", "resourcequotas", "list"),
    *_on(RBAC, "rolebindings", "list"),
    *_on(RBAC, "roles", "list"),
    *_on("", "serviceaccounts", "list"),
)
"""What finding the leftovers of an interrupted apply takes. Not asked about: without it they are only not found."""


def needed(resources: Iterable[str]) -> frozenset[Permission]:
    """Return the permissions for a module with these resource types."""
    return frozenset(permission for kind in resources for permission in BY_TYPE.get(kind, ()))


def rules(permissions: Iterable[Permission]) -> list[dict[str, Json]]:
    """Return RBAC rules that grant these permissions, as a role has them."""
    verbs: dict[tuple[str, str], list[str]] = {}
    for permission in sorted(set(permissions)):
        verbs.setdefault((permission.group, permission.resource), []).append(permission.verb)
    by_verbs: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (group, resource), allowed in verbs.items():
        by_verbs.setdefault((group, tuple(allowed)), []).append(resource)
    return [
        {"apiGroups": [group], "resources": resources, "verbs": list(allowed)}
        for (group, allowed), resources in by_verbs.items()
    ]
