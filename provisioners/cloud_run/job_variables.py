"""The settings of one job on Cloud Run, under the names of Prefect's base job templates where they have one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from poolform.core.pools.contract import JobVariables

if TYPE_CHECKING:
    from collections.abc import Mapping


class SecretReference(BaseModel):
    """A secret of Secret Manager and which version of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    secret: str = Field(description="Its name, or projects/PROJECT/secrets/NAME.")
    version: str = "latest"


class CloudRunJobVariables(JobVariables):
    """What a deployment or a run may say about its Cloud Run job."""

    image: str = Field("python:3.12-slim", description="Image that the job runs in; any with Python 3.8 or newer.")
    args: list[str] = Field(default_factory=list, description="Arguments after the command.")
    cpu: str = Field(
        "1000m", pattern=r"^(\d+000m|\d+)$", description="CPU: 1, 2, 4, 6 or 8, or the same in thousandths (1000m)."
    )
    memory: str = Field(
        "512Mi", pattern=r"^\d+(?:G|Gi|M|Mi)$", description="Memory; Cloud Run takes certain amounts for each CPU."
    )
    timeout: int = Field(
        3600, gt=0, le=604_800, description="Seconds after which Cloud Run stops the job; at most seven days."
    )
    service_account_name: str | None = Field(
        None, description="Email of the service account that the running flow is; the pool's own where not set."
    )
    env_from_secrets: dict[str, SecretReference] = Field(
        default_factory=dict,
        description="Environment variables that Cloud Run fills in itself from Secret Manager; the service account of "
        "the job must be allowed to read them (runtime_roles).",
    )
    cloudsql_instances: list[str] = Field(
        default_factory=list,
        description="Cloud SQL instances as project:region:instance, reached below /cloudsql in the job.",
    )
    vpc_connector_name: str | None = Field(None, description="VPC connector; the pool's own where it is not set.")
    network: str | None = Field(None, description="VPC network for direct egress; the pool's own where not set.")
    subnetwork: str | None = Field(None, description="Subnet for direct egress; the pool's own where not set.")
    vpc_egress: Literal["private-ranges-only", "all-traffic"] = Field(
        "private-ranges-only", description="What of the job's traffic goes by the VPC, where there is one."
    )
    launch_stage: Literal["ALPHA", "BETA", "GA"] = Field(
        "GA", description="The least mature features of Cloud Run that the job may use."
    )
    max_retries: Literal[0] = Field(
        0, description="Always 0: retries are the flow's, so that none is run behind Poolform's back."
    )


# Filled in for each job. `job_body` is a Job of Cloud Run's API, so that a platform team can add what it needs to a
# pool's base job template: volumes, annotations, a second container.
JOB_CONFIGURATION: Mapping[str, Any] = {
    "name": "{{ name }}",
    "command": "{{ command }}",
    "env": "{{ env }}",
    "labels": "{{ labels }}",
    "env_from_secrets": "{{ env_from_secrets }}",
    "cloudsql_instances": "{{ cloudsql_instances }}",
    "vpc_egress": "{{ vpc_egress }}",
    "job_body": {
        "client": "poolform",
        "launchStage": "{{ launch_stage }}",
        "template": {
            "template": {
                "containers": [
                    {
                        "image": "{{ image }}",
                        "args": "{{ args }}",
                        "resources": {"limits": {"cpu": "{{ cpu }}", "memory": "{{ memory }}"}},
                    }
                ],
                "maxRetries": "{{ max_retries }}",
                "serviceAccount": "{{ service_account_name }}",
                "timeout": "{{ timeout }}s",
                "vpcAccess": {
                    "connector": "{{ vpc_connector_name }}",
                    "networkInterfaces": [{"network": "{{ network }}", "subnetwork": "{{ subnetwork }}"}],
                },
            }
        },
    },
}
