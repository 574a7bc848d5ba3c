"""The settings of one job on ECS, under the names of Prefect's base job template where it has one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from poolform.core.pools.contract import JobVariables

if TYPE_CHECKING:
    from collections.abc import Mapping


class CapacityProvider(BaseModel):
    """One member of a capacity provider strategy, spelt as in the ECS API."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    capacityProvider: str  # noqa: N815 - the API's name
    weight: int = Field(1, ge=0, le=1000)
    base: int = Field(0, ge=0, le=100_000)


class EcsJobVariables(JobVariables):
    """What a deployment or a run may say about its ECS task."""

    image: str = Field("python:3.12-slim", description="Image that the job runs in; any with Python 3.8 or newer.")
    cpu: int = Field(
        256, description="CPU units, 1024 to a core. Fargate takes 256, 512, 1024, 2048, 4096, 8192, 16384."
    )
    memory: int = Field(512, description="Memory in MiB; Fargate takes certain amounts for each number of CPU units.")
    cpu_architecture: Literal["X86_64", "ARM64"] = Field("X86_64", description="Architecture of the image.")
    ephemeral_storage: int | None = Field(None, ge=21, le=200, description="Disk in GiB; 20 where it is not set.")
    launch_type: Literal["FARGATE", "FARGATE_SPOT"] = Field(
        "FARGATE", description="FARGATE_SPOT is cheaper, and AWS may take it back within two minutes."
    )
    capacity_provider_strategy: list[CapacityProvider] = Field(
        default_factory=list, description="How to spread jobs over capacity providers; overrules launch_type."
    )

    cluster: str | None = Field(None, description="Cluster to run in; the pool's own where it is not set.")
    network_configuration: dict[str, Any] = Field(
        default_factory=dict,
        description="awsvpcConfiguration: subnets, securityGroups, assignPublicIp; the pool's own where not set.",
    )
    execution_role_arn: str | None = Field(None, description="Role with which ECS starts the job; the pool's own.")
    task_role_arn: str | None = Field(None, description="Role that the running flow has in AWS; the pool's own.")

    family: str | None = Field(None, description="A word of your own in the name of the task definition.")
    task_definition_arn: str | None = Field(
        None, description="An existing task definition to run as it is; image, cpu, memory and roles are then its own."
    )
    container_name: str = Field("flow", pattern=r"^[A-Za-z0-9_-]{1,255}$", description="Name of the job's container.")
    secret_arns: dict[str, str] = Field(
        default_factory=dict,
        description="Environment variables that ECS fills in itself, each with the ARN of a Secrets Manager secret or "
        "Parameter Store parameter; the pool's readable_secrets must cover it.",
    )

    configure_cloudwatch_logs: bool = Field(
        True, description="Send output to CloudWatch; without, Poolform cannot show the job's logs."
    )
    cloudwatch_logs_prefix: str = Field("flow", description="First part of the names of log streams.")
    cloudwatch_logs_options: dict[str, str] = Field(
        default_factory=dict, description="More options of the awslogs driver, or others instead."
    )


# Filled in for each job. Both halves are requests of the ECS API, so that a platform team can add what it needs to a
# pool's base job template: sidecars and volumes to the one, placement and tags to the other.
JOB_CONFIGURATION: Mapping[str, Any] = {
    "name": "{{ name }}",
    "command": "{{ command }}",
    "env": "{{ env }}",
    "labels": "{{ labels }}",
    "container_name": "{{ container_name }}",
    "family": "{{ family }}",
    "secret_arns": "{{ secret_arns }}",
    "launch_type": "{{ launch_type }}",
    "configure_cloudwatch_logs": "{{ configure_cloudwatch_logs }}",
    "cloudwatch_logs_prefix": "{{ cloudwatch_logs_prefix }}",
    "cloudwatch_logs_options": "{{ cloudwatch_logs_options }}",
    "task_definition_arn": "{{ task_definition_arn }}",
    "task_definition": {
        "cpu": "{{ cpu }}",
        "memory": "{{ memory }}",
        "executionRoleArn": "{{ execution_role_arn }}",
        "taskRoleArn": "{{ task_role_arn }}",
        "ephemeralStorage": {"sizeInGiB": "{{ ephemeral_storage }}"},
        "runtimePlatform": {"cpuArchitecture": "{{ cpu_architecture }}", "operatingSystemFamily": "LINUX"},
        "containerDefinitions": [{"name": "{{ container_name }}", "image": "{{ image }}"}],
    },
    "task_run_request": {
        "cluster": "{{ cluster }}",
        "capacityProviderStrategy": "{{ capacity_provider_strategy }}",
        "networkConfiguration": {"awsvpcConfiguration": "{{ network_configuration }}"},
    },
}
