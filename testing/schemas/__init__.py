"""The resource types of public providers that built-in pool types use, ready to be served by the stand-in.

    google = load("google")

The JSON files beside this module are in the shape of `terraform providers schema -json`, without descriptions, and
under the licence of the providers they describe (MPL-2.0, see NOTICE). They were recovered from generated bindings,
which had lost some things: item counts above 1, deprecations, what is sensitive, what is write-only (by the naming rule
of all these providers, what ends in `_wo`), and attributes that are called `description`. The last three are put back
here, from the providers' documentation.
"""

from __future__ import annotations

import json
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from poolform.core.errors import NotFound, nearest
from poolform.testing.standin.schema import Block, Optional, Schema, TypeSchema, parse_schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VERSIONS = {"azuread": "3.10.0", "azurerm": "5.10.0", "google": "8.7.0", "kubernetes": "3.4.0"}
"""The providers that are here, and the versions whose schemas these are."""

_SENSITIVE = (
    "google_client_config.access_token",
    "google_service_account_key.private_key",
    "google_secret_manager_secret_version.secret_data",
    "google_secret_manager_secret_version.secret_data_wo",
    "azurerm_container_registry.admin_password",
    "azurerm_container_group.*container.secure_environment_variables",
    "azurerm_container_group.*container.volume.secret",
    "azurerm_container_group.*container.volume.storage_account_key",
    "azurerm_container_group.diagnostics.log_analytics.workspace_key",
    "azurerm_container_group.image_registry_credential.password",
    "azurerm_key_vault_secret.value",
    "azurerm_key_vault_secret.value_wo",
    "azurerm_storage_account.*_access_key",
    "azurerm_storage_account.*_connection_string",
    "azurerm_log_analytics_workspace.*_shared_key",
    "azuread_application_password.value",
    "azuread_service_principal_password.value",
    "kubernetes_secret_v1.*data",
    "kubernetes_secret_v1.*data_wo",
)

_DESCRIBED = (
    "azuread_application",
    "azuread_application_federated_identity_credential",
    "azuread_application_registration",
    "azuread_service_principal",
    "azurerm_role_assignment",
    "azurerm_role_definition",
    "google_artifact_registry_repository",
    "google_compute_network",
    "google_compute_subnetwork",
    "google_iam_workload_identity_pool",
    "google_iam_workload_identity_pool_provider",
    "google_logging_project_bucket_config",
    "google_project_iam_custom_role",
    "google_service_account",
    "google_*_iam_member.condition",
)


@cache
def load(name: str) -> Schema:
    """Return the schema of a provider, such as "google". Raises NotFound for one that is not here."""
    if name not in VERSIONS:
        raise NotFound(f"The test kit has no schema of provider {name!r}.", hint=nearest(name, VERSIONS))
    version = VERSIONS[name]
    text = files(__name__).joinpath(f"{name}-{version}.json").read_text(encoding="utf-8")
    schema = parse_schema(json.loads(text), version=version)
    return replace(schema, resources=_restore(schema.resources), data_sources=_restore(schema.data_sources))


def _restore(types: Mapping[str, TypeSchema]) -> dict[str, TypeSchema]:
    return {name: replace(item, block=_restored(item.block, (name,))) for name, item in types.items()}


def _restored(block: Block, path: tuple[str, ...]) -> Block:
    attributes = {
        name: replace(item, sensitive=_listed(_SENSITIVE, (*path, name)), write_only=name.endswith("_wo"))
        for name, item in block.attributes.items()
    }
    if _listed(_DESCRIBED, path):
        attributes["description"] = Optional("string")
    blocks = {name: replace(item, block=_restored(item.block, (*path, name))) for name, item in block.blocks.items()}
    return Block(attributes, blocks)


def _listed(patterns: Sequence[str], path: Sequence[str]) -> bool:
    """Say whether a pattern fits, part by part."""
    split = (pattern.split(".") for pattern in patterns)
    return any(len(parts) == len(path) and all(map(fnmatchcase, path, parts)) for parts in split)
