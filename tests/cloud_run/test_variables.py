"""What a person may say about a Cloud Run pool, and what is refused before anything is touched."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from poolform.core.pools.conformance import contract_problems
from poolform.provisioners.cloud_run.pool_type import CloudRun, CloudRunPush
from poolform.provisioners.cloud_run.variables import CloudRunVariables

PROJECT = {"project": "lab-project"}


@pytest.mark.parametrize("pool_type", [CloudRunPush, CloudRun])
def test_the_contract_is_kept(pool_type):
    assert contract_problems(pool_type) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"project": "Lab"}, "String should match"),
        ({"project": "123456789012"}, "String should match"),
        ({"region": "Europe"}, "String should match"),
        ({"region": "us-central1-a"}, "String should match"),
        ({"credentials": "key", "impersonators": ["user:a@b.c"]}, "credentials=impersonate"),
        ({"impersonators": ["allUsers"]}, "String should match"),
        ({"impersonators": ["a@b.c"]}, "String should match"),
        ({"runtime_roles": ["owner"]}, "String should match"),
        ({"network": "vpc"}, "subnet or connector_range must say how"),
        ({"subnet": "jobs"}, "network must name it"),
        ({"connector_range": "10.8.0.0/28"}, "network must name it"),
        ({"network": "vpc", "connector_range": "10.8.0.0/24"}, "must be a /28"),
        ({"network": "vpc", "connector_range": "10.8.0.1/28"}, "CIDR notation"),
        ({"network": "vpc", "subnet": "s", "connector_range": "10.8.0.0/28"}, "exclude each other"),
        ({"network": "vpc", "subnet": "s", "vpc_connector": "c"}, "names an existing connector"),
        ({"network": '${file("/etc/passwd")}', "subnet": "s"}, "String should match"),
        ({"labels": {"Team": "data"}}, "labels have lower-case letters"),
        ({"labels": {"team": "Ä"}}, "labels have lower-case letters"),
        ({"labels": {"poolform-pool-id": "y"}}, "reserved"),
        ({"memory": 512}, "Extra inputs"),
    ],
)
def test_what_makes_no_sense_is_refused(given, said):
    with pytest.raises(ValidationError, match=said):
        CloudRunVariables(**{**PROJECT, **given})


def test_projects_regions_and_principals_of_every_kind_are_known():
    for project in ("lab-project", "example.com:lab-project"):
        assert CloudRunVariables(project=project).project == project
    for region in ("us-central1", "northamerica-northeast2", "europe-west10", "me-central2"):
        assert CloudRunVariables(**PROJECT, region=region).region == region
    pools = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p"
    known = ["group:team@example.com", "domain:example.com", f"principal:{pools}/subject/x", f"principalSet:{pools}/*"]
    assert CloudRunVariables(**PROJECT, impersonators=known).impersonators == known
