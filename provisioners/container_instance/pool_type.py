"""The pool types on Azure Container Instances: what they are made of, who may make them, how secrets come and go."""

from __future__ import annotations

import configparser
import json
import os
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from poolform.core.pools.contract import Connection, PoolType, Provider
from poolform.provisioners.container_instance import cleanup, identity, keys, orphans, registry, session
from poolform.provisioners.container_instance.job_variables import JOB_CONFIGURATION, ContainerInstanceJobVariables
from poolform.provisioners.container_instance.launcher import ContainerInstanceLauncher
from poolform.provisioners.container_instance.variables import ContainerInstanceOutputs, ContainerInstanceVariables

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from poolform.core.pools.contract import Credential, Finding, Identity, Orphan
    from poolform.core.runs.docker import RegistryLogin
    from poolform.core.runs.launchers import Json, Launcher

# In the order in which a plan is told.
NOUNS: Mapping[str, str] = {
    "azurerm_resource_group": "a resource group named {name}",
    "azurerm_container_registry": "a container registry named {name}",
    "azurerm_user_assigned_identity": "an identity {name}, to pull images with",
    "azurerm_role_assignment.pull": "grant the role AcrPull on the registry to that identity",
    "azuread_application_registration": "an application registration {display_name}, to launch jobs as",
    "azuread_service_principal": "a service principal for that application",
    "azurerm_role_definition": "a role {name}: launching jobs of this pool, and nothing else",
    "azurerm_role_assignment": "grant that role to whoever launches jobs",
}


class ContainerInstancePush(PoolType):
    """Container groups that get all they need in their environment, so that nothing has to listen."""

    slug = "azure-container-instance:push"
    title = "Azure Container Instances, push"
    description = "Container groups launched from anywhere; jobs need no route back."
    variables = ContainerInstanceVariables
    outputs = ContainerInstanceOutputs
    job_variables = ContainerInstanceJobVariables
    job_configuration = JOB_CONFIGURATION
    providers: ClassVar[Mapping[str, Provider]] = {
        "azuread": Provider("hashicorp/azuread", "~> 3.10"),
        "azurerm": Provider("hashicorp/azurerm", "~> 5.10"),
    }
    extra = "poolform[azure]"
    templates = files("poolform.templates") / "container_instance"
    nouns = NOUNS
    # Azure says of role assignments that they take up to ten minutes to be known.
    # https://learn.microsoft.com/azure/role-based-access-control/troubleshooting#symptom---role-assignment-changes-are-not-being-detected
    patience = timedelta(minutes=10)

    def discover(self) -> Mapping[str, Json]:
        """Return the subscription and the region that Azure's own tools would use."""
        subscription = os.environ.get("ARM_SUBSCRIPTION_ID") or os.environ.get("AZURE_SUBSCRIPTION_ID")
        found = {
            "subscription_id": subscription or _default_subscription(),
            "location": os.environ.get("AZURE_DEFAULTS_LOCATION") or _default_location(),
            "environment": os.environ.get("ARM_ENVIRONMENT"),
        }
        return {name: value.lower() for name, value in found.items() if value}

    def suggestions(self, variable: str) -> Sequence[str]:
        """List the subscriptions that the environment's Azure login sees, or the regions that have container groups."""
        return identity.suggest(variable, self.discover())

    def identity(self, variables: ContainerInstanceVariables) -> Identity:
        """Return who the environment's Azure login belongs to."""
        return identity.identify(variables)

    def preflight(self, variables: ContainerInstanceVariables, resources: Sequence[str]) -> Iterable[Finding]:
        """Ask Azure about each permission that these resource types need, and about its resource providers."""
        return identity.check(variables, resources)

    def connect(self, variables: ContainerInstanceVariables, outputs: ContainerInstanceOutputs) -> Connection:
        """Say where and as whom jobs run, and where their images are."""
        return Connection(
            settings={
                "subscription_id": variables.subscription_id,
                "location": variables.location,
                "environment": variables.environment,
                "credentials": variables.credentials,
                "log_analytics_workspace_id": variables.log_analytics_workspace_id,
                "tags": {**variables.tags, "poolform-pool-id": outputs.pool_id},
                **outputs.model_dump(),
            },
            job_defaults={
                "identities": list(variables.job_identity_ids),
                "subnet_ids": [variables.subnet_id] if variables.subnet_id else [],
            },
            image_namespace=outputs.registry_login_server,
        )

    def launcher(self, connection: Connection, credential: Credential | None) -> Launcher:
        """Return a launcher that acts as the pool's launcher, or as whoever dispatches."""
        access = session.Access.of_launcher(connection.settings, credential)
        return ContainerInstanceLauncher(access, connection.settings)

    def wants_key(self, variables: ContainerInstanceVariables) -> bool:
        """Say whether the pool is to have a client secret."""
        return variables.credentials == "key"

    def issued(self, variables: ContainerInstanceVariables, connection: Connection) -> Sequence[str]:
        """Return the ids of the secrets of the launcher's application."""
        return keys.issued(connection)

    def mint(self, variables: ContainerInstanceVariables, connection: Connection) -> Credential:
        """Make a secret of the launcher's application."""
        return keys.mint(connection)

    def revoke(self, variables: ContainerInstanceVariables, connection: Connection, key_id: str) -> None:
        """Delete a secret of the launcher's application."""
        keys.revoke(connection, key_id)

    def authenticate(self, connection: Connection, credential: Credential | None) -> Finding:
        """List the pool's container groups as its launcher."""
        return keys.authenticate(connection, credential)

    def image_reference(self, connection: Connection, name: str, tag: str) -> str:
        """Return an image's name in the pool's registry."""
        return registry.reference(connection, name, tag)

    def registry_login(self, connection: Connection) -> RegistryLogin:
        """Return a login for the pool's registry, as whoever deploys."""
        return registry.login(connection)

    def disconnect(self, connection: Connection, credential: Credential | None) -> None:
        """Delete the pool's container groups."""
        cleanup.disconnect(connection, credential)

    def orphans(self, variables: ContainerInstanceVariables, pool_id: str, known: Sequence[str]) -> Iterable[Orphan]:
        """Find what an interrupted apply made and the state missed."""
        return [orphan for orphan in orphans.find(variables, pool_id) if orphan.address not in known]


class ContainerInstance(ContainerInstancePush):
    """The same infrastructure, for people who keep a worker near it."""

    slug = "azure-container-instance"
    title = "Azure Container Instances"
    description = "Container groups launched by a worker that runs near the pool."


def _folder() -> Path:
    return Path(os.environ.get("AZURE_CONFIG_DIR") or "~/.azure").expanduser()


def _default_subscription() -> str | None:
    """Return the subscription that `az` is set to, read without asking it."""
    try:
        profile = json.loads((_folder() / "azureProfile.json").read_text(encoding="utf-8-sig"))
        return next((str(item["id"]) for item in profile["subscriptions"] if item.get("isDefault")), None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _default_location() -> str | None:
    parser = configparser.ConfigParser()
    try:
        parser.read(_folder() / "config", encoding="utf-8")
        return parser.get("defaults", "location", fallback=None)
    except (configparser.Error, OSError, UnicodeDecodeError):
        return None
