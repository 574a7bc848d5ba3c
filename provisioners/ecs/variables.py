"""What a person may say about an ECS pool before it is provisioned, and what Terraform gives back."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from poolform.core.pools.contract import Outputs, Variables

CredentialKind = Literal["role", "key", "ambient"]

# CloudWatch Logs takes these numbers of days and no others; 0 keeps events for ever.
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
Retention = Literal[
    0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653
]


def _network(text: str) -> str:
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as exc:
        raise ValueError(f"{text!r} is not an IPv4 network in CIDR notation, such as 10.42.0.0/16") from exc
    # A VPC is /16 to /28, and sixteen subnets of it must be /28 or larger.
    if not 16 <= network.prefixlen <= 24:
        raise ValueError(f"{text} must be between /16 and /24, so that sixteen subnets fit into it")
    return str(network)


def _own_tags(tags: dict[str, str]) -> dict[str, str]:
    taken = sorted(key for key in tags if key.lower().startswith(("aws:", "poolform-")))
    if taken:
        raise ValueError(f"{', '.join(taken)}: tags that start with aws: or poolform- are reserved")
    return tags


def _arn(service: str, resource: str) -> StringConstraints:
    return StringConstraints(pattern=rf"^arn:aws[a-z-]*:{service}:[a-z0-9-]*:(\d{{12}}|aws)?:{resource}$")


Region = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d+$")]
Cidr = Annotated[str, AfterValidator(_network)]
Tags = Annotated[dict[str, str], AfterValidator(_own_tags)]
Principal = Annotated[str, _arn("(iam|sts)", "(root|(user|role|assumed-role)/.+)")]
PolicyArn = Annotated[str, _arn("iam", "policy/.+")]
KeyArn = Annotated[str, _arn("kms", "key/.+")]
RepositoryArn = Annotated[str, _arn("ecr", "repository/.+")]
SecretArn = Annotated[str, _arn("(secretsmanager|ssm)", "(secret:|parameter/).+")]
VpcId = Annotated[str, StringConstraints(pattern=r"^vpc-[0-9a-f]{8,17}$")]
SubnetId = Annotated[str, StringConstraints(pattern=r"^subnet-[0-9a-f]{8,17}$")]
SecurityGroupId = Annotated[str, StringConstraints(pattern=r"^sg-[0-9a-f]{8,17}$")]


class EcsVariables(Variables):
    """The inputs of the ECS module. Existing things are used only where they are named here, and never changed."""

    region: Region = Field(description="AWS region that the pool runs in, such as eu-west-1.")
    credentials: CredentialKind = Field(
        "role",
        description="How jobs are launched: role (assume a role made for this), key (an access key of a user made for "
        "this), or ambient (whatever AWS credentials the dispatcher has).",
    )
    trusted_principals: list[Principal] = Field(
        default_factory=list,
        description="Who may assume the launcher role, as ARNs; whoever provisions the pool, where none is named.",
    )

    vpc_cidr: Cidr = Field("10.42.0.0/16", description="Address range of the pool's own VPC.")
    zones: int = Field(2, ge=1, le=8, description="In how many availability zones the pool's own VPC has a subnet.")
    subnets: Literal["public", "private"] = Field(
        "public",
        description="Whether jobs reach the internet themselves, or through a NAT gateway (costs by the hour).",
    )
    vpc_id: VpcId | None = Field(
        None, description="An existing VPC to use, such as vpc-0a1b2c3d; the pool makes its own where none is named."
    )
    subnet_ids: list[SubnetId] = Field(
        default_factory=list, description="Subnets of the existing VPC to run jobs in, such as subnet-0a1b2c3d."
    )
    security_group_ids: list[SecurityGroupId] = Field(
        default_factory=list,
        description="Security groups of the existing VPC for jobs, such as sg-0a1b2c3d; the pool makes one that only "
        "lets traffic out, where none is named.",
    )
    assign_public_ip: bool | None = Field(
        None, description="Whether jobs get a public address; by default, exactly in the pool's own public subnets."
    )

    log_retention_days: Retention = Field(
        30, description="How long CloudWatch keeps the output of jobs; 0 is for ever."
    )
    container_insights: Literal["disabled", "enabled", "enhanced"] = Field(
        "disabled", description="Metrics of each task in CloudWatch, which AWS charges for."
    )
    encryption: Literal["aws", "kms"] = Field(
        "aws", description="Whose key encrypts images, job output and job secrets: AWS's own, or one in KMS."
    )
    kms_key_arn: KeyArn | None = Field(
        None,
        description="The ARN of an existing key to use with encryption=kms; the pool makes one where none is named.",
    )

    permissions_boundary: PolicyArn | None = Field(
        None, description="The ARN of a policy that bounds every role and user that the pool makes."
    )
    task_policies: list[PolicyArn] = Field(
        default_factory=list,
        description="Policies, by their ARNs, that say what running flows themselves may do in AWS.",
    )
    readable_secrets: list[SecretArn] = Field(
        default_factory=list,
        description="Secrets and parameters that jobs may name in secret_arns, as ARNs; may end in *.",
    )
    readable_repositories: list[RepositoryArn] = Field(
        default_factory=list, description="ECR repositories besides the pool's own that images may come from."
    )
    tags: Tags = Field(default_factory=dict, description="Tags put on everything that the pool makes.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.vpc_id is not None and not self.subnet_ids:
            raise ValueError("vpc_id names an existing VPC, so subnet_ids must say which of its subnets to use")
        if self.vpc_id is None and (self.subnet_ids or self.security_group_ids):
            raise ValueError("subnet_ids and security_group_ids belong to an existing VPC, so vpc_id must name it")
        if self.kms_key_arn is not None and self.encryption != "kms":
            raise ValueError("kms_key_arn is only used with encryption=kms")
        if self.trusted_principals and self.credentials != "role":
            raise ValueError("trusted_principals is only used with credentials=role")
        return self


class EcsOutputs(Outputs):
    """What the ECS module gives back; the connection uses every one of them."""

    account: str
    cluster_arn: str
    execution_role_arn: str
    task_role_arn: str
    launcher_arn: str | None = None
    """The role to assume, or the user that keys are made for; None with ambient credentials."""
    log_group: str
    repository_url: str
    subnet_ids: list[str]
    security_group_ids: list[str]
    assign_public_ip: bool
    kms_key_arn: str | None = None
    prefix: str
    """What the names of task definitions and secrets of this pool begin with; ends in the pool's id."""
