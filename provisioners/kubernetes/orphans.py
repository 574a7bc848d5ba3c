"""What an interrupted apply made and its state never heard of, found by the pool's id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolform.core.pools.contract import Orphan
from poolform.provisioners.kubernetes import session
from poolform.provisioners.kubernetes.session import ApiError, Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolform.provisioners.kubernetes.variables import KubernetesVariables

LABEL = "poolform-pool-id"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
# Where the API lists each kind of thing in a namespace, and the parts of which the module makes one.
_KINDS = {
    "kubernetes_limit_range_v1": ("/api/v1", "limitranges", ("jobs",)),
    "kubernetes_network_policy_v1": ("/apis/networking.k8s.io/v1", "networkpolicies", ("jobs",)),
    "kubernetes_resource_quota_v1": ("/api/v1", "resourcequotas", ("jobs",)),
    "kubernetes_role_binding_v1": (_RBAC, "rolebindings", ("launcher",)),
    "kubernetes_role_v1": (_RBAC, "roles", ("launcher",)),
    "kubernetes_service_account_v1": ("/api/v1", "serviceaccounts", ("jobs", "launcher")),
}


def find(variables: KubernetesVariables, pool_id: str) -> Iterator[Orphan]:
    """Yield every object that bears the pool's id, as the address in the module that it belongs to.

    What the caller may not list is passed over: Terraform then says that it exists.
    """
    cluster = Cluster.of_caller(variables)
    with session.sentences("Looking for what an interrupted run left"):
        namespaces = [variables.namespace] if variables.namespace else []
        if variables.namespace is None:
            for name in _names(cluster, "/api/v1/namespaces", pool_id):
                namespaces.append(name)
                yield Orphan("kubernetes_namespace_v1.this", name)
        for namespace in namespaces:
            for kind, (api, plural, parts) in _KINDS.items():
                if not _wanted(kind, variables):
                    continue
                for name in _names(cluster, f"{api}/namespaces/{namespace}/{plural}", pool_id):
                    for part in parts:
                        if name.endswith(f"-{part}-{pool_id}"):
                            yield Orphan(f"{kind}.{part}", f"{namespace}/{name}")


def _wanted(kind: str, variables: KubernetesVariables) -> bool:
    """Say whether the module has a place for this."""
    if kind == "kubernetes_limit_range_v1":
        return bool(variables.default_requests or variables.default_limits or variables.max_limits)
    if kind == "kubernetes_resource_quota_v1":
        return bool(variables.quota)
    return kind != "kubernetes_network_policy_v1" or variables.network == "egress-only"


def _names(cluster: Cluster, path: str, pool_id: str) -> list[str]:
    """Return the names of what bears the id, and look again: what is adopted may be destroyed one day."""
    try:
        found = list(cluster.items(path, labelSelector=f"{LABEL}={pool_id}"))
    except ApiError as exc:
        if exc.status not in (403, 404):
            raise
        return []
    return [item["metadata"]["name"] for item in found if _is_ours(item["metadata"], pool_id)]


def _is_ours(metadata: dict[str, Any], pool_id: str) -> bool:
    borne = (metadata.get("labels") or {}).get(LABEL) == pool_id
    return borne and metadata["name"].endswith(f"-{pool_id}") and "deletionTimestamp" not in metadata
