"""hashicorp/kubernetes: every object is named by its metadata, namespace and name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolform.testing.standin.behaviour import Behaviour, Resource

if TYPE_CHECKING:
    from poolform.testing.standin.cloud import Objects
    from poolform.testing.standin.values import Attributes

_CONFLICT = '{type} "{id}" already exists'


def _namespaced(given: Attributes, _objects: Objects) -> Attributes:
    metadata = given["metadata"][0]
    return {"id": f"{metadata['namespace'] or 'default'}/{metadata['name']}"}


def _needs_namespace(new: Attributes, objects: Objects) -> str | None:
    namespace = new["metadata"][0]["namespace"] or "default"
    if namespace == "default" or namespace in objects.get("kubernetes_namespace_v1", {}):
        return None
    return f'namespaces "{namespace}" not found'


def _object(*fixed: str) -> Resource:
    return Resource(
        _namespaced,
        force_new=("metadata.0.name", "metadata.0.namespace", *fixed),
        touched=(),
        conflict=_CONFLICT,
        requires=_needs_namespace,
    )


BEHAVIOUR = Behaviour(
    resources={
        "kubernetes_namespace_v1": Resource(
            lambda given, _objects: {"id": given["metadata"][0]["name"]},
            force_new=("metadata.0.name",),
            conflict=_CONFLICT,
        ),
        "kubernetes_config_map_v1": _object(),
        "kubernetes_limit_range_v1": _object(),
        "kubernetes_network_policy_v1": _object(),
        "kubernetes_resource_quota_v1": _object(),
        "kubernetes_role_v1": _object(),
        "kubernetes_role_binding_v1": _object("role_ref"),
        "kubernetes_secret_v1": _object("type"),
        "kubernetes_service_account_v1": _object(),
    },
)
