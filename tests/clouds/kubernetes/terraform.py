"""What Terraform's stand-in provider made, as the API shows it: the two are one cluster."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolform.testing.standin import Cloud

TYPES = {
    "limitranges": "kubernetes_limit_range_v1",
    "namespaces": "kubernetes_namespace_v1",
    "networkpolicies": "kubernetes_network_policy_v1",
    "resourcequotas": "kubernetes_resource_quota_v1",
    "rolebindings": "kubernetes_role_binding_v1",
    "roles": "kubernetes_role_v1",
    "serviceaccounts": "kubernetes_service_account_v1",
}
_BUILT_IN = {"default": "0d9c2b60-0000-4000-8000-00000000de0f", "kube-system": "5eed0000-0000-4000-8000-0000c1057e50"}


class Made:
    """The objects of all clouds that are attached. Thread-safe."""

    def __init__(self) -> None:
        self._clouds: list[Cloud] = []
        self._lock = threading.Lock()

    @contextmanager
    def attached(self, cloud: Cloud) -> Iterator[None]:
        with self._lock:
            self._clouds.append(cloud)
        try:
            yield
        finally:
            with self._lock:
                self._clouds.remove(cloud)

    def namespaces(self) -> set[str]:
        return {item["metadata"]["name"] for item in self.objects("namespaces")}

    def objects(self, resource: str, namespace: str | None = None) -> list[dict[str, Any]]:
        """All of one kind, as the API has them, of one namespace or of all."""
        found = [_converted(resource, item) for cloud in list(self._clouds) for item in _of(cloud, TYPES[resource])]
        if resource == "namespaces":
            found += [{"metadata": {"name": name, "uid": uid}} for name, uid in _BUILT_IN.items()]
        return [item for item in found if namespace in (None, item["metadata"].get("namespace"))]


def _of(cloud: Cloud, kind: str) -> list[dict[str, Any]]:
    with cloud.transaction() as world:
        return list(world.objects.get(kind, {}).values())


def _converted(resource: str, item: dict[str, Any]) -> dict[str, Any]:
    metadata = item["metadata"][0]
    shown: dict[str, Any] = {
        "metadata": {
            key: metadata[key] for key in ("name", "namespace", "labels", "annotations", "uid") if metadata.get(key)
        }
    }
    if resource == "roles":
        shown["rules"] = [
            {"apiGroups": rule["api_groups"], "resources": rule["resources"], "verbs": rule["verbs"],
             "resourceNames": rule.get("resource_names") or []}
            for rule in item["rule"]
        ]  # fmt: skip
    elif resource == "rolebindings":
        shown["roleRef"] = {"kind": item["role_ref"][0]["kind"], "name": item["role_ref"][0]["name"]}
        shown["subjects"] = item["subject"]
    elif resource == "resourcequotas":
        shown["spec"] = {"hard": item["spec"][0]["hard"] or {}}
    return shown
