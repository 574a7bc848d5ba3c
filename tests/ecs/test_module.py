"""The module, on the real provider: planned, applied, planned again to nothing, changed, destroyed to nothing.

Whoever applies here may do exactly what docs/pool-types/ecs.md lists. What the provider then used is compared with the
list, both ways.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from poolform.core.terraform.plan import read_plan
from poolform.core.terraform.render import render
from poolform.provisioners.ecs.permissions import BY_TYPE, everything, policy
from poolform.provisioners.ecs.pool_type import NOUNS, EcsPush
from poolform.provisioners.ecs.variables import EcsVariables

from .conftest import REGION, changes

pytestmark = [pytest.mark.aws_provider, pytest.mark.slow]

ACCOUNT = "123456789012"
NASTY = '${file("/etc/hostname")} %{ if true }x%{ endif } "quoted" \\ ü\n'

# Listed, and never seen here: why moto, or these trials, cannot show them.
UNSEEN = {
    "ec2:RevokeSecurityGroupIngress": "takes away a rule that a default group was born with, or that somebody made",
    "ec2:ModifySecurityGroupRules": "a rule that a group was born with, adopted after a crash, gets our description",
    "kms:RetireGrant": "ECR retires its grant itself when a repository goes; AWS asks that the caller may",
    "iam:CreateAccessKey": "outside Terraform: test_credentials.py",
    "iam:DeleteAccessKey": "outside Terraform: test_credentials.py",
    "iam:ListAccessKeys": "outside Terraform: test_credentials.py",
}


@dataclass
class Trial:
    """What came of one set of variables, and of changing them."""

    module: object
    planned: dict
    outputs: object
    planned_again: list
    changed: list
    changed_outputs: object
    changed_again: list
    left: list
    before: dict


@pytest.fixture(scope="module")
def given(aws):
    """Things that are there before Poolform comes."""
    ec2, iam = aws.client("ec2"), aws.client("iam")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24")["Subnet"]["SubnetId"] for n in range(2)]
    group = ec2.create_security_group(GroupName="given", Description="given", VpcId=vpc)["GroupId"]
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    anything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    boundary = iam.create_policy(PolicyName="given", PolicyDocument=json.dumps(anything))["Policy"]["Arn"]
    return {"vpc": vpc, "subnets": subnets, "group": group, "key": key, "policy": boundary}


@pytest.fixture(scope="module")
def trials(aws, modules, given):
    """Every way that a pool is made, all at once: most of the time goes into waiting for ECS."""
    wanted = {
        "default": (
            {"tags": {"team": "data"}},
            {
                "zones": 1, "container_insights": "enabled", "log_retention_days": 7, "encryption": "kms",
                "kms_key_arn": given["key"], "permissions_boundary": given["policy"],
                "trusted_principals": [f"arn:aws:iam::{ACCOUNT}:root"],
            },
        ),
        "private": (
            {
                "subnets": "private", "zones": 3, "encryption": "kms", "credentials": "key", "log_retention_days": 0,
                "tags": {"team": "data"}, "task_policies": [given["policy"]], "container_insights": "enhanced",
                "readable_secrets": [f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/team/*"],
            },
            {"subnets": "private", "zones": 3, "encryption": "kms", "credentials": "key"},
        ),
        "existing": (
            {
                "vpc_id": given["vpc"], "subnet_ids": given["subnets"][:1], "security_group_ids": [given["group"]],
                "encryption": "kms", "kms_key_arn": given["key"], "permissions_boundary": given["policy"],
                "assign_public_ip": True,
            },
            {"vpc_id": given["vpc"], "subnet_ids": given["subnets"], "credentials": "ambient"},
        ),
    }  # fmt: skip
    provisioner = modules.environment(aws.user("provisioner", policy(everything())))
    before = aws.inventory()
    modules.init(modules())

    def attempt(first, second):
        module = modules(pool_name="Lab's $pecial pool, with a name that is much too long", **first)
        module.environment = provisioner
        planned = module.plan()
        outputs = module.apply()
        again = module.plan_again()
        module.become(**second)
        changed = changes(module.plan())
        changed_outputs = module.apply()
        changed_again = module.plan_again()
        module.destroy()
        left = module.resources()
        return Trial(module, planned, outputs, again, changed, changed_outputs, changed_again, left, before)

    with ThreadPoolExecutor(len(wanted)) as threads:
        started = {name: threads.submit(attempt, *pair) for name, pair in wanted.items()}
    return {name: trial.result() for name, trial in started.items()}


VARIANTS = ["default", "private", "existing"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_was_applied_needs_nothing_more(trials, variant):
    trial = trials[variant]
    assert trial.planned_again == []
    assert trial.changed_again == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_destroying_leaves_nothing(trials, variant):
    assert trials[variant].left == []


def test_the_account_is_as_it_was(trials, aws):
    assert aws.inventory() == trials["default"].before


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_name_ends_in_the_pools_id(trials, variant):
    trial = trials[variant]
    for change in changes(trial.planned):
        name = change["change"]["after"].get("name")
        if name and change["type"] != "aws_iam_role_policy":
            assert name.endswith(trial.module.pool_id), change["address"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_whatever_can_be_tagged_bears_the_pools_id(trials, variant):
    trial = trials[variant]
    tagged = [change["change"]["after"] for change in changes(trial.planned) if "tags_all" in change["change"]["after"]]
    assert len(tagged) >= 7
    for after in tagged:
        assert after["tags_all"]["poolform-pool-id"] == trial.module.pool_id


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_resource_has_a_noun_and_its_permissions(trials, variant):
    planned = read_plan(trials[variant].planned).changes
    assert {change.noun_key(NOUNS) for change in planned} <= NOUNS.keys()
    kinds = {change.type for change in planned}
    assert kinds - {"terraform_data"} <= BY_TYPE.keys()


def test_no_noun_or_permission_is_for_something_that_is_never_made(trials):
    made = [change for trial in trials.values() for change in read_plan(trial.planned).changes]
    assert {change.noun_key(NOUNS) for change in made} == NOUNS.keys()
    assert {change.type for change in made} - {"terraform_data"} == BY_TYPE.keys()


def test_a_pool_of_its_own_has_a_subnet_in_each_zone(trials):
    for variant, zones, public in (("default", 2, True), ("private", 3, False)):
        outputs = trials[variant].outputs
        assert len(outputs.subnet_ids) == zones
        assert outputs.assign_public_ip is public


def test_fewer_zones_take_away_only_what_was_in_them(trials):
    changed = trials["default"].changed
    gone = [change["address"] for change in changed if change["change"]["actions"] == ["delete"]]
    assert sorted(gone) == [
        'aws_route_table_association.jobs["eu-west-1b"]', 'aws_subnet.jobs["eu-west-1b"]', "terraform_data.principal",
    ]  # fmt: skip


def test_existing_things_are_used_and_never_touched(trials, given):
    trial = trials["existing"]
    assert trial.outputs.subnet_ids == given["subnets"][:1]
    assert trial.outputs.security_group_ids == [given["group"]]
    assert trial.outputs.kms_key_arn == given["key"]
    assert trial.outputs.assign_public_ip is True
    assert trial.changed_outputs.subnet_ids == given["subnets"]
    assert trial.changed_outputs.security_group_ids != [given["group"]]
    assert trial.changed_outputs.assign_public_ip is False
    assert trial.changed_outputs.launcher_arn is None
    kinds = {change["type"] for change in changes(trial.planned)}
    assert not kinds & {"aws_vpc", "aws_subnet", "aws_internet_gateway", "aws_security_group", "aws_kms_key"}


def test_another_encryption_is_another_repository_with_its_rule(trials):
    """AWS takes no other key for a repository that is there."""
    replaced = {change["address"] for change in trials["default"].changed if len(change["change"]["actions"]) == 2}
    assert replaced == {"aws_ecr_repository.images", "aws_ecr_lifecycle_policy.images"}


def test_every_policy_is_known_before_anything_is_made(trials):
    """But for the key's own ARN, which nobody knows before AWS has made it."""
    for change in changes(trials["default"].planned):
        for name in ("policy", "assume_role_policy"):
            assert name not in change["change"]["after_unknown"], change["address"]


def test_the_launchers_policy_fits_into_what_iam_takes(trials):
    for trial in trials.values():
        for change in changes(trial.planned):
            if change["type"] == "aws_iam_policy" and change["change"]["after"].get("policy"):
                assert len(change["change"]["after"]["policy"]) <= 6144


def test_what_terraform_used_is_what_the_documentation_lists(trials, aws):
    caller = f"arn:aws:iam::{ACCOUNT}:user/provisioner"
    used = {call.action for call in aws.calls if call.caller == caller} - {"sts:GetCallerIdentity"}
    listed = {permission.action for permission in everything()}
    assert used - listed == set(), "used, and not in the documentation"
    assert listed - used == UNSEEN.keys(), "in the documentation, and never used"


def test_every_shape_of_the_module_is_formatted_and_valid(modules, given):
    for variables in (
        {"subnets": "private", "credentials": "key", "encryption": "kms", "task_policies": [given["policy"]]},
        {"vpc_id": given["vpc"], "subnet_ids": given["subnets"], "security_group_ids": [given["group"]]},
        {"trusted_principals": [f"arn:aws:iam::{ACCOUNT}:root"], "encryption": "kms", "kms_key_arn": given["key"]},
        {"vpc_id": given["vpc"], "subnet_ids": given["subnets"], "credentials": "ambient"},
    ):
        found = modules(**variables).validate()
        assert found["valid"], found["diagnostics"]
        assert found["diagnostics"] == []


def test_what_looks_like_hcl_stays_text(modules):
    module = modules(pool_name=NASTY, tags={"note": NASTY})
    planned = module.plan()
    cluster = next(change for change in changes(planned) if change["type"] == "aws_ecs_cluster")["change"]["after"]
    assert cluster["tags_all"]["note"] == NASTY
    assert cluster["tags_all"]["poolform-pool"] == NASTY


def test_more_zones_than_the_region_has_are_refused_by_name(modules):
    with pytest.raises(AssertionError, match="zones asks for 5 availability zones, and eu-west-1 has 3"):
        modules(zones=5).plan()


def test_a_subnet_of_another_network_is_refused_by_name(modules, given, aws):
    other = aws.client("ec2").describe_subnets()["Subnets"]
    foreign = next(subnet for subnet in other if subnet["VpcId"] != given["vpc"])
    with pytest.raises(AssertionError, match=rf"{foreign['SubnetId']} is in {foreign['VpcId']},\s+not in"):
        modules(vpc_id=given["vpc"], subnet_ids=[foreign["SubnetId"]]).plan()


def test_equal_variables_give_equal_modules():
    first, second = (
        render(EcsPush(), EcsVariables(region=REGION), pool_name="lab", pool_id="a1b2c3d4") for _ in range(2)
    )
    assert first.digest == second.digest
