"""State that is not on one machine, in S3 with its own lock; two machines work on one pool."""

from __future__ import annotations

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


def bucket(aws, tmp_path):
    """What the command line says of a backend in a new bucket."""
    name = f"states-{tmp_path.name[-12:].replace('_', '-').lower()}"
    aws.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    settings = {"bucket": name, "key": "pools/p.tfstate", "region": REGION, "use_lockfile": "true",
                "use_path_style": "true", "skip_requesting_account_id": "true", "encrypt": "true"}  # fmt: skip
    return ["--backend", "s3", *(word for pair in settings.items() for word in ("--backend-config", "=".join(pair)))]


def test_two_machines_share_a_pool_and_take_turns(aws, network, cli_config, tmp_path):
    aws.tasks.images[IMAGE] = FLOWS
    before = aws.inventory()
    own = teams.shared(tmp_path)
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    one, other = (Person.at(tmp_path / name, aws.environment, cli_config, **own) for name in ("one", "other"))
    variables = [word.format(**network) for word in VARIABLES]
    refused = []

    def meanwhile(_):
        """While the other is at it, and holds the lock that S3 keeps."""
        refused.append(one("work-pool", "provision-infra", "p", "--yes", expect=None))

    # First called when the pool is made; then for the change.
    fault = aws.faults.add(Fault("logs:PutRetentionPolicy", "call-after", hook=meanwhile, skip=1))
    teams.share(
        one,
        other,
        create=("--type", "ecs:push", *variables, *bucket(aws, tmp_path)),
        options=("--job-variable", f"image={IMAGE}"),
        change=(*variables, "--set", "log_retention_days=7"),
        secrets=[aws.environment["AWS_SECRET_ACCESS_KEY"]],
    )
    assert {kind: names for kind, names in aws.inventory().items() if names != before[kind]} == {}
    assert fault.hits == 1
    assert [done.returncode for done in refused] == [1]
    assert "lock" in refused[0].stderr.lower()
