"""Secrets of single jobs in Secret Manager: made before the job, read by Cloud Run, gone with the job.

https://cloud.google.com/secret-manager/docs/reference/rest
"""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from poolform.provisioners.cloud_run.session import Google


def put(google: Google, project: str, region: str, values: Mapping[str, str], labels: Mapping[str, str]) -> None:
    """Store each value under its secret's name. Again is fine: a job reads the latest, and a replay stores the same."""
    from google.api_core.exceptions import Conflict

    for name, value in values.items():
        body = {"replication": {"userManaged": {"replicas": [{"location": region}]}}, "labels": dict(labels)}
        with suppress(Conflict):
            google.call("POST", "secretmanager", f"v1/projects/{project}/secrets", body, secretId=name)
        payload = {"payload": {"data": base64.b64encode(value.encode()).decode()}}
        google.call("POST", "secretmanager", f"v1/projects/{project}/secrets/{name}:addVersion", payload)


def drop(google: Google, project: str, names: Iterable[str]) -> None:
    """Delete secrets with all their versions. Gone is fine."""
    from google.api_core.exceptions import NotFound

    for name in names:
        with suppress(NotFound):
            google.call("DELETE", "secretmanager", f"v1/projects/{project}/secrets/{name}")


def named(google: Google, project: str, prefix: str) -> list[str]:
    """Return the names of all secrets that begin with a prefix."""
    listed = google.pages("secretmanager", f"v1/projects/{project}/secrets", "secrets", filter=f"name:{prefix}")
    names = (secret["name"].rsplit("/", 1)[-1] for secret in listed)
    # Looked at again: the filter finds the prefix anywhere in a name.
    return [name for name in names if name.startswith(prefix)]
