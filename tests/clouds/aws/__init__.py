"""An AWS account on loopback: moto, behind a proxy that owns what moto gets wrong.

It runs each started task's command for real, writes its output to CloudWatch Logs, keeps task state, client tokens and
limits as ECS does, decides every call by the caller's own policies, records the permissions used, and brings trouble
on request. Terraform's hashicorp/aws provider and boto3 both reach it through AWS_ENDPOINT_URL.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clouds.aws.accounts import ACCOUNT, Accounts
from clouds.aws.definitions import Definitions
from clouds.aws.faults import Fault, Faults
from clouds.aws.proxy import Call, Proxy, serving
from clouds.aws.tasks import Clock, Tasks

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ACCOUNT", "Aws", "Call", "Fault", "running"]

REGION = "eu-west-1"


@dataclass(frozen=True)
class Aws:
    """One running account. `environment` is what a process needs to be its administrator."""

    endpoint: str
    environment: dict[str, str]
    tasks: Tasks
    definitions: Definitions
    faults: Faults
    clock: Clock
    proxy: Proxy

    @property
    def calls(self) -> list[Call]:
        return self.proxy.calls

    def client(self, service: str, environment: dict[str, str] | None = None) -> Any:
        """A boto3 client of this account, the administrator's unless another environment is given."""
        import boto3

        env = environment or self.environment
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        )

    def user(self, name: str, policy: dict[str, Any] | None) -> dict[str, str]:
        """Make a user with one inline policy; returns the environment of a process that is this user."""
        return _user(self.endpoint, name, policy)

    def inventory(self) -> dict[str, list[str]]:
        """Everything in the account that a pool could leave behind, by kind; AWS's own and removed things left out."""
        from clouds.aws.inventory import inventory

        return inventory(self.definitions, self.tasks, REGION)


@contextmanager
def running() -> Iterator[Aws]:
    """Run a fresh account until the block ends."""
    from moto.core.base_backend import BackendDict  # noqa: F401 - backends register themselves on import
    from moto.moto_api._internal.models import moto_api_backend

    moto_api_backend.reset()
    accounts, definitions, faults, clock = Accounts(), Definitions(), Faults(), Clock()
    tasks = Tasks(accounts, definitions, clock)
    proxy = Proxy(accounts, definitions, tasks, faults)
    with serving(proxy) as endpoint:
        everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        environment = _user(endpoint, "administrator", everything)
        try:
            yield Aws(endpoint, environment, tasks, definitions, faults, clock, proxy)
        finally:
            tasks.close()


def _user(endpoint: str, name: str, policy: dict[str, Any] | None) -> dict[str, str]:
    from moto.iam.models import iam_backends

    iam = iam_backends[ACCOUNT]["aws"]
    iam.create_user("us-east-1", name)
    if policy is not None:
        iam.put_user_policy(name, "all", json.dumps(policy))
    key = iam.create_access_key(name)
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }
