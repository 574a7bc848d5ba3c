"""The pool types `ecs:push` and `ecs`: what they are made of, who may make them, and how their keys come and go."""

from __future__ import annotations

import configparser
import os
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from poolform.core.pools.contract import Connection, PoolType, Provider
from poolform.provisioners.ecs import cleanup, identity, keys, orphans, registry, session
from poolform.provisioners.ecs.job_variables import JOB_CONFIGURATION, EcsJobVariables
from poolform.provisioners.ecs.launcher import EcsLauncher
from poolform.provisioners.ecs.permissions import GIVEN_NETWORK, KEYS, given_key, needed
from poolform.provisioners.ecs.variables import EcsOutputs, EcsVariables

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from poolform.core.pools.contract import Credential, Finding, Identity, Orphan
    from poolform.core.runs.docker import RegistryLogin
    from poolform.core.runs.launchers import Json, Launcher

# In the order in which a plan tells it: the network, where jobs run, who they are, who launches them.
NOUNS: Mapping[str, str] = {
    "terraform_data.zones": "a note in the state: the zones that are open today, so that later ones move nothing",
    "aws_vpc": "a network {cidr_block}",
    "aws_default_security_group": "a default security group without rules, in place of the one that AWS makes",
    "aws_subnet.jobs": "a subnet {cidr_block} in {availability_zone}, for jobs",
    "aws_subnet.nat": "a subnet {cidr_block} in {availability_zone}, for the NAT gateway",
    "aws_internet_gateway": "an internet gateway",
    "aws_eip": "a public address for the NAT gateway",
    "aws_nat_gateway": "a NAT gateway",
    "aws_route_table.jobs": "a route table for the subnets of jobs",
    "aws_route_table.nat": "a route table for the subnet of the NAT gateway",
    "aws_route.jobs": "a route from the subnets of jobs to {destination_cidr_block}",
    "aws_route.nat": "a route from the NAT gateway to {destination_cidr_block}",
    "aws_route_table_association.jobs": "attach a subnet of jobs to its route table",
    "aws_route_table_association.nat": "attach the subnet of the NAT gateway to its route table",
    "aws_vpc_endpoint": "a direct way from the network to S3",
    "aws_security_group": "a security group {name}, which lets jobs call out and nothing in",
    "aws_vpc_security_group_egress_rule": "a way out of the network to {cidr_ipv4}",
    "aws_kms_key": "an encryption key for images, job output and job secrets",
    "aws_kms_alias": "a name for the encryption key, {name}",
    "aws_kms_key_policy": "the permissions of the encryption key: CloudWatch may use it",
    "aws_ecs_cluster": "an ECS cluster named {name}",
    "aws_ecs_cluster_capacity_providers": "the capacity providers Fargate and Fargate Spot for {cluster_name}",
    "aws_ecr_repository": "an ECR repository named {name}",
    "aws_ecr_lifecycle_policy": "a rule for {repository}: untagged images expire",
    "aws_cloudwatch_log_group": "a log group {name} for the output of jobs",
    "aws_iam_role.execution": "a role {name}, with which ECS starts jobs",
    "aws_iam_role_policy": "the permissions of the role {role}",
    "aws_iam_role.task": "a role {name}, which running flows have",
    "aws_iam_role_policy_attachment.task": "attach the policy {policy_arn} to the role of running flows",
    "terraform_data.principal": "a note in the state: who applied the pool first, and may act as the launcher",
    "aws_iam_role.launcher": "a role {name}, with which jobs are launched",
    "aws_iam_user": "a user {name}, as whom jobs are launched",
    "aws_iam_policy": "a policy {name}: launching jobs of this pool, and nothing else",
    "aws_iam_role_policy_attachment.launcher": "attach that policy to the role {role}",
    "aws_iam_user_policy_attachment": "attach that policy to the user {user}",
}


class EcsPush(PoolType):
    """Fargate tasks that get all they need in their environment, so that nothing has to listen."""

    slug = "ecs:push"
    title = "Amazon ECS, push"
    description = "Fargate tasks launched from anywhere; jobs need no route back."
    variables = EcsVariables
    outputs = EcsOutputs
    job_variables = EcsJobVariables
    job_configuration = JOB_CONFIGURATION
    providers: ClassVar[Mapping[str, Provider]] = {"aws": Provider("hashicorp/aws", "~> 5.100")}
    extra = "poolform[aws]"
    templates = files("poolform.templates") / "ecs"
    nouns = NOUNS

    def discover(self) -> Mapping[str, Json]:
        """Return the region that AWS's own tools would use."""
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or _configured_region()
        return {"region": region} if region else {}

    def identity(self, variables: EcsVariables) -> Identity:
        """Return who the environment's AWS credentials belong to."""
        return identity.identify(variables.region)

    def preflight(self, variables: EcsVariables, resources: Sequence[str]) -> Iterable[Finding]:
        """Ask IAM about each permission that these resource types, the network and the launcher's key need."""
        permissions = set(needed(resources))
        if variables.credentials == "key":
            permissions.update(KEYS)
        if variables.vpc_id is not None:
            permissions.update(GIVEN_NETWORK)
        if variables.kms_key_arn is not None:
            permissions.update(given_key(variables.kms_key_arn))
        return identity.check(variables.region, permissions)

    def connect(self, variables: EcsVariables, outputs: EcsOutputs) -> Connection:
        """Say where and as whom jobs run, and where their images and output go."""
        network = {
            "subnets": outputs.subnet_ids,
            "securityGroups": outputs.security_group_ids,
            "assignPublicIp": "ENABLED" if outputs.assign_public_ip else "DISABLED",
        }
        return Connection(
            settings={
                "region": variables.region,
                "credentials": variables.credentials,
                "dispatchers": variables.trusted_principals,
                "tags": {**variables.tags, "poolform-pool-id": outputs.prefix.rsplit("-", 1)[-1]},
                **outputs.model_dump(),
            },
            job_defaults={
                "cluster": outputs.cluster_arn,
                "execution_role_arn": outputs.execution_role_arn,
                "task_role_arn": outputs.task_role_arn,
                "network_configuration": network,
            },
            image_namespace=outputs.repository_url,
        )

    def launcher(self, connection: Connection, credential: Credential | None) -> Launcher:
        """Return a launcher that acts as the pool's launcher identity."""
        return EcsLauncher(session.Clients.of_launcher(connection.settings, credential), connection.settings)

    def wants_key(self, variables: EcsVariables) -> bool:
        """Say whether the pool is to have an access key."""
        return variables.credentials == "key"

    def issued(self, variables: EcsVariables, connection: Connection) -> Sequence[str]:
        """Return the ids of the keys of the launcher user."""
        return keys.issued(connection)

    def mint(self, variables: EcsVariables, connection: Connection) -> Credential:
        """Make an access key of the launcher user."""
        return keys.mint(connection)

    def revoke(self, variables: EcsVariables, connection: Connection, key_id: str) -> None:
        """Delete an access key of the launcher user."""
        keys.revoke(connection, key_id)

    def authenticate(self, connection: Connection, credential: Credential | None) -> Finding:
        """List the pool's tasks as its launcher."""
        return keys.authenticate(connection, credential)

    def image_reference(self, connection: Connection, name: str, tag: str) -> str:
        """Return an image's name in the pool's repository."""
        return registry.reference(connection, name, tag)

    def registry_login(self, connection: Connection) -> RegistryLogin:
        """Return a login for the pool's repository, as whoever deploys."""
        return registry.login(connection)

    def disconnect(self, connection: Connection, credential: Credential | None) -> None:
        """Stop the pool's tasks, and delete their definitions and secrets."""
        cleanup.disconnect(connection, credential)

    def orphans(self, variables: EcsVariables, pool_id: str, known: Sequence[str]) -> Iterable[Orphan]:
        """Find what an interrupted apply made and the state missed."""
        return [orphan for orphan in orphans.find(variables, pool_id) if orphan.address not in known]


class Ecs(EcsPush):
    """The same infrastructure, for people who keep a worker near it."""

    slug = "ecs"
    title = "Amazon ECS"
    description = "Fargate tasks launched by a worker that runs near the pool."


def _configured_region() -> str | None:
    """Read the profile's region as AWS's tools would, without waiting for boto3 to load."""
    parser = configparser.ConfigParser()
    path = Path(os.environ.get("AWS_CONFIG_FILE") or "~/.aws/config").expanduser()
    profile = os.environ.get("AWS_PROFILE", "default")
    try:
        parser.read(path, encoding="utf-8")
        section = profile if profile == "default" else f"profile {profile}"
        return parser.get(section, "region", fallback=None)
    except (configparser.Error, OSError, UnicodeDecodeError):
        return None
