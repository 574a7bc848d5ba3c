"""hashicorp/google: ids and names as its documentation gives them, what replaces, what needs an API activated."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

from poolform.testing.standin.behaviour import Behaviour, Resource, Validator, digest, digits, uuid

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolform.testing.standin.behaviour import Compute
    from poolform.testing.standin.cloud import Objects
    from poolform.testing.standin.values import Attributes

_TIME = "2026-01-01T00:00:00.000000Z"
_LABELS = ("effective_labels", "terraform_labels")


def _needs(api: str) -> Callable[[Attributes, Objects], str | None]:
    """Refuse objects of an API that no project service activates, as new projects do."""

    def check(new: Attributes, objects: Objects) -> str | None:
        if any(item["service"] == api for item in objects.get("google_project_service", {}).values()):
            return None
        return (
            f"Error creating object: googleapi: Error 403: {api} has not been used in project {new['project']} before"
            " or it is disabled. Enable it, then retry."
        )

    return check


def _labelled(id_: str, **also: Any) -> Compute:
    """Return an object's id, the labels that the provider adds up, and more."""

    def compute(given: Attributes, _objects: Objects) -> Attributes:
        labels = {**(given.get("default_labels") or {}), **(given.get("labels") or {})}
        texts = {name: item.format_map(given) if isinstance(item, str) else item for name, item in also.items()}
        return {"id": id_.format_map(given), **dict.fromkeys(_LABELS, labels), **texts}

    return compute


def _service_account(given: Attributes, _objects: Objects) -> Attributes:
    email = f"{given['account_id']}@{given['project']}.iam.gserviceaccount.com"
    name = f"projects/{given['project']}/serviceAccounts/{email}"
    return {
        "id": name,
        "name": name,
        "email": email,
        "member": f"serviceAccount:{email}",
        "unique_id": "1" + digits(email, size=20),
    }


def _service_account_key(given: Attributes, objects: Objects) -> Attributes:
    account = given["service_account_id"]
    if not account.startswith("projects/"):
        account = f"projects/-/serviceAccounts/{account}"
    email = account.rsplit("/", 1)[1]
    key_id = digest(account, len(objects.get("google_service_account_key", {})), size=40)
    credential = {
        "type": "service_account",
        "project_id": given["project"],
        "private_key_id": key_id,
        "private_key": f"-----BEGIN STANDIN KEY-----\n{key_id}\n-----END STANDIN KEY-----\n",
        "client_email": email,
        "client_id": digits(email, size=21),
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    name = f"{account}/keys/{key_id}"
    return {
        "id": name,
        "name": name,
        "private_key": base64.b64encode(json.dumps(credential, indent=2).encode()).decode(),
        "public_key": base64.b64encode(key_id.encode()).decode(),
        "valid_after": _TIME,
        "valid_before": "9999-12-31T23:59:59Z",
    }


def _job(given: Attributes, objects: Objects) -> Attributes:
    id_ = "projects/{project}/locations/{location}/jobs/{name}"
    again = objects.get("google_cloud_run_v2_job", {}).get(id_.format_map(given))
    generation = str(int(again["generation"]) + 1 if again else 1)
    who = "standin@example.com"
    return {
        **_labelled(id_, create_time=_TIME, update_time=_TIME, creator=who, last_modifier=who)(given, objects),
        "uid": uuid(given["project"], given["location"], given["name"]),
        "generation": generation,
        "observed_generation": generation,
    }


def _member(id_: str) -> Resource:
    """Return how an IAM membership behaves: never changed in place, and had already is fine."""
    return Resource(
        {"id": f"{id_}/{{role}}/{{member}}", "etag": "BwYstandin0="},
        from_provider=("project",) if "{project}" in id_ else (),
        force_new="all",
        adopts=True,
    )


def _named(kind: str, *fixed: str, needs: str | None = None, **also: Any) -> Resource:
    """Return how an object under a project behaves whose id is `kind`."""
    return Resource(
        {"id": kind, **also},
        defaults={"deletion_policy": "DELETE"},
        from_provider=("project", "region") if "{region}" in kind else ("project",),
        force_new=("project", *fixed),
        conflict="Error creating {type}: googleapi: Error 409: {id} already exists",
        requires=_needs(needs) if needs else None,
    )


_REPOSITORY = "projects/{project}/locations/{location}/repositories/{repository_id}"
_POOL = "projects/{project}/locations/global/workloadIdentityPools/{workload_identity_pool_id}"
_NETWORK = "projects/{project}/global/networks/{name}"
_SUBNETWORK = "projects/{project}/regions/{region}/subnetworks/{name}"
_CONNECTOR = "projects/{project}/locations/{region}/connectors/{name}"
_COMPUTE = "https://www.googleapis.com/compute/v1/"

BEHAVIOUR = Behaviour(
    environment={"project": "standin-project", "region": "us-central1"},
    resources={
        "google_project_service": Resource(
            {"id": "{project}/{service}"},
            defaults={"disable_on_destroy": False},
            from_provider=("project",),
            force_new=("project", "service"),
            adopts=True,
            abandons=lambda prior: not prior["disable_on_destroy"],
        ),
        "google_artifact_registry_repository": Resource(
            _labelled(
                _REPOSITORY,
                name="{repository_id}",
                create_time=_TIME,
                update_time=_TIME,
                registry_uri="{location}-docker.pkg.dev/{project}/{repository_id}",
            ),
            defaults={"mode": "STANDARD_REPOSITORY"},
            from_provider=("project",),
            force_new=("project", "location", "repository_id", "format", "mode", "kms_key_name"),
            touched=("update_time", *_LABELS),
            conflict="Error creating Repository: googleapi: Error 409: the repository already exists",
            requires=_needs("artifactregistry.googleapis.com"),
        ),
        "google_artifact_registry_repository_iam_member": _member(
            "projects/{project}/locations/{location}/repositories/{repository}"
        ),
        "google_cloud_run_v2_job": Resource(
            _job,
            defaults={"deletion_protection": True},
            from_provider=("project",),
            force_new=("project", "location", "name"),
            touched=("update_time", "etag", "generation", "observed_generation", *_LABELS),
            conflict="Error creating Job: googleapi: Error 409: Resource '{name}' already exists.",
            requires=_needs("run.googleapis.com"),
            protected_by="deletion_protection",
        ),
        "google_cloud_run_v2_job_iam_member": _member("projects/{project}/locations/{location}/jobs/{name}"),
        "google_service_account": Resource(
            _service_account,
            defaults={"disabled": False},
            from_provider=("project",),
            force_new=("project", "account_id"),
            validators={
                "account_id": Validator(
                    re.compile(r"[a-z](?:[-a-z0-9]{4,28}[a-z0-9])").fullmatch,
                    '"account_id" ("{}") doesn\'t match regexp "^[a-z](?:[-a-z0-9]{{4,28}}[a-z0-9])$"',
                )
            },
            conflict="Error creating service account: googleapi: Error 409: Service account {account_id} already"
            " exists within project {project}.",
        ),
        "google_service_account_iam_member": _member("{service_account_id}"),
        "google_service_account_key": Resource(
            _service_account_key,
            defaults={
                "key_algorithm": "KEY_ALG_RSA_2048",
                "private_key_type": "TYPE_GOOGLE_CREDENTIALS_FILE",
                "public_key_type": "TYPE_X509_PEM_FILE",
            },
            force_new="all",
        ),
        "google_project_iam_member": _member("{project}"),
        "google_project_iam_custom_role": _named(
            "projects/{project}/roles/{role_id}", "role_id", name="projects/{project}/roles/{role_id}"
        ),
        "google_compute_network": _named(
            _NETWORK,
            "name",
            "auto_create_subnetworks",
            self_link=_COMPUTE + _NETWORK,
            needs="compute.googleapis.com",
        ),
        "google_compute_subnetwork": _named(
            _SUBNETWORK,
            "name",
            "region",
            "network",
            self_link=_COMPUTE + _SUBNETWORK,
            needs="compute.googleapis.com",
        ),
        "google_vpc_access_connector": _named(
            _CONNECTOR, "name", "region", "ip_cidr_range", self_link=_CONNECTOR, needs="vpcaccess.googleapis.com"
        ),
        "google_iam_workload_identity_pool": _named(_POOL, "workload_identity_pool_id", name=_POOL, state="ACTIVE"),
        "google_iam_workload_identity_pool_provider": _named(
            f"{_POOL}/providers/{{workload_identity_pool_provider_id}}",
            "workload_identity_pool_id",
            "workload_identity_pool_provider_id",
            name=f"{_POOL}/providers/{{workload_identity_pool_provider_id}}",
            state="ACTIVE",
        ),
        "google_logging_project_bucket_config": Resource(
            {"id": "projects/{project}/locations/{location}/buckets/{bucket_id}", "lifecycle_state": "ACTIVE"},
            force_new=("project", "location", "bucket_id"),
            adopts=True,
        ),
        "google_secret_manager_secret": Resource(
            _labelled("projects/{project}/secrets/{secret_id}", name="projects/{project}/secrets/{secret_id}"),
            defaults={"deletion_policy": "DELETE"},
            from_provider=("project",),
            force_new=("project", "secret_id", "replication"),
            touched=_LABELS,
            conflict="Error creating Secret: googleapi: Error 409: Secret [{id}] already exists.",
            requires=_needs("secretmanager.googleapis.com"),
        ),
        "google_secret_manager_secret_iam_member": _member("projects/{project}/secrets/{secret_id}"),
        "google_secret_manager_secret_version": Resource(
            {"id": "{secret}/versions/1", "name": "{secret}/versions/1", "version": "1"},
            defaults={"enabled": True},
            force_new=("secret", "secret_data", "secret_data_wo_version"),
        ),
        "google_storage_bucket": Resource(
            _labelled("{name}", url="gs://{name}", self_link="https://www.googleapis.com/storage/v1/b/{name}"),
            defaults={"force_destroy": False, "storage_class": "STANDARD"},
            from_provider=("project",),
            force_new=("project", "name", "location"),
            touched=("updated", *_LABELS),
            conflict="googleapi: Error 409: Your previous request to create the named bucket succeeded and you already"
            " own it., conflict",
        ),
        "google_storage_bucket_iam_member": _member("b/{bucket}"),
        "google_storage_bucket_object": Resource(
            {"id": "{bucket}-{name}", "output_name": "{name}"}, force_new=("bucket", "name", "content", "source")
        ),
    },
    data_sources={
        "google_client_config": {
            "id": "projects/{project}/regions/{region}/zones/",
            "project": "{project}",
            "region": "{region}",
            "access_token": "ya29.standin",
        },
        "google_client_openid_userinfo": {"id": "standin@example.com", "email": "standin@example.com"},
        "google_project": lambda given, _objects: {
            "id": f"projects/{given.get('project_id') or given['project']}",
            "project_id": given.get("project_id") or given["project"],
            "name": given.get("project_id") or given["project"],
            "number": digits(given.get("project_id") or given["project"], size=12),
        },
    },
)
