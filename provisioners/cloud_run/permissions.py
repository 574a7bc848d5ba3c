"""What the caller must be allowed, by the resource types of the rendered module.

Preflight asks Google about exactly these, and docs/pool-types/cloud-run.md lists them. They are what the methods that
Terraform's provider calls for each resource require:
https://cloud.google.com/iam/docs/permissions-reference
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def _on(service: str, actions: str) -> tuple[str, ...]:
    return tuple(f"{service}.{action}" for action in actions.split())


BY_TYPE: Mapping[str, tuple[str, ...]] = {
    "google_artifact_registry_repository": _on("artifactregistry.repositories", "create delete get list update"),
    "google_artifact_registry_repository_iam_member": _on("artifactregistry.repositories", "getIamPolicy setIamPolicy"),
    "google_project_iam_custom_role": _on("iam.roles", "create delete get undelete update"),
    "google_project_iam_member": _on("resourcemanager.projects", "get getIamPolicy setIamPolicy"),
    "google_project_service": _on("serviceusage.services", "enable get list"),
    "google_service_account": _on("iam.serviceAccounts", "create delete get update"),
    "google_service_account_iam_member": _on("iam.serviceAccounts", "getIamPolicy setIamPolicy"),
    "google_storage_bucket": (
        *_on("storage.buckets", "create delete get update"),
        *_on("storage.objects", "delete list"),
    ),
    "google_storage_bucket_iam_member": _on("storage.buckets", "getIamPolicy setIamPolicy"),
    "google_vpc_access_connector": (
        *_on("vpcaccess.connectors", "create delete get update"),
        *_on("vpcaccess.operations", "get"),
    ),
}

KEYS = _on("iam.serviceAccountKeys", "create delete get list")
"""What minting, rotating and revoking the launcher's key takes, outside Terraform."""


def needed(resources: Iterable[str]) -> frozenset[str]:
    """Return the permissions for a module with these resource types."""
    return frozenset(permission for kind in resources for permission in BY_TYPE.get(kind, ()))


def everything() -> frozenset[str]:
    """Return what every kind of pool together may need."""
    return frozenset((*needed(BY_TYPE), *KEYS))
