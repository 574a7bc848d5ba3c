"""What an interrupted apply made and its state never heard of, found by the pool's id.

Only what cannot be made twice, or would be made twice, needs finding: the rest (inline policies, attachments, the
lifecycle policy, capacity providers, the default security group) is put in place again as if for the first time.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from poolform.core.pools.contract import Orphan
from poolform.provisioners.ecs import session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from poolform.provisioners.ecs.session import Clients
    from poolform.provisioners.ecs.variables import EcsVariables

    Ours = Callable[[str, str], list[dict[str, Any]]]

_TAG = "poolform-pool-id"


def find(variables: EcsVariables, pool_id: str) -> Iterator[Orphan]:
    """Yield every object that bears the pool's id, as the address in the module that it belongs to.

    What the caller may not list is passed over: Terraform then says that it exists.
    """
    clients = session.Clients(variables.region)
    with session.sentences("Looking for what an interrupted run left"):
        yield from _named(clients, pool_id)
        yield from _identities(clients["iam"], pool_id, launcher=variables.credentials != "ambient")
        if variables.encryption == "kms" and variables.kms_key_arn is None:
            yield from _keys(clients, pool_id)
        yield from _network(clients["ec2"], variables, pool_id)


def _named(clients: Clients, pool_id: str) -> Iterator[Orphan]:
    tail = f"-{pool_id}"
    with _permitted():
        yield from _clusters(clients["ecs"], tail)
    with _permitted():
        for page in clients["logs"].get_paginator("describe_log_groups").paginate(logGroupNamePrefix="/poolform/"):
            names = (group["logGroupName"] for group in page["logGroups"])
            yield from (Orphan("aws_cloudwatch_log_group.jobs", name) for name in names if name.endswith(tail))
    with _permitted():
        for page in clients["ecr"].get_paginator("describe_repositories").paginate():
            names = (repository["repositoryName"] for repository in page["repositories"])
            yield from (Orphan("aws_ecr_repository.images", name) for name in names if name.endswith(tail))


def _clusters(ecs: Any, tail: str) -> Iterator[Orphan]:
    """Yield clusters that live: one that was deleted stays in lists for a while, as INACTIVE, and cannot be imported.

    https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeleteCluster.html
    """
    pages = ecs.get_paginator("list_clusters").paginate()
    ours = [arn for page in pages for arn in page["clusterArns"] if arn.endswith(tail)]
    for start in range(0, len(ours), 100):  # what DescribeClusters takes at most
        for cluster in ecs.describe_clusters(clusters=ours[start : start + 100])["clusters"]:
            if cluster["status"] == "ACTIVE":
                yield Orphan("aws_ecs_cluster.this", cluster["clusterName"])


def _identities(iam: Any, pool_id: str, *, launcher: bool) -> Iterator[Orphan]:
    ours = {f"-{part}-{pool_id}": part for part in ("execution", "task", "launcher")}
    with _permitted():
        for page in iam.get_paginator("list_roles").paginate():
            for role in page["Roles"]:
                for tail, part in ours.items():
                    if role["RoleName"].endswith(tail):
                        yield Orphan(f"aws_iam_role.{part}", role["RoleName"])
    if not launcher:
        return
    with _permitted():
        for page in iam.get_paginator("list_users").paginate():
            names = (user["UserName"] for user in page["Users"])
            yield from (Orphan("aws_iam_user.launcher", n) for n in names if n.endswith(f"-launcher-{pool_id}"))
    with _permitted():
        for page in iam.get_paginator("list_policies").paginate(Scope="Local"):
            arns = (policy["Arn"] for policy in page["Policies"])
            yield from (Orphan("aws_iam_policy.launcher", a) for a in arns if a.endswith(f"-launcher-{pool_id}"))


def _keys(clients: Clients, pool_id: str) -> Iterator[Orphan]:
    kms = clients["kms"]
    with _permitted():
        for page in kms.get_paginator("list_aliases").paginate():
            names = (alias["AliasName"] for alias in page["Aliases"])
            yield from (Orphan("aws_kms_alias.this", name) for name in names if name.endswith(f"-{pool_id}"))
    with _permitted():
        found = clients["resourcegroupstaggingapi"].get_resources(
            TagFilters=[{"Key": _TAG, "Values": [pool_id]}], ResourceTypeFilters=["kms:key"]
        )
        for resource in found["ResourceTagMappingList"]:
            if {"Key": _TAG, "Value": pool_id} not in resource["Tags"]:
                continue
            key = kms.describe_key(KeyId=resource["ResourceARN"])["KeyMetadata"]
            if key["KeyState"] == "Enabled":  # not one that waits for its deletion
                yield Orphan("aws_kms_key.this", key["KeyId"])


def _network(ec2: Any, variables: EcsVariables, pool_id: str) -> Iterator[Orphan]:
    """Yield what is in the network; all of it was tagged in the very call that made it."""

    def ours(method: str, key: str) -> list[dict[str, Any]]:
        """Ask for what bears the pool's id, and look again: what is adopted may be destroyed one day."""
        found = getattr(ec2, method)(Filters=[{"Name": f"tag:{_TAG}", "Values": [pool_id]}])[key]
        return [item for item in found if {"Key": _TAG, "Value": pool_id} in item.get("Tags", ())]

    if not variables.security_group_ids:
        yield from _security_group(ec2, ours)
    if variables.vpc_id is not None:
        return
    with _permitted():
        yield from (Orphan("aws_vpc.this", vpc["VpcId"]) for vpc in ours("describe_vpcs", "Vpcs"))
    with _permitted():
        for gateway in ours("describe_internet_gateways", "InternetGateways"):
            yield Orphan("aws_internet_gateway.this", gateway["InternetGatewayId"])
    with _permitted():
        subnets = ours("describe_subnets", "Subnets")
        jobs = sorted((s for s in subnets if not _is_nat(s)), key=lambda subnet: subnet["AvailabilityZone"])
        addresses = {s["SubnetId"]: f'jobs["{s["AvailabilityZone"]}"]' for s in jobs[: variables.zones]}
        addresses |= {s["SubnetId"]: "nat" for s in subnets if _is_nat(s)}
        yield from (Orphan(f"aws_subnet.{address}", subnet) for subnet, address in addresses.items())
        yield from _routes(ours("describe_route_tables", "RouteTables"), addresses)
    if variables.subnets == "private":
        yield from _nat(ours)


def _security_group(ec2: Any, ours: Ours) -> Iterator[Orphan]:
    with _permitted():
        for group in ours("describe_security_groups", "SecurityGroups"):
            if group["GroupName"] == "default":
                continue
            yield Orphan("aws_security_group.jobs", group["GroupId"])
            # By its content: AWS gives every group such a rule, which is removed only after the group was made.
            mine = [{"Name": "group-id", "Values": [group["GroupId"]]}]
            for rule in ec2.describe_security_group_rules(Filters=mine)["SecurityGroupRules"]:
                if rule["GroupId"] == group["GroupId"] and _lets_all_out(rule):
                    yield Orphan("aws_vpc_security_group_egress_rule.jobs", rule["SecurityGroupRuleId"])


def _lets_all_out(rule: dict[str, Any]) -> bool:
    return bool(rule["IsEgress"]) and rule["IpProtocol"] == "-1" and rule.get("CidrIpv4") == "0.0.0.0/0"


def _routes(tables: list[dict[str, Any]], subnets: dict[str, str]) -> Iterator[Orphan]:
    for table in tables:
        name, table_id = "nat" if _is_nat(table) else "jobs", table["RouteTableId"]
        yield Orphan(f"aws_route_table.{name}", table_id)
        if any(route.get("DestinationCidrBlock") == "0.0.0.0/0" for route in table["Routes"]):
            yield Orphan(f"aws_route.{name}", f"{table_id}_0.0.0.0/0")
        for association in table["Associations"]:
            subnet = association.get("SubnetId")
            if subnet in subnets:
                yield Orphan(f"aws_route_table_association.{subnets[subnet]}", f"{subnet}/{table_id}")


def _nat(ours: Ours) -> Iterator[Orphan]:
    with _permitted():
        yield from (Orphan("aws_eip.nat", item["AllocationId"]) for item in ours("describe_addresses", "Addresses"))
    with _permitted():
        for gateway in ours("describe_nat_gateways", "NatGateways"):
            if gateway["State"] in ("pending", "available"):
                yield Orphan("aws_nat_gateway.this", gateway["NatGatewayId"])
    with _permitted():
        for endpoint in ours("describe_vpc_endpoints", "VpcEndpoints"):
            if endpoint["State"].lower() in ("pending", "available"):
                yield Orphan("aws_vpc_endpoint.s3", endpoint["VpcEndpointId"])


def _is_nat(resource: dict[str, Any]) -> bool:
    return any(tag["Key"] == "Name" and tag["Value"].endswith("-nat") for tag in resource.get("Tags", ()))


@contextmanager
def _permitted() -> Iterator[None]:
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as exc:
        if session.error_code(exc) not in session.DENIED:
            raise
