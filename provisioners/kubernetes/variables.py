"""What a person may say about a Kubernetes pool before it is provisioned, and what Terraform gives back."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from poolform.core.pools.contract import Outputs, Variables
from poolform.provisioners.kubernetes.quantities import PATTERN, canonical

CredentialKind = Literal["ambient", "impersonate"]

# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names
Label = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Subdomain = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
Registry = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*(:[0-9]{1,5})?(/[a-z0-9._-]+)*$")]
# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
Quantity = Annotated[str, StringConstraints(pattern=PATTERN)]
# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?", re.ASCII)
_VALUE = re.compile(r"([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?", re.ASCII)
_LIMITED = ("cpu", "memory", "ephemeral-storage")
_OURS = ("poolform-", "kubernetes.io/", "k8s.io/", "app.kubernetes.io/managed-by")


def _placed(kubeconfig: str) -> str:
    """Name files so that they are found from everywhere: Terraform works in a folder of its own."""
    parts = (part for part in kubeconfig.split(os.pathsep) if part)
    return os.pathsep.join(part if part.startswith("~") else str(Path(part).absolute()) for part in parts)


def _labels(labels: dict[str, str]) -> dict[str, str]:
    for key, value in labels.items():
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is not a label's key: letters, digits, - _ . and at most 63 of them")
        if not _VALUE.fullmatch(value):
            raise ValueError(f"{value!r} is not a label's value: letters, digits, - _ . and at most 63 of them")
        if key.startswith(_OURS):
            raise ValueError(f"{key}: labels that start with {' or '.join(_OURS)} are reserved")
    return labels


def _annotations(annotations: dict[str, str]) -> dict[str, str]:
    for key in annotations:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is not an annotation's key, such as eks.amazonaws.com/role-arn")
    return annotations


def _quota(hard: dict[str, str]) -> dict[str, str]:
    for name in hard:
        if not _KEY.fullmatch(name):
            raise ValueError(f"{name!r} is nothing that a quota counts, such as requests.cpu or count/jobs.batch")
    return hard


def _limits(limits: dict[str, str]) -> dict[str, str]:
    unknown = sorted(limits.keys() - set(_LIMITED))
    if unknown:
        raise ValueError(f"{', '.join(unknown)} cannot be limited here; {', '.join(_LIMITED)} can")
    return limits


Kubeconfig = Annotated[str, StringConstraints(min_length=1), AfterValidator(_placed)]
Labels = Annotated[dict[str, str], AfterValidator(_labels)]
Annotations = Annotated[dict[str, str], AfterValidator(_annotations)]
Quota = Annotated[dict[str, Quantity], AfterValidator(_quota)]
Limits = Annotated[dict[str, Annotated[Quantity, AfterValidator(canonical)]], AfterValidator(_limits)]


class KubernetesVariables(Variables):
    """The inputs of the Kubernetes module. Existing things are used only where they are named, and never changed."""

    kubeconfig: Kubeconfig = Field(
        "~/.kube/config",
        description="The kubeconfig file to reach the cluster with; several are separated by colons, as in KUBECONFIG.",
    )
    context: str | None = Field(
        None,
        min_length=1,
        description="Context of the kubeconfig; none where Poolform itself runs in the cluster, as a pod.",
    )
    credentials: CredentialKind = Field(
        "ambient",
        description="How jobs are launched: ambient (as whoever the context, or the pod that dispatches, is) or "
        "impersonate (the same, acting as a service account that may launch jobs here and nothing else).",
    )

    namespace: Label | None = Field(
        None, description="An existing namespace to use; the pool makes its own where none is named."
    )
    registry: Registry | None = Field(
        None, description="Where images of this pool are pushed to, such as ghcr.io/acme; the cluster must reach it."
    )
    image_pull_secrets: list[Subdomain] = Field(
        default_factory=list, description="Existing secrets of the namespace that images are pulled with, by name."
    )
    service_account_annotations: Annotations = Field(
        default_factory=dict,
        description="Annotations of the service account that jobs run as, such as those that make it something in a "
        "cloud (eks.amazonaws.com/role-arn).",
    )
    network: Literal["egress-only", "open"] = Field(
        "egress-only", description="egress-only: nothing can connect to a job, and jobs can call out; open: no policy."
    )
    quota: Quota = Field(
        default_factory=dict,
        description="What all jobs together may use, such as requests.cpu or count/jobs.batch; the pool's own "
        "namespace only.",
    )
    default_requests: Limits = Field(
        default_factory=dict, description="cpu and memory that a job asks for where it does not say."
    )
    default_limits: Limits = Field(
        default_factory=dict, description="cpu and memory that a job may use where it does not say."
    )
    max_limits: Limits = Field(default_factory=dict, description="The most cpu and memory that one job may ask for.")
    labels: Labels = Field(default_factory=dict, description="Labels put on everything that the pool makes.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        shared = self.quota or self.default_requests or self.default_limits or self.max_limits
        if self.namespace is not None and shared:
            raise ValueError(
                "quota, default_requests, default_limits and max_limits would bind everybody in the existing "
                "namespace; they are for a namespace of the pool's own"
            )
        return self


class KubernetesOutputs(Outputs):
    """What the Kubernetes module gives back; the connection uses every one of them."""

    namespace: str
    service_account: str
    """What jobs run as."""
    launcher: str
    """What launches them: a service account of the namespace, by name."""
    prefix: str
    """What the names of the pool's things begin with; ends in the pool's id."""
