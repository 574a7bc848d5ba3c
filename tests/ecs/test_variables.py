"""What a person may say about an ECS pool, and what is refused before anything is touched."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from poolform.core.pools.conformance import contract_problems
from poolform.provisioners.ecs.pool_type import Ecs, EcsPush
from poolform.provisioners.ecs.variables import EcsVariables

VPC = {"vpc_id": "vpc-0123456789abcdef0", "subnet_ids": ["subnet-0123456789abcdef0"]}


@pytest.mark.parametrize("pool_type", [EcsPush, Ecs])
def test_the_contract_is_kept(pool_type):
    assert contract_problems(pool_type) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"vpc_id": VPC["vpc_id"]}, "subnet_ids must say which"),
        ({"subnet_ids": VPC["subnet_ids"]}, "vpc_id must name it"),
        ({"security_group_ids": ["sg-0123456789abcdef0"]}, "vpc_id must name it"),
        ({"kms_key_arn": "arn:aws:kms:eu-west-1:123456789012:key/x"}, "only used with encryption=kms"),
        ({"credentials": "key", "trusted_principals": ["arn:aws:iam::123456789012:root"]}, "credentials=role"),
        ({"vpc_cidr": "10.0.0.0/8"}, "between /16 and /24"),
        ({"vpc_cidr": "10.0.0.1/16"}, "CIDR notation"),
        ({"vpc_cidr": '${file("/etc/passwd")}'}, "CIDR notation"),
        ({"zones": 0}, "greater than or equal to 1"),
        ({"log_retention_days": 2}, "Input should be"),
        ({"region": "Europe"}, "String should match"),
        ({"tags": {"aws:x": "y"}}, "reserved"),
        ({"tags": {"Poolform-Pool-Id": "y"}}, "reserved"),
        ({"task_policies": ["AdministratorAccess"]}, "String should match"),
        ({"trusted_principals": ["*"]}, "String should match"),
        ({"memory": 512}, "Extra inputs"),
    ],
)
def test_what_makes_no_sense_is_refused(given, said):
    with pytest.raises(ValidationError, match=said):
        EcsVariables(**{"region": "eu-west-1", **given})


def test_regions_of_every_partition_are_known():
    for region in ("eu-west-1", "us-gov-west-1", "cn-north-1", "ap-southeast-5", "us-iso-east-1"):
        assert EcsVariables(region=region).region == region


def test_the_region_comes_from_where_aws_tools_take_it(tmp_path, monkeypatch):
    config = tmp_path / "config"
    config.write_text("[default]\nregion = eu-north-1\n[profile lab]\nregion = ap-south-1\n")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    assert EcsPush().discover() == {"region": "eu-north-1"}
    monkeypatch.setenv("AWS_PROFILE", "lab")
    assert EcsPush().discover() == {"region": "ap-south-1"}
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert EcsPush().discover() == {"region": "us-east-1"}
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    config.write_bytes(b"\xff[[[")
    assert EcsPush().discover() == {}
