"""State that is not on one machine: in S3 with its own lock, in PostgreSQL; two machines work on one pool."""

from __future__ import annotations

import shutil
import threading

import pytest
from clouds.aws.faults import Fault

from .person import FLOWS, IMAGE, Person

pytestmark = [pytest.mark.aws_provider, pytest.mark.slow]

VARIABLES = ("--set", "credentials=key", "--set", "vpc_id={vpc}", "--set", 'subnet_ids=["{subnet}"]')


@pytest.fixture(scope="module")
def network(aws):
    ec2 = aws.client("ec2")
    subnet = ec2.describe_subnets()["Subnets"][0]
    return {"vpc": subnet["VpcId"], "subnet": subnet["SubnetId"]}


@pytest.fixture(params=["s3", pytest.param("pg", marks=pytest.mark.postgresql)])
def backend(request, aws, tmp_path):
    """What the command line says of the backend, and what only the environment does."""
    if request.param == "s3":
        bucket = f"states-{tmp_path.name[-12:].replace('_', '-').lower()}"
        where = {"LocationConstraint": "eu-west-1"}
        s3 = aws.client("s3")
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
        settings = {
            "bucket": bucket, "key": "pools/p.tfstate", "region": "eu-west-1", "use_lockfile": "true",
            "use_path_style": "true", "skip_requesting_account_id": "true", "encrypt": "true",
        }  # fmt: skip
        flags = [word for pair in settings.items() for word in ("--backend-config", "=".join(pair))]
        yield ["--backend", "s3", *flags], {}
        return
    url = request.getfixturevalue("postgresql_url")
    separator = "&" if "?" in url else "?"
    yield ["--backend", "pg"], {"PG_CONN_STR": f"{url}{separator}sslmode=disable"}


def test_two_machines_share_a_pool(aws, network, backend, cli_config, tmp_path):
    flags, environment = backend
    aws.tasks.images[IMAGE] = FLOWS
    before = aws.inventory()
    database = f"sqlite:///{tmp_path / 'team.db'}"
    machines = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        shared = {"POOLFORM_DATABASE_URL": database, "POOLFORM_SECRET_KEYS": KEY, **environment}
        machines.append(Person.at(tmp_path / name, aws.environment, cli_config, **shared))
    one, other = machines
    variables = [word.format(**network) for word in VARIABLES]
    one("work-pool", "create", "p", "--type", "ecs:push", "--provision-infra", "--yes", *variables, *flags)
    # Terraform's data folder keeps a file of that name, too: the backend's settings.
    for path in (tmp_path / "one" / "home").rglob("terraform.tfstate"):
        assert '"resources"' not in path.read_text()

    other("work-pool", "drift", "p")
    other("deploy", "flows.py:greet", "--name", "n", "--pool", "p", "--job-variable", f"image={IMAGE}")
    other("deployment", "run", "greet/n", "--watch")
    other("work-pool", "provision-infra", "p", "--yes", *variables, "--set", "log_retention_days=7")
    one("work-pool", "drift", "p")
    shutil.rmtree(tmp_path / "one" / "home" / "pools", ignore_errors=True)  # that machine is lost
    one("work-pool", "deprovision", "p", "--yes")
    after = {kind: names for kind, names in aws.inventory().items() if names != before[kind]}
    assert after == {}
    secrets = [*environment.values(), aws.environment["AWS_SECRET_ACCESS_KEY"]]
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert not any(secret.encode() in path.read_bytes() for secret in secrets), path


# Of nobody's: made for this test.
KEY = "ZmVybmV0LWtleS1mb3ItdGVzdHMtb25seS0wMDAwMDA="


def test_a_second_machine_waits_for_the_first(aws, network, cli_config, tmp_path):
    """The lock that S3 keeps itself tells who holds it."""
    bucket = f"locks-{tmp_path.name[-12:].replace('_', '-').lower()}"
    aws.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    settings = {"bucket": bucket, "key": "p", "region": "eu-west-1", "use_lockfile": "true", "use_path_style": "true"}
    flags = [word for pair in settings.items() for word in ("--backend-config", "=".join(pair))]
    shared = {"POOLFORM_DATABASE_URL": f"sqlite:///{tmp_path / 'team.db'}", "POOLFORM_SECRET_KEYS": KEY}
    one, other = (Person.at(tmp_path / name, aws.environment, cli_config, **shared) for name in ("one", "other"))
    variables = [word.format(**network) for word in VARIABLES]
    making, refused_too = threading.Event(), threading.Event()

    def meanwhile(_):
        making.set()
        refused_too.wait(60)

    aws.faults.add(Fault("ecr:CreateRepository", "call-after", hook=meanwhile))
    create = ("work-pool", "create", "p", "--type", "ecs:push", "--provision-infra", "--yes", *variables)
    first = one.start(*create, "--backend", "s3", *flags)
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
