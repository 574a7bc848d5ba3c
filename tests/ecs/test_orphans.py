"""What an interrupted apply left is found by the pool's id, and nobody else's things ever are."""

from __future__ import annotations

import json

import pytest

from poolform.provisioners.ecs.permissions import needed, policy
from poolform.provisioners.ecs.pool_type import EcsPush
from poolform.provisioners.ecs.variables import EcsVariables

from .conftest import REGION, become

PRIVATE = EcsVariables(region=REGION, subnets="private", zones=2, encryption="kms", credentials="key")
TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})
ANYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]})


def make(aws, pool_id):
    """By hand, what the module makes for a pool; returns addresses and ids as they should be found."""
    ec2, name = aws.client("ec2"), f"poolform-lab-{pool_id}"

    def tagged(kind, suffix=""):
        tags = [{"Key": "poolform-pool-id", "Value": pool_id}, {"Key": "Name", "Value": name + suffix}]
        return [{"ResourceType": kind, "Tags": tags}]

    made = {}
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16", TagSpecifications=tagged("vpc"))["Vpc"]["VpcId"]
    made["aws_vpc.this"] = vpc
    gateway = ec2.create_internet_gateway(TagSpecifications=tagged("internet-gateway"))["InternetGateway"]
    made["aws_internet_gateway.this"] = gateway["InternetGatewayId"]
    ec2.attach_internet_gateway(VpcId=vpc, InternetGatewayId=gateway["InternetGatewayId"])
    for number, zone in enumerate(("eu-west-1a", "eu-west-1b")):
        subnet = ec2.create_subnet(
            VpcId=vpc,
            CidrBlock=f"10.9.{number}.0/24",
            AvailabilityZone=zone,
            TagSpecifications=tagged("subnet", f"-{zone}"),
        )
        made[f'aws_subnet.jobs["{zone}"]'] = subnet["Subnet"]["SubnetId"]
    nat_subnet = ec2.create_subnet(
        VpcId=vpc, CidrBlock="10.9.9.0/24", AvailabilityZone="eu-west-1a", TagSpecifications=tagged("subnet", "-nat")
    )["Subnet"]["SubnetId"]
    made["aws_subnet.nat"] = nat_subnet
    table = ec2.create_route_table(VpcId=vpc, TagSpecifications=tagged("route-table", "-nat"))["RouteTable"]
    made["aws_route_table.nat"] = table["RouteTableId"]
    ec2.associate_route_table(SubnetId=nat_subnet, RouteTableId=table["RouteTableId"])
    made["aws_route_table_association.nat"] = f"{nat_subnet}/{table['RouteTableId']}"
    ec2.create_route(
        RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway["InternetGatewayId"]
    )
    made["aws_route.nat"] = f"{table['RouteTableId']}_0.0.0.0/0"
    address = ec2.allocate_address(Domain="vpc", TagSpecifications=tagged("elastic-ip"))["AllocationId"]
    made["aws_eip.nat"] = address
    made["aws_nat_gateway.this"] = ec2.create_nat_gateway(
        SubnetId=nat_subnet, AllocationId=address, TagSpecifications=tagged("natgateway")
    )["NatGateway"]["NatGatewayId"]
    made["aws_vpc_endpoint.s3"] = ec2.create_vpc_endpoint(
        VpcId=vpc, ServiceName=f"com.amazonaws.{REGION}.s3", TagSpecifications=tagged("vpc-endpoint")
    )["VpcEndpoint"]["VpcEndpointId"]
    group = ec2.create_security_group(
        GroupName=name, Description="d", VpcId=vpc, TagSpecifications=tagged("security-group")
    )["GroupId"]
    made["aws_security_group.jobs"] = group
    rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])["SecurityGroupRules"]
    made["aws_vpc_security_group_egress_rule.jobs"] = rules[0]["SecurityGroupRuleId"]
    return made | make_named(aws, pool_id, name)


def make_named(aws, pool_id, name):
    iam, kms = aws.client("iam"), aws.client("kms")
    aws.client("ecs").create_cluster(clusterName=name)
    aws.client("logs").create_log_group(logGroupName=f"/poolform/{name}")
    aws.client("ecr").create_repository(repositoryName=name)
    roles = {part: f"poolform-lab-{part}-{pool_id}" for part in ("execution", "task")}
    for role in roles.values():
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=TRUST)
    user = f"poolform-lab-launcher-{pool_id}"
    iam.create_user(UserName=user)
    arn = iam.create_policy(PolicyName=user, PolicyDocument=ANYTHING)["Policy"]["Arn"]
    key = kms.create_key(Tags=[{"TagKey": "poolform-pool-id", "TagValue": pool_id}])["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName=f"alias/{name}", TargetKeyId=key)
    return {
        "aws_ecs_cluster.this": name, "aws_cloudwatch_log_group.jobs": f"/poolform/{name}",
        "aws_ecr_repository.images": name, "aws_iam_user.launcher": user, "aws_iam_policy.launcher": arn,
        "aws_kms_key.this": key, "aws_kms_alias.this": f"alias/{name}",
        **{f"aws_iam_role.{part}": role for part, role in roles.items()},
    }  # fmt: skip


@pytest.fixture(scope="module")
def pools(aws):
    return {pool_id: make(aws, pool_id) for pool_id in ("aaaaaaaa", "bbbbbbbb")}


def found(variables, pool_id, known=()):
    return {orphan.address: orphan.import_id for orphan in EcsPush().orphans(variables, pool_id, known)}


def test_a_cluster_that_was_deleted_is_not_adopted(aws, monkeypatch):
    """ECS lists it for a while, as INACTIVE, and Terraform would say that there is nothing to import."""
    become(monkeypatch, aws.environment)
    ecs = aws.client("ecs")
    ecs.create_cluster(clusterName="poolform-lab-dddddddd")
    assert found(PRIVATE, "dddddddd") == {"aws_ecs_cluster.this": "poolform-lab-dddddddd"}
    ecs.delete_cluster(cluster="poolform-lab-dddddddd")
    assert any(arn.endswith("dddddddd") for arn in ecs.list_clusters()["clusterArns"])
    assert found(PRIVATE, "dddddddd") == {}


@pytest.mark.slow
def test_everything_of_a_pool_is_found_and_nothing_of_another(aws, pools, monkeypatch):
    become(monkeypatch, aws.environment)
    for pool_id, made in pools.items():
        assert found(PRIVATE, pool_id) == made
    assert found(PRIVATE, "cccccccc") == {}
    assert found(PRIVATE, "aaaaaaa") == {}


def test_what_the_state_knows_is_left_out(aws, pools, monkeypatch):
    become(monkeypatch, aws.environment)
    known = [address for address in pools["aaaaaaaa"] if "iam" not in address]
    assert set(found(PRIVATE, "aaaaaaaa", known)) == {a for a in pools["aaaaaaaa"] if "iam" in a}


def test_only_what_the_module_has_a_place_for_is_adopted(aws, pools, monkeypatch):
    become(monkeypatch, aws.environment)
    public = found(EcsVariables(region=REGION, zones=1, credentials="ambient"), "aaaaaaaa")
    assert 'aws_subnet.jobs["eu-west-1b"]' not in public
    assert not any(kind in address for address in public for kind in ("nat_gateway", "eip", "kms", "launcher"))
    vpc = pools["bbbbbbbb"]["aws_vpc.this"]
    given = EcsVariables(region=REGION, vpc_id=vpc, subnet_ids=["subnet-00000000"], security_group_ids=["sg-00000000"])
    assert not any("subnet" in address or "security" in address for address in found(given, "aaaaaaaa"))


def test_who_may_not_list_adopts_what_can_be_seen(aws, pools, monkeypatch):
    """Terraform then says by name what exists already."""
    become(monkeypatch, aws.user("no-lists", policy(needed(["aws_vpc", "aws_subnet"]))))
    seen = found(PRIVATE, "aaaaaaaa")
    assert "aws_vpc.this" in seen
    assert "aws_iam_role.task" not in seen
