"""The settings of one job on Kubernetes, under the names of Prefect's base job template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from poolform.core.pools.contract import JobVariables
from poolform.provisioners.kubernetes.variables import Quantity

if TYPE_CHECKING:
    from collections.abc import Mapping


class KubernetesJobVariables(JobVariables):
    """What a deployment or a run may say about its Job."""

    image: str = Field("python:3.12-slim", description="Image that the job runs in; any with Python 3.8 or newer.")
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = Field(
        "IfNotPresent", description="When the image is pulled."
    )
    cpu_request: Quantity | None = Field(None, description="CPU that a node must have free for the job, such as 500m.")
    cpu_limit: Quantity | None = Field(None, description="CPU that the job gets at most.")
    memory_request: Quantity | None = Field(
        None, description="Memory that a node must have free for the job, such as 512Mi."
    )
    memory_limit: Quantity | None = Field(None, description="Memory over which the job is killed.")
    namespace: str | None = Field(None, description="The pool's own namespace, and no other.")
    service_account_name: str | None = Field(
        None, description="Service account that the job runs as; the pool's own where it is not set."
    )
    annotations: dict[str, str] = Field(default_factory=dict, description="Annotations of the Job.")
    finished_job_ttl: int | None = Field(
        None,
        ge=0,
        description="Seconds after which Kubernetes removes an ended Job that Poolform has not removed yet; a day at "
        "least.",
    )
    job_watch_timeout_seconds: int | None = Field(
        None, ge=1, description="Seconds after which Kubernetes stops the Job, its waiting time included."
    )
    pod_watch_timeout_seconds: int = Field(
        300,
        ge=1,
        description="Seconds that a job may wait for a node, its image or its configuration before it is given up.",
    )


# Filled in for each job. The manifest is the Kubernetes API's own, so that a platform team can add what it needs to a
# pool's base job template: volumes, node selectors, tolerations, sidecars.
JOB_CONFIGURATION: Mapping[str, Any] = {
    "name": "{{ name }}",
    "command": "{{ command }}",
    "env": "{{ env }}",
    "labels": "{{ labels }}",
    "namespace": "{{ namespace }}",
    "pod_watch_timeout_seconds": "{{ pod_watch_timeout_seconds }}",
    "job_manifest": {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"annotations": "{{ annotations }}"},
        "spec": {
            "activeDeadlineSeconds": "{{ job_watch_timeout_seconds }}",
            "ttlSecondsAfterFinished": "{{ finished_job_ttl }}",
            "template": {
                "spec": {
                    "serviceAccountName": "{{ service_account_name }}",
                    "containers": [
                        {
                            "name": "flow",
                            "image": "{{ image }}",
                            "imagePullPolicy": "{{ image_pull_policy }}",
                            "resources": {
                                "requests": {"cpu": "{{ cpu_request }}", "memory": "{{ memory_request }}"},
                                "limits": {"cpu": "{{ cpu_limit }}", "memory": "{{ memory_limit }}"},
                            },
                        }
                    ],
                }
            },
        },
    },
}
