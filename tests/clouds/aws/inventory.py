"""What is in the account, so that a test can say that nothing of ours is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clouds.aws.accounts import ACCOUNT

if TYPE_CHECKING:
    from clouds.aws.definitions import Definitions
    from clouds.aws.tasks import Tasks


def inventory(definitions: Definitions, tasks: Tasks, region: str) -> dict[str, list[str]]:
    from moto.ec2.models import ec2_backends
    from moto.ecr.models import ecr_backends
    from moto.ecs.models import ecs_backends
    from moto.iam.models import iam_backends
    from moto.kms.models import kms_backends
    from moto.logs.models import logs_backends
    from moto.ssm.models import ssm_backends

    ec2, iam = ec2_backends[ACCOUNT][region], iam_backends[ACCOUNT]["aws"]
    found: dict[str, Any] = {
        "access keys": [key.access_key_id for user in iam.users.values() for key in user.access_keys],
        "clusters": [c.name for c in ecs_backends[ACCOUNT][region].clusters.values() if c.status == "ACTIVE"],
        "elastic addresses": [item.allocation_id for item in ec2.describe_addresses()],
        "endpoints": [item.id for item in ec2.describe_vpc_endpoints(None) if item.state != "deleted"],
        "gateways": [item.id for item in ec2.describe_internet_gateways()],
        "keys": [k.id for k in kms_backends[ACCOUNT][region].keys.values() if k.key_state == "Enabled"],
        "log groups": list(logs_backends[ACCOUNT][region].groups),
        "NAT gateways": [n.id for n in ec2.nat_gateways.values() if n.state != "deleted"],
        "parameters": [n for n in ssm_backends[ACCOUNT][region]._parameters if "poolform" in n],
        "policies": [arn for arn in iam.managed_policies if f":{ACCOUNT}:" in arn],
        "repositories": list(ecr_backends[ACCOUNT][region].repositories),
        "roles": [role.name for role in iam.roles.values()],
        "route tables": [item.id for item in ec2.describe_route_tables()],
        "security groups": [item.id for item in ec2.describe_security_groups()],
        "subnets": [item.id for item in ec2.describe_subnets()],
        "task definitions": list(definitions.by_arn),
        "tasks": tasks.alive(),
        "users": list(iam.users),
        "VPCs": [item.id for item in ec2.describe_vpcs()],
    }
    return {kind: sorted(names) for kind, names in found.items()}
