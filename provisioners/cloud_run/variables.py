"""What a person may say about a Cloud Run pool before it is provisioned, and what Terraform gives back."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from poolform.core.pools.contract import Outputs, Variables

CredentialKind = Literal["impersonate", "key", "ambient"]
Egress = Literal["private-ranges-only", "all-traffic"]


def _range(text: str) -> str:
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as exc:
        raise ValueError(f"{text!r} is not an IPv4 network in CIDR notation, such as 10.8.0.0/28") from exc
    # https://cloud.google.com/vpc/docs/configure-serverless-vpc-access
    if network.prefixlen != 28:
        raise ValueError(f"{text} must be a /28: a connector takes exactly that")
    return str(network)


def _own_labels(labels: dict[str, str]) -> dict[str, str]:
    # https://cloud.google.com/run/docs/configuring/labels and those of the other services, which agree
    for key, value in labels.items():
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) or not re.fullmatch(r"[a-z0-9_-]{0,63}", value):
            raise ValueError(f"{key}={value}: labels have lower-case letters, digits, _ and -, and at most 63 of them")
    taken = sorted(key for key in labels if key.startswith(("goog", "poolform-")))
    if taken:
        raise ValueError(f"{', '.join(taken)}: labels that start with goog or poolform- are reserved")
    return labels


# https://cloud.google.com/resource-manager/docs/creating-managing-projects#before_you_begin; old ones have a domain.
Project = Annotated[str, StringConstraints(pattern=r"^([a-z0-9.-]{1,100}:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$")]
Region = Annotated[str, StringConstraints(pattern=r"^[a-z]+-[a-z]+[0-9]{1,2}$")]
# https://cloud.google.com/iam/docs/principal-identifiers
Principal = Annotated[
    str,
    StringConstraints(
        pattern=r"^((user|group|serviceAccount):[^\s@:]+@[^\s@:]+|domain:[a-z0-9.-]+|principal(Set)?://iam[.]googleapis[.]com/\S+)$"
    ),
]
Role = Annotated[
    str, StringConstraints(pattern=r"^(roles/[A-Za-z0-9_.]+|(projects|organizations)/[^/\s]+/roles/[A-Za-z0-9_.]+)$")
]
Range = Annotated[str, AfterValidator(_range)]
Labels = Annotated[dict[str, str], AfterValidator(_own_labels)]
_NAME = r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
Network = Annotated[str, StringConstraints(pattern=rf"^(projects/[^/\s]+/global/networks/)?{_NAME}$")]
Subnet = Annotated[str, StringConstraints(pattern=rf"^(projects/[^/\s]+/regions/[^/\s]+/subnetworks/)?{_NAME}$")]
Connector = Annotated[str, StringConstraints(pattern=rf"^(projects/[^/\s]+/locations/[^/\s]+/connectors/)?{_NAME}$")]


class CloudRunVariables(Variables):
    """The inputs of the Cloud Run module. Existing things are used only where they are named here, never changed."""

    project: Project = Field(description="Id of the Google Cloud project that the pool lives in.")
    region: Region = Field(
        "us-central1", description="Region that jobs run in, and images are kept in, such as europe-west1."
    )
    credentials: CredentialKind = Field(
        "impersonate",
        description="How jobs are launched: impersonate (act as a service account made for this), key (a key of that "
        "account), or ambient (whatever Google credentials the dispatcher has).",
    )
    impersonators: list[Principal] = Field(
        default_factory=list,
        description="Who may act as the launcher's service account, such as user:NAME@DOMAIN; whoever provisions the "
        "pool, where none is named.",
    )
    runtime_roles: list[Role] = Field(
        default_factory=list, description="Roles on the project that running flows have, such as roles/bigquery.user."
    )

    network: Network | None = Field(None, description="An existing VPC network that jobs, or a new connector, use.")
    subnet: Subnet | None = Field(
        None, description="An existing subnet of it that jobs get addresses in (direct VPC egress)."
    )
    vpc_connector: Connector | None = Field(None, description="An existing VPC connector that jobs reach a VPC by.")
    connector_range: Range | None = Field(
        None, description="Free /28 range of the network, for a VPC connector of the pool's own (costs by the hour)."
    )
    vpc_egress: Egress = Field(
        "private-ranges-only", description="What of a job's traffic goes by the VPC, where there is one."
    )

    code_bucket: bool = Field(
        default=False, description="Make a bucket for code, which jobs may read: deploy --upload gs://…"
    )
    labels: Labels = Field(default_factory=dict, description="Labels put on everything that the pool makes.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.impersonators and self.credentials != "impersonate":
            raise ValueError("impersonators is only used with credentials=impersonate")
        if self.vpc_connector is not None and (self.connector_range or self.network or self.subnet):
            raise ValueError(
                "vpc_connector names an existing connector, so network, subnet and connector_range do not go with it"
            )
        if self.connector_range is not None and self.network is None:
            raise ValueError("connector_range is for a connector in an existing network, so network must name it")
        if self.connector_range is not None and self.subnet is not None:
            raise ValueError(
                "jobs reach a network by a connector or by a subnet: connector_range and subnet exclude each other"
            )
        if self.network is not None and self.subnet is None and self.connector_range is None:
            raise ValueError(
                "network names an existing network, so subnet or connector_range must say how jobs reach it"
            )
        if self.subnet is not None and self.network is None:
            raise ValueError("subnet belongs to an existing network, so network must name it")
        return self


class CloudRunOutputs(Outputs):
    """What the Cloud Run module gives back; the connection uses every one of them."""

    prefix: str
    """What the names of jobs and job secrets of this pool begin with; ends in the pool's id."""
    repository_url: str
    runtime_email: str
    launcher_email: str | None = None
    """The service account to act as; None with ambient credentials."""
    vpc_connector: str | None = None
    code_bucket: str | None = None
