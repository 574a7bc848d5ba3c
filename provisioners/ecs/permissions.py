"""What the caller must be allowed, by the resource types of the rendered module.

Preflight asks AWS about exactly these, docs/pool-types/ecs.md lists them, and a test compares them both ways with what
Terraform's provider used while a pool was planned, applied and destroyed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from poolform.core.runs.launchers import Json


@dataclass(frozen=True)
class Permission:
    """An IAM action, and an ARN like that of what it is needed on: PREFIX stands for the pool's own names."""

    action: str
    resource: str = "*"


def _on(resource: str, actions: str) -> tuple[Permission, ...]:
    return tuple(Permission(action, resource) for action in actions.split())


PREFIX = "poolform-PREFLIGHT"
_CLUSTER = f"arn:PARTITION:ecs:REGION:ACCOUNT:cluster/{PREFIX}"
_LOGS = f"arn:PARTITION:logs:REGION:ACCOUNT:log-group:/poolform/{PREFIX}"
_REPOSITORY = f"arn:PARTITION:ecr:REGION:ACCOUNT:repository/{PREFIX}"
_ROLE = f"arn:PARTITION:iam::ACCOUNT:role/{PREFIX}"
_USER = f"arn:PARTITION:iam::ACCOUNT:user/{PREFIX}"
_POLICY = f"arn:PARTITION:iam::ACCOUNT:policy/{PREFIX}"
_KEY_TAIL = "-0000-0000-0000-000000000000"
_KEY = f"arn:PARTITION:kms:REGION:ACCOUNT:key/00000000{_KEY_TAIL}"
_ALIAS = f"arn:PARTITION:kms:REGION:ACCOUNT:alias/{PREFIX}"
_SERVICE_ROLE = "arn:PARTITION:iam::ACCOUNT:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"

_VPC = (
    "ec2:CreateTags ec2:CreateVpc ec2:DeleteTags ec2:DeleteVpc ec2:DescribeAvailabilityZones ec2:DescribeNetworkAcls "
    "ec2:DescribeRouteTables ec2:DescribeSecurityGroups ec2:DescribeVpcAttribute ec2:DescribeVpcs "
    "ec2:ModifyVpcAttribute"
)

BY_TYPE: Mapping[str, tuple[Permission, ...]] = {
    "aws_cloudwatch_log_group": (
        *_on("*", "logs:DescribeLogGroups"),
        *_on(
            _LOGS,
            "logs:AssociateKmsKey logs:CreateLogGroup logs:DeleteLogGroup logs:DisassociateKmsKey "
            "logs:ListTagsForResource logs:PutRetentionPolicy logs:TagResource logs:UntagResource",
        ),
    ),
    "aws_default_security_group": _on(
        "*",
        "ec2:CreateTags ec2:DeleteTags ec2:DescribeSecurityGroups ec2:RevokeSecurityGroupEgress "
        "ec2:RevokeSecurityGroupIngress",
    ),
    "aws_ecr_lifecycle_policy": _on(
        _REPOSITORY, "ecr:DeleteLifecyclePolicy ecr:GetLifecyclePolicy ecr:PutLifecyclePolicy"
    ),
    "aws_ecr_repository": _on(
        _REPOSITORY,
        "ecr:CreateRepository ecr:DeleteRepository ecr:DescribeRepositories ecr:ListTagsForResource ecr:TagResource "
        "ecr:UntagResource",
    ),
    "aws_ecs_cluster": (
        *_on(
            _CLUSTER,
            "ecs:CreateCluster ecs:DeleteCluster ecs:DescribeClusters ecs:ListTagsForResource ecs:TagResource "
            "ecs:UntagResource ecs:UpdateCluster",
        ),
        *_on(_SERVICE_ROLE, "iam:CreateServiceLinkedRole"),
    ),
    "aws_ecs_cluster_capacity_providers": _on(_CLUSTER, "ecs:DescribeClusters ecs:PutClusterCapacityProviders"),
    "aws_eip": _on(
        "*",
        "ec2:AllocateAddress ec2:CreateTags ec2:DeleteTags ec2:DescribeAddresses ec2:DescribeAddressesAttribute "
        "ec2:DisassociateAddress ec2:ReleaseAddress",
    ),
    "aws_iam_policy": _on(
        _POLICY,
        "iam:CreatePolicy iam:CreatePolicyVersion iam:DeletePolicy iam:DeletePolicyVersion iam:GetPolicy "
        "iam:GetPolicyVersion iam:ListPolicyVersions iam:TagPolicy iam:UntagPolicy",
    ),
    "aws_iam_role": _on(
        _ROLE,
        "iam:CreateRole iam:DeleteRole iam:DeleteRolePermissionsBoundary iam:GetRole iam:ListAttachedRolePolicies "
        "iam:ListInstanceProfilesForRole iam:ListRolePolicies iam:PutRolePermissionsBoundary iam:TagRole iam:UntagRole "
        "iam:UpdateAssumeRolePolicy",
    ),
    "aws_iam_role_policy": _on(_ROLE, "iam:DeleteRolePolicy iam:GetRolePolicy iam:PutRolePolicy"),
    "aws_iam_role_policy_attachment": _on(
        _ROLE, "iam:AttachRolePolicy iam:DetachRolePolicy iam:ListAttachedRolePolicies"
    ),
    "aws_iam_user": _on(
        _USER, "iam:CreateUser iam:DeleteUser iam:GetUser iam:ListGroupsForUser iam:TagUser iam:UntagUser"
    ),
    "aws_iam_user_policy_attachment": _on(
        _USER, "iam:AttachUserPolicy iam:DetachUserPolicy iam:ListAttachedUserPolicies"
    ),
    "aws_internet_gateway": _on(
        "*",
        "ec2:AttachInternetGateway ec2:CreateInternetGateway ec2:CreateTags ec2:DeleteInternetGateway ec2:DeleteTags "
        "ec2:DescribeInternetGateways ec2:DetachInternetGateway",
    ),
    "aws_kms_alias": (
        *_on("*", "kms:ListAliases"),
        *_on(_ALIAS, "kms:CreateAlias kms:DeleteAlias"),
        *_on(_KEY, "kms:CreateAlias kms:DeleteAlias"),
    ),
    "aws_kms_key": (
        *_on("*", "kms:CreateKey"),
        *_on(
            _KEY,
            "kms:CreateGrant kms:DescribeKey kms:EnableKeyRotation kms:GetKeyPolicy kms:GetKeyRotationStatus "
            "kms:ListResourceTags kms:RetireGrant kms:ScheduleKeyDeletion kms:TagResource kms:UntagResource",
        ),
    ),
    "aws_kms_key_policy": _on(_KEY, "kms:DescribeKey kms:GetKeyPolicy kms:PutKeyPolicy"),
    "aws_nat_gateway": _on(
        "*",
        "ec2:CreateNatGateway ec2:CreateTags ec2:DeleteNatGateway ec2:DeleteTags ec2:DescribeNatGateways",
    ),
    "aws_route": _on("*", "ec2:CreateRoute ec2:DeleteRoute ec2:DescribeRouteTables"),
    "aws_route_table": _on(
        "*", "ec2:CreateRouteTable ec2:CreateTags ec2:DeleteRouteTable ec2:DeleteTags ec2:DescribeRouteTables"
    ),
    "aws_route_table_association": _on(
        "*", "ec2:AssociateRouteTable ec2:DescribeRouteTables ec2:DisassociateRouteTable"
    ),
    "aws_security_group": _on(
        "*",
        "ec2:CreateSecurityGroup ec2:CreateTags ec2:DeleteSecurityGroup ec2:DeleteTags ec2:DescribeNetworkInterfaces "
        "ec2:DescribeSecurityGroups ec2:RevokeSecurityGroupEgress ec2:RevokeSecurityGroupIngress",
    ),
    "aws_subnet": _on(
        "*",
        "ec2:CreateSubnet ec2:CreateTags ec2:DeleteSubnet ec2:DeleteTags ec2:DescribeNetworkInterfaces "
        "ec2:DescribeSubnets",
    ),
    "aws_vpc": _on("*", _VPC),
    "aws_vpc_endpoint": _on(
        "*",
        "ec2:CreateTags ec2:CreateVpcEndpoint ec2:DeleteTags ec2:DeleteVpcEndpoints ec2:DescribePrefixLists "
        "ec2:DescribeVpcEndpoints",
    ),
    "aws_vpc_security_group_egress_rule": _on(
        "*",
        "ec2:AuthorizeSecurityGroupEgress ec2:CreateTags ec2:DeleteTags ec2:DescribeSecurityGroupRules "
        "ec2:ModifySecurityGroupRules ec2:RevokeSecurityGroupEgress",
    ),
}

KEYS = _on(_USER, "iam:CreateAccessKey iam:DeleteAccessKey iam:ListAccessKeys")
"""What minting, rotating and revoking the launcher's key takes, outside Terraform."""

GIVEN_NETWORK = _on("*", "ec2:DescribeSubnets")
"""What looking at an existing network takes."""


def given_key(arn: str) -> tuple[Permission, ...]:
    """Return what using an existing encryption key takes."""
    return _on(arn, "kms:CreateGrant kms:DescribeKey kms:RetireGrant")


def everything() -> frozenset[Permission]:
    """Return what every kind of pool together may need, but for keys of other people's."""
    return frozenset((*needed(BY_TYPE), *KEYS, *GIVEN_NETWORK))


def policy(permissions: Iterable[Permission]) -> dict[str, Json]:
    """Return an IAM policy that grants these permissions on whatever pools are called, in every region."""
    by_resource: dict[str, list[str]] = {}
    for permission in sorted(permissions, key=lambda item: (item.resource, item.action)):
        resource = permission.resource.replace(PREFIX, "poolform-*").replace("PARTITION", "aws")
        resource = resource.replace("REGION", "*").replace("ACCOUNT", "*").replace("0" * 8 + _KEY_TAIL, "*")
        by_resource.setdefault(resource, []).append(permission.action)
    statements = [
        {"Effect": "Allow", "Action": actions, "Resource": resource} for resource, actions in by_resource.items()
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def needed(resources: Iterable[str]) -> frozenset[Permission]:
    """Return the permissions for a module with these resource types."""
    return frozenset(permission for kind in resources for permission in BY_TYPE.get(kind, ()))
