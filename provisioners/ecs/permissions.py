"""What the caller must be allowed, by the resource types of the rendered module.

Preflight asks AWS about exactly these, docs/pool-types/ecs.md lists them, and a test compares them both ways with what
Terraform's provider used while a pool was planned, applied and destroyed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


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
_KEY = "arn:PARTITION:kms:REGION:ACCOUNT:key/00000000-0000-0000-0000-000000000000"
_ALIAS = f"arn:PARTITION:kms:REGION:ACCOUNT:alias/{PREFIX}"
_SERVICE_ROLE = "arn:PARTITION:iam::ACCOUNT:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"

ALWAYS: Sequence[Permission] = (*_on("*", "ec2:DescribeAvailabilityZones"),)
"""Used by the module's data sources whatever it makes; reading who one is needs no permission."""

BY_TYPE: Mapping[str, tuple[Permission, ...]] = {
    "aws_cloudwatch_log_group": (
        *_on("*", "logs:DescribeLogGroups"),
        *_on(
            _LOGS,
            "logs:CreateLogGroup logs:DeleteLogGroup logs:ListTagsForResource logs:PutRetentionPolicy logs:TagResource",
        ),
    ),
    "aws_default_security_group": _on("*", "ec2:DescribeSecurityGroups ec2:RevokeSecurityGroupEgress"),
    "aws_ecr_lifecycle_policy": _on(
        _REPOSITORY, "ecr:DeleteLifecyclePolicy ecr:GetLifecyclePolicy ecr:PutLifecyclePolicy"
    ),
    "aws_ecr_repository": _on(
        _REPOSITORY,
        "ecr:CreateRepository ecr:DeleteRepository ecr:DescribeRepositories ecr:ListTagsForResource ecr:TagResource",
    ),
    "aws_ecs_cluster": (
        *_on(_CLUSTER, "ecs:CreateCluster ecs:DeleteCluster ecs:DescribeClusters ecs:TagResource"),
        *_on(_SERVICE_ROLE, "iam:CreateServiceLinkedRole"),
    ),
    "aws_ecs_cluster_capacity_providers": _on(_CLUSTER, "ecs:DescribeClusters ecs:PutClusterCapacityProviders"),
    "aws_iam_role": _on(
        _ROLE,
        "iam:CreateRole iam:DeleteRole iam:GetRole iam:ListAttachedRolePolicies iam:ListInstanceProfilesForRole "
        "iam:ListRolePolicies iam:TagRole",
    ),
    "aws_iam_role_policy": _on(_ROLE, "iam:DeleteRolePolicy iam:GetRolePolicy iam:PutRolePolicy"),
}


def needed(resources: Iterable[str]) -> tuple[Permission, ...]:
    """Return the permissions for a module with these resource types, each once, sorted."""
    found = set(ALWAYS)
    for kind in resources:
        found.update(BY_TYPE.get(kind, ()))
    return tuple(sorted(found, key=lambda permission: (permission.action, permission.resource)))


KEYS = _on(_USER, "iam:CreateAccessKey iam:DeleteAccessKey iam:ListAccessKeys")
"""What minting, rotating and revoking the launcher's key takes, outside Terraform."""
