"""A Google Cloud project on loopback: Cloud Run, IAM, Resource Manager, Logging and Secret Manager.

It shares what Terraform made with the stand-in provider, so a module's own accounts and grants decide who may do what;
it runs each job's command for real, refuses what the APIs' public definitions refuse, and brings trouble on request.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clouds.faults import Fault, Faults
from clouds.google.accounts import Accounts
from clouds.google.jobs import Jobs
from clouds.google.output import Output
from clouds.google.projects import Projects
from clouds.google.server import Door, Route, serving
from clouds.google.vault import Vault

from poolform.testing.standin.behaviour import digits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from poolform.testing.standin import Cloud

__all__ = ["Fault", "Google", "running"]

PROJECT = "lab-project"


@dataclass(frozen=True)
class Google:
    """One running project."""

    endpoint: str
    cloud: Cloud
    accounts: Accounts
    jobs: Jobs
    output: Output
    vault: Vault
    door: Door
    faults: Faults

    def person(self, folder: Path, name: str, permissions: frozenset[str] | None = None) -> dict[str, str]:
        """Make an account with one key; return the environment of a process that is this account. None: may do all."""
        email = f"{name}@{self.accounts.project}.iam.gserviceaccount.com"
        self.accounts.people[email] = permissions
        _, info = self.accounts.add_key(email, f"{self.endpoint}/token")
        path = folder / f"{name}.json"
        path.write_text(json.dumps(info))
        return {
            "GOOGLE_APPLICATION_CREDENTIALS": str(path),
            "GOOGLE_CLOUD_PROJECT": self.accounts.project,
            "POOLFORM_GOOGLE_ENDPOINT": self.endpoint,
            "NO_GCE_CHECK": "true",
        }

    def inventory(self) -> dict[str, list[str]]:
        """Everything that a pool could leave behind, by kind; activated APIs stay, as they are meant to."""
        objects = self.cloud.objects()
        left = {kind: sorted(items) for kind, items in objects.items() if kind != "google_project_service" and items}
        left["jobs"], left["secrets"] = sorted(self.jobs.jobs), sorted(self.vault.secrets)
        left["keys"] = sorted(
            key.key_id for key in self.accounts.keys.values() if key.account not in self.accounts.people
        )
        return {kind: items for kind, items in left.items() if items}


@contextmanager
def running(cloud: Cloud) -> Iterator[Google]:
    """Run a fresh project on top of what the stand-in provider holds, until the block ends."""
    accounts, faults = Accounts(cloud, PROJECT, digits(PROJECT, size=12)), Faults()
    output, vault = Output(PROJECT), Vault(accounts)
    jobs = Jobs(accounts, output, vault)
    with serving() as (endpoint, use):
        door = Door(accounts, _routes(jobs, output, vault, Projects(accounts, endpoint)), faults)
        use(door)
        try:
            yield Google(endpoint, cloud, accounts, jobs, output, vault, door, faults)
        finally:
            jobs.close()


def _routes(jobs: Jobs, output: Output, vault: Vault, projects: Projects) -> list[Route]:
    run = r"/v2/projects/([^/]+)/locations/([^/]+)/jobs"
    keys = r"/v1/projects/([^/]+)/serviceAccounts/([^/:]+)/keys"
    secret = r"/v1/projects/([^/]+)/secrets"
    own_secret = "projects/{0}/secrets/{1}"

    def route(
        method: str, path: str, name: str, handler: Any, permission: str | None = None, resource: str = "projects/{0}"
    ) -> Route:
        return Route(method, re.compile(path), name.partition(".")[0], name, handler, permission, resource)

    def needing(method: str, path: str, name: str, handler: Any, resource: str = "projects/{0}") -> Route:
        return route(method, path, name, handler, name, resource)

    return [
        needing("POST", run, "run.jobs.create", jobs.create),
        needing("GET", run, "run.jobs.list", jobs.list),
        needing("GET", rf"{run}/([^/:]+)", "run.jobs.get", jobs.get),
        needing("DELETE", rf"{run}/([^/:]+)", "run.jobs.delete", jobs.delete),
        needing("POST", rf"{run}/([^/]+)/executions/([^/:]+):cancel", "run.executions.cancel", jobs.cancel),
        needing("GET", rf"{run}/([^/]+)/executions/[^/]+/tasks", "run.tasks.list", jobs.list_tasks),
        route(
            "POST",
            "/v2/entries:list",
            "logging.entries.list",
            output.list,
            "logging.logEntries.list",
            f"projects/{PROJECT}",
        ),
        needing("POST", secret, "secretmanager.secrets.create", vault.create),
        needing("GET", secret, "secretmanager.secrets.list", vault.list),
        needing("DELETE", rf"{secret}/([^/:]+)", "secretmanager.secrets.delete", vault.delete, own_secret),
        needing("POST", rf"{secret}/([^/:]+):addVersion", "secretmanager.versions.add", vault.add, own_secret),
        needing("POST", keys, "iam.serviceAccountKeys.create", projects.create_key),
        needing("GET", keys, "iam.serviceAccountKeys.list", projects.list_keys),
        needing("DELETE", rf"{keys}/([^/]+)", "iam.serviceAccountKeys.delete", projects.delete_key),
        needing("GET", r"/v1/projects/([^/]+)/serviceAccounts/([^/:]+)", "iam.serviceAccounts.get", projects.account),
        route(
            "POST",
            r"/v1/projects/([^/]+)/serviceAccounts/([^/:]+):testIamPermissions",
            "iam.serviceAccounts.testIamPermissions",
            projects.test_account_permissions,
        ),
        needing("GET", r"/v1/projects/([^/]+)/roles/([^/]+)", "iam.roles.get", projects.role),
        route(
            "POST",
            r"/v1/projects/-/serviceAccounts/([^/:]+):generateAccessToken",
            "iamcredentials.generateAccessToken",
            projects.access_token,
        ),
        route("GET", "/v3/projects:search", "cloudresourcemanager.projects.search", projects.search),
        route(
            "POST",
            r"/v3/projects/([^/:]+):testIamPermissions",
            "cloudresourcemanager.projects.testIamPermissions",
            projects.test_permissions,
        ),
        route(
            "POST",
            r"/v1/projects/([^/:]+):getEffectiveOrgPolicy",
            "cloudresourcemanager.projects.getEffectiveOrgPolicy",
            projects.policy,
            "orgpolicy.policy.get",
        ),
        route("GET", "/v1/userinfo", "openidconnect.userinfo", projects.who),
        needing(
            "GET",
            r"/v1/projects/([^/]+)/locations/([^/]+)/repositories",
            "artifactregistry.repositories.list",
            projects.repositories,
        ),
        route("GET", r"/storage/v1/b/([^/]+)", "storage.buckets.get", projects.bucket),
        route(
            "GET",
            r"/v1/projects/([^/]+)/locations/([^/]+)/connectors/([^/]+)",
            "vpcaccess.connectors.get",
            projects.connector,
        ),
    ]
