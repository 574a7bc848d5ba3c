"""State that is not on one machine, in S3 with its own lock; two machines work on one pool."""

from __future__ import annotations

import threading

import pytest
import teams
from clouds.aws.faults import Fault

from .conftest import REGION
from .person import FLOWS, IMAGE, Person

pytestmark = [pytest.mark.aws_provider, pytest.mark.slow]

VARIABLES = ("--set", "credentials=key", "--set", "vpc_id={vpc}", "--set", 'subnet_ids=["{subnet}"]')


@pytest.fixture(scope="module")
def network(aws):
    ec2 = aws.client("ec2")
    subnet = ec2.describe_subnets()["Subnets"][0]
    return {"vpc": subnet["VpcId"], "subnet": subnet["SubnetId"]}


def bucket(aws, kind, tmp_path):
    """What the command line says of a backend in a new bucket."""
    name = f"{kind}-{tmp_path.name[-12:].replace('_', '-').lower()}"
    aws.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    settings = {"bucket": name, "key": "pools/p.tfstate", "region": REGION, "use_lockfile": "true",
                "use_path_style": "true", "skip_requesting_account_id": "true", "encrypt": "true"}  # fmt: skip
    return ["--backend", "s3", *(word for pair in settings.items() for word in ("--backend-config", "=".join(pair)))]


def machines(aws, cli_config, tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        yield Person.at(tmp_path / name, aws.environment, cli_config, **teams.shared(tmp_path))


def test_two_machines_share_a_pool(aws, network, cli_config, tmp_path):
    aws.tasks.images[IMAGE] = FLOWS
    before = aws.inventory()
    one, other = machines(aws, cli_config, tmp_path)
    variables = [word.format(**network) for word in VARIABLES]
    teams.share(
        one,
        other,
        create=("--type", "ecs:push", *variables, *bucket(aws, "states", tmp_path)),
        options=("--job-variable", f"image={IMAGE}"),
        change=(*variables, "--set", "log_retention_days=7"),
        secrets=[aws.environment["AWS_SECRET_ACCESS_KEY"]],
    )
    assert {kind: names for kind, names in aws.inventory().items() if names != before[kind]} == {}


def test_a_second_machine_waits_for_the_first(aws, network, cli_config, tmp_path):
    """The lock that S3 keeps itself tells who holds it."""
    one, other = machines(aws, cli_config, tmp_path)
    variables = [word.format(**network) for word in VARIABLES]
    making, refused_too = threading.Event(), threading.Event()

    def meanwhile(_):
        making.set()
        refused_too.wait(60)

    aws.faults.add(Fault("ecr:CreateRepository", "call-after", hook=meanwhile))
    create = ("work-pool", "create", "p", "--type", "ecs:push", "--provision-infra", "--yes", *variables)
    first = one.start(*create, *bucket(aws, "locks", tmp_path))
    while not making.wait(0.5):
        if first.poll() is not None:
            pytest.fail("".join(first.communicate()))
    refused = other("work-pool", "provision-infra", "p", "--yes", expect=None)
    refused_too.set()
    first.communicate(timeout=120)
    assert refused.returncode == 1
    assert "lock" in refused.stderr.lower()
    assert first.returncode == 0
    one("work-pool", "deprovision", "p", "--yes")
