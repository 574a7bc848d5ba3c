"""Whether a pool's launcher identity gets in, and may do what launching takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolform.core.pools.contract import Finding
from poolform.provisioners.cloud_run import session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolform.core.pools.contract import Connection, Credential
    from poolform.core.runs.launchers import Json

NEEDED = (
    "logging.logEntries.list",
    "run.executions.cancel",
    "run.jobs.create",
    "run.jobs.delete",
    "secretmanager.secrets.create",
)
"""What launching takes on the project; that of its own accounts and secrets is narrower."""
_AGAIN = "Make new credentials: poolform work-pool provision-infra POOL"


def authenticate(connection: Connection, credential: Credential | None) -> Finding:
    """Ask Google, as the launcher, what it may do: new accounts, keys and rights take minutes to be known everywhere.

    https://cloud.google.com/iam/docs/access-change-propagation
    """
    settings: Any = connection.settings
    subject = {
        "impersonate": f"acting as {settings['launcher_email']}",
        "key": f"key of {settings['launcher_email']}",
    }.get(settings["credentials"], "the Google credentials in the environment")
    hint = _AGAIN if settings["credentials"] == "key" else None
    with session.sentences("Trying the pool's credentials"):
        from google.api_core.exceptions import GoogleAPICallError, TooManyRequests
        from google.auth.exceptions import GoogleAuthError, RefreshError
        from requests import RequestException

        google = session.Google.of_launcher(settings, credential)
        try:
            lacking = _lacking(google, settings)
        except RefreshError as exc:
            trouble = bool(getattr(exc, "retryable", False))
            return Finding(subject, "unknown" if trouble else "missing", session.error_text(exc), hint)
        except GoogleAPICallError as exc:
            trouble = isinstance(exc, TooManyRequests) or exc.code is None or exc.code >= 500
            return Finding(subject, "unknown" if trouble else "missing", session.error_text(exc), hint)
        except GoogleAuthError as exc:
            return Finding(subject, "unknown", session.error_text(exc))
        except RequestException as exc:
            return Finding(subject, "unknown", f"Google cannot be reached: {type(exc).__name__}")
        finally:
            google.close()
    if lacking:
        return Finding(subject, "missing", f"it may not {', '.join(lacking)}", hint)
    return Finding(subject, "allowed")


def _lacking(google: session.Google, settings: Mapping[str, Json]) -> list[str]:
    project, account = settings["project"], settings["runtime_email"]
    parts = (
        ("cloudresourcemanager", f"v3/projects/{project}", NEEDED),
        ("iam", f"v1/projects/{project}/serviceAccounts/{account}", ("iam.serviceAccounts.actAs",)),
    )
    lacking: list[str] = []
    for service, resource, permissions in parts:
        asked = {"permissions": list(permissions)}
        held = google.call("POST", service, f"{resource}:testIamPermissions", asked).get("permissions", ())
        lacking += [permission for permission in permissions if permission not in held]
    return lacking
