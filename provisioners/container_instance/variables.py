"""What a person may say about a pool on Azure before it is provisioned, and what Terraform gives back."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from poolform.core.pools.contract import Outputs, Variables

CredentialKind = Literal["ambient", "key"]
Environment = Literal["public", "usgovernment", "china"]

# https://learn.microsoft.com/azure/azure-resource-manager/management/tag-resources#limitations
_NOT_IN_TAG_NAMES = re.compile(r"[<>%&\\?/]")
_RESERVED = ("azure", "microsoft", "windows", "poolform-")
_OWN_TAGS = 2
_GROUP = r"^/subscriptions/[0-9a-f-]{36}/resourceGroups/[\w.()-]{1,90}/providers"


def _tags(tags: dict[str, str]) -> dict[str, str]:
    taken = sorted(name for name in tags if name.lower().startswith(_RESERVED))
    if taken:
        raise ValueError(f"{', '.join(taken)}: tags that start with {', '.join(_RESERVED)} are reserved")
    wrong = sorted(name for name in tags if not name or len(name) > 512 or _NOT_IN_TAG_NAMES.search(name))
    if wrong:
        raise ValueError(f"{', '.join(map(repr, wrong))}: names of tags have 1 to 512 characters, no < > % & \\ ? /")
    long = sorted(name for name, value in tags.items() if len(value) > 256)
    if long:
        raise ValueError(f"{', '.join(long)}: a tag's value has at most 256 characters")
    if len({name.lower() for name in tags}) < len(tags):
        raise ValueError("Azure does not tell the names of tags apart by their case")
    if len(tags) + _OWN_TAGS > 50:
        raise ValueError(f"Azure takes 50 tags, and {_OWN_TAGS} are the pool's own")
    return tags


def _id(kind: str) -> StringConstraints:
    return StringConstraints(pattern=rf"{_GROUP}/{re.escape(kind)}/[\w.-]+$")


Guid = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Location = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{2,49}$")]
GroupName = Annotated[str, StringConstraints(pattern=r"^[\w.()-]{0,89}[\w()-]$")]
SubnetId = Annotated[
    str, StringConstraints(pattern=rf"{_GROUP}/Microsoft\.Network/virtualNetworks/[\w.-]+/subnets/[\w.-]+$")
]
IdentityId = Annotated[str, _id("Microsoft.ManagedIdentity/userAssignedIdentities")]
WorkspaceId = Annotated[str, _id("Microsoft.OperationalInsights/workspaces")]
Tags = Annotated[dict[str, str], AfterValidator(_tags)]


class ContainerInstanceVariables(Variables):
    """The inputs of the module. Existing things are used only where they are named here, and never changed."""

    subscription_id: Guid = Field(description="Azure subscription that the pool is in.")
    location: Location = Field(description="Azure region that the pool runs in, such as westeurope.")
    environment: Environment = Field("public", description="Which Azure: public, usgovernment or china.")
    credentials: CredentialKind = Field(
        "ambient",
        description="How jobs are launched: ambient (whatever Azure login the dispatcher has), or key (a service "
        "principal made for this, with a client secret).",
    )
    launcher_principal_ids: list[Guid] = Field(
        default_factory=list,
        description="Object ids of users, groups, service principals or managed identities that may launch jobs here, "
        "with credentials=ambient; each is given the launcher's role.",
    )
    resource_group_name: GroupName | None = Field(
        None, description="An existing resource group to use; the pool makes its own where none is named."
    )
    registry_sku: Literal["Basic", "Standard", "Premium"] = Field(
        "Basic", description="Size of the container registry, which Azure charges for by the day."
    )
    subnet_id: SubnetId | None = Field(
        None,
        description="An existing subnet to run jobs in, delegated to Microsoft.ContainerInstance/containerGroups; "
        "without one, jobs reach the internet and nothing reaches them.",
    )
    job_identity_ids: list[IdentityId] = Field(
        default_factory=list, description="Existing user-assigned identities that running flows have in Azure."
    )
    log_analytics_workspace_id: WorkspaceId | None = Field(
        None, description="An existing Log Analytics workspace that keeps the output of jobs, too."
    )
    tags: Tags = Field(default_factory=dict, description="Tags put on everything that the pool makes.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.launcher_principal_ids and self.credentials != "ambient":
            raise ValueError("launcher_principal_ids is only used with credentials=ambient")
        for name in ("launcher_principal_ids", "job_identity_ids"):
            values = getattr(self, name)
            if len({value.lower() for value in values}) < len(values):
                raise ValueError(f"{name} names one thing twice")
        return self


class ContainerInstanceOutputs(Outputs):
    """What the module gives back; the connection uses every one of them."""

    tenant_id: str
    resource_group_name: str
    registry_login_server: str
    pull_identity_id: str
    """The identity that pulls images from the pool's registry."""
    client_id: str | None = None
    """The launcher's application; None with ambient credentials."""
    application_object_id: str | None = None
    """The same, as Microsoft Graph names it: where its secrets are made."""
    pool_id: str
    """What the names of this pool's container groups begin with."""
