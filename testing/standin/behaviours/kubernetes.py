"""hashicorp/kubernetes: every object is named by its metadata, namespace and name.

Defaults, ForceNew and validators: https://github.com/hashicorp/terraform-provider-kubernetes/tree/main/kubernetes
(schema_metadata.go, validators.go, resource_kubernetes_*_v1.go).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from poolform.testing.standin.behaviour import Behaviour, Resource, Validator

if TYPE_CHECKING:
    from collections.abc import Mapping

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


# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_KEY = re.compile(r"([a-z0-9][-a-z0-9.]{0,252}/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?", re.ASCII)
_VALUE = re.compile(r"([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?", re.ASCII)
_QUANTITY = re.compile(r"[+-]?(\d+|\d+\.\d*|\.\d+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?")


def _known(value: Any) -> bool:
    return isinstance(value, str)


def _good_labels(labels: Any) -> bool:
    known = ((key, value) for key, value in labels.items() if _known(value))
    return all(_KEY.fullmatch(key) and _VALUE.fullmatch(value) for key, value in known)


def _good_quantities(quantities: Any) -> bool:
    return all(_QUANTITY.fullmatch(value) for value in quantities.values() if _known(value))


_LABELS = Validator(_good_labels, "metadata.0.labels: {} has a key or a value that Kubernetes takes for no label")
_NAME = Validator(_SUBDOMAIN.fullmatch, "metadata.0.name: {!r} must be a lowercase RFC 1123 subdomain")
_OF_RBAC = Validator(
    lambda name: name not in (".", "..") and not {"/", "%"} & set(name), "metadata.0.name: {!r} may not contain / or %"
)


def _object(
    *fixed: str, name: Validator = _NAME, validators: Mapping[str, Validator] | None = None, **more: Any
) -> Resource:
    return Resource(
        more.pop("computed", _namespaced),
        force_new=("metadata.0.name", "metadata.0.namespace", *fixed),
        touched=(),
        conflict=_CONFLICT,
        requires=_needs_namespace,
        validators={"metadata.0.name": name, "metadata.0.labels": _LABELS, **(validators or {})},
        **more,
    )


def _service_account(given: Attributes, objects: Objects) -> Attributes:
    """Since Kubernetes 1.24 no secret is made for a service account."""
    return {**_namespaced(given, objects), "default_secret_name": ""}


BEHAVIOUR = Behaviour(
    resources={
        "kubernetes_namespace_v1": Resource(
            lambda given, _objects: {"id": given["metadata"][0]["name"]},
            force_new=("metadata.0.name",),
            conflict=_CONFLICT,
            defaults={"wait_for_default_service_account": False},
            validators={
                "metadata.0.name": Validator(_LABEL.fullmatch, "metadata.0.name: {!r} must be an RFC 1123 label"),
                "metadata.0.labels": _LABELS,
            },
        ),
        "kubernetes_config_map_v1": _object(),
        "kubernetes_limit_range_v1": _object(),
        "kubernetes_network_policy_v1": _object(),
        "kubernetes_resource_quota_v1": _object(
            "spec.0.scopes",
            validators={"spec.0.hard": Validator(_good_quantities, "spec.0.hard: {} has what is no quantity")},
        ),
        "kubernetes_role_v1": _object(name=_OF_RBAC),
        "kubernetes_role_binding_v1": _object("role_ref", name=_OF_RBAC),
        "kubernetes_secret_v1": _object("type"),
        "kubernetes_service_account_v1": _object(
            computed=_service_account, defaults={"automount_service_account_token": True}
        ),
    },
)
