"""Who the caller is to the cluster, and whether it may do what a module needs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from poolform.core.pools.contract import Finding, Identity
from poolform.provisioners.kubernetes import session
from poolform.provisioners.kubernetes.permissions import HANDING_ON, LAUNCHER
from poolform.provisioners.kubernetes.session import ApiError, Cluster, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from poolform.provisioners.kubernetes.permissions import Permission
    from poolform.provisioners.kubernetes.variables import KubernetesVariables

_WHO = "Whoever administers the cluster can grant it; docs/pool-types/kubernetes.md has the whole role."
_AT_ONCE = 8
SSAR = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def identify(variables: KubernetesVariables) -> Identity:
    """Return who the context is to the cluster. The account is the cluster: the uid of its namespace kube-system.

    Kubernetes has no name for a cluster, and this uid stays what it is for as long as the cluster does. Who may not
    read it goes without. Raises PoolformError when the cluster does not accept the caller.
    """
    cluster = Cluster.of_caller(variables)
    with session.sentences("Asking the cluster who you are"):
        return Identity(principal=f"{_user(cluster)} at {cluster.host}", account=_uid(cluster))


def check(variables: KubernetesVariables, permissions: Iterable[Permission]) -> list[Finding]:
    """Return what the cluster says of each permission. Raises PoolformError when it does not accept the caller."""
    cluster = Cluster.of_caller(variables)
    wanted = sorted(set(permissions))
    with session.sentences("Asking the cluster what you may do"):
        handing_on = _all(cluster, variables.namespace, HANDING_ON)
        if any(finding.verdict != "allowed" for finding in handing_on):
            wanted = sorted({*wanted, *LAUNCHER})
        return _all(cluster, variables.namespace, wanted)


def may(cluster: Cluster, namespace: str | None, permission: Permission) -> Finding:
    """Ask about one permission, in a namespace or (None) in all of them. Raises ApiError for 401, Unreachable.

    https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/self-subject-access-review-v1/
    """
    resource, _, subresource = permission.resource.partition("/")
    asked = {"group": permission.group, "resource": resource, "verb": permission.verb}
    if subresource:
        asked["subresource"] = subresource
    if namespace is not None and resource != "namespaces":
        asked["namespace"] = namespace
    where = f"in the namespace {namespace}" if "namespace" in asked else "in the cluster"
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked},
    }
    try:
        status = cluster.post(SSAR, body)["status"]
    except ApiError as exc:
        if exc.status == 401:
            raise
        return Finding(str(permission), "unknown", f"it could not be checked: {exc}")
    if status.get("allowed"):
        return Finding(str(permission), "allowed")
    if status.get("evaluationError"):
        return Finding(str(permission), "unknown", f"{where}: {status['evaluationError']}")
    why = status.get("reason") or ("a rule denies it" if status.get("denied") else "no role allows it")
    return Finding(str(permission), "missing", f"{why} {where}", _WHO)


def _all(cluster: Cluster, namespace: str | None, permissions: Sequence[Permission]) -> list[Finding]:
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return list(threads.map(lambda permission: may(cluster, namespace, permission), permissions))


def _user(cluster: Cluster) -> str:
    """Return the user's name, as the cluster has it; clusters older than 1.28 don't tell."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        answer = cluster.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", body)
    except ApiError as exc:
        if exc.status not in (403, 404):
            raise
        return "somebody"
    return str(answer["status"]["userInfo"].get("username") or "somebody")


def _uid(cluster: Cluster) -> str | None:
    try:
        return str(cluster.get("/api/v1/namespaces/kube-system")["metadata"]["uid"])
    except ApiError as exc:
        if exc.status not in (403, 404):
            raise
        return None
    except Unreachable:
        return None
