"""What an interrupted apply made and its state never heard of, found by the pool's id.

Only what cannot be made twice needs finding: activated APIs and grants are put in place again as if for the first time.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from poolform.core.pools.contract import Orphan
from poolform.provisioners.cloud_run import session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolform.provisioners.cloud_run.session import Google
    from poolform.provisioners.cloud_run.variables import CloudRunVariables


def find(variables: CloudRunVariables, pool_id: str) -> Iterator[Orphan]:
    """Yield every object that bears the pool's id, as the address in the module that it belongs to.

    What the caller may not look at, or whose API is not active yet, is passed over: Terraform then says that it exists.
    """
    with session.sentences("Looking for what an interrupted run left"):
        google = session.Google()
        yield from _accounts(google, variables, pool_id)
        yield from _repository(google, variables, pool_id)
        if variables.code_bucket:
            yield from _bucket(google, pool_id)
        if variables.connector_range is not None:
            yield from _connector(google, variables, pool_id)
        google.close()


def _accounts(google: Google, variables: CloudRunVariables, pool_id: str) -> Iterator[Orphan]:
    project = variables.project
    accounts = {"runtime": f"poolform-run-{pool_id}"}
    roles = {}
    if variables.credentials != "ambient":
        accounts["launcher"] = f"poolform-launch-{pool_id}"
        roles = {"launcher": f"poolform_launcher_{pool_id}", "secrets": f"poolform_secrets_{pool_id}"}
    for name, account in accounts.items():
        path = f"projects/{project}/serviceAccounts/{account}@{_domain(project)}.iam.gserviceaccount.com"
        if _exists(google, "iam", f"v1/{path}"):
            yield Orphan(f"google_service_account.{name}", path)
    for name, role in roles.items():
        path = f"projects/{project}/roles/{role}"
        if _exists(google, "iam", f"v1/{path}"):
            yield Orphan(f"google_project_iam_custom_role.{name}", path)


def _repository(google: Google, variables: CloudRunVariables, pool_id: str) -> Iterator[Orphan]:
    path = f"projects/{variables.project}/locations/{variables.region}/repositories"
    with _permitted():
        for repository in google.pages("artifactregistry", f"v1/{path}", "repositories"):
            # By label too: what is adopted may be destroyed one day.
            ours = repository.get("labels", {}).get("poolform-pool-id") == pool_id
            if ours and repository["name"].endswith(f"-{pool_id}"):
                yield Orphan("google_artifact_registry_repository.images", repository["name"])


def _bucket(google: Google, pool_id: str) -> Iterator[Orphan]:
    name = f"poolform-{pool_id}"
    with _permitted():
        found = google.call("GET", "storage", f"storage/v1/b/{name}")
        # Buckets of the whole world share their names.
        if found.get("labels", {}).get("poolform-pool-id") == pool_id:
            yield Orphan("google_storage_bucket.code", name)


def _connector(google: Google, variables: CloudRunVariables, pool_id: str) -> Iterator[Orphan]:
    path = f"projects/{variables.project}/locations/{variables.region}/connectors/poolform-{pool_id}"
    if _exists(google, "vpcaccess", f"v1/{path}"):
        yield Orphan("google_vpc_access_connector.jobs", path)


def _exists(google: Google, service: str, path: str) -> bool:
    with _permitted():
        return not google.call("GET", service, path).get("deleted", False)
    return False


def _domain(project: str) -> str:
    """Return the part of a service account's address that names its project; of old projects, the wrong way round."""
    domain, _, name = project.rpartition(":")
    return f"{name}.{domain}" if domain else name


@contextmanager
def _permitted() -> Iterator[None]:
    from google.api_core.exceptions import Forbidden, NotFound

    with suppress(Forbidden, NotFound):
        yield
