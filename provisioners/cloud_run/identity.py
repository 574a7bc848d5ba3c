"""Who the caller is to Google, which projects there are, and whether the caller may do what a module needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolform.core.errors import PoolformError
from poolform.core.pools.contract import Finding, Identity
from poolform.provisioners.cloud_run import session

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_WHO = (
    "An owner of the project {project}, or whoever administers its IAM (roles/resourcemanager.projectIamAdmin), can "
    "grant it; docs/pool-types/cloud-run.md lists everything that is needed."
)
_KEYS = "constraints/iam.disableServiceAccountKeyCreation"
_BATCH = 100  # most permissions that TestIamPermissions takes
_TIMEOUT = 15.0


def identify(project: str, region: str) -> Identity:
    """Return who the environment's Google credentials belong to. Raises PoolformError when Google refuses them."""
    with session.sentences("Asking Google who you are"):
        google = session.Google()
        principal = _principal(google)
        google.close()
    return Identity(principal=principal, account=project, region=region)


def projects() -> Sequence[str]:
    """Return the ids of the projects that the caller may see; none where that cannot be asked."""
    try:
        with session.sentences("Looking for projects"):
            google = session.Google()
            found = google.projects().search_projects(
                request={"query": "state:ACTIVE", "page_size": 50}, timeout=_TIMEOUT, retry=session.again()
            )
            return sorted(project.project_id for project in found)
    except PoolformError:
        return ()


def check(project: str, permissions: Iterable[str], *, wants_key: bool) -> Iterator[Finding]:
    """Yield what Google says of each permission. Raises PoolformError when it does not accept the caller at all."""
    with session.sentences("Asking Google about permissions"):
        google = session.Google()
        yield from _test(google, project, sorted(permissions))
        if wants_key:
            yield from _keys(google, project)
        google.close()


def _principal(google: session.Google) -> str:
    """Return an email where there is one: federated identities have none."""
    from google.api_core.exceptions import GoogleAPICallError

    google.token()
    email = getattr(google.credentials, "service_account_email", None)
    if email and "@" in email:
        return str(email)
    try:
        told = google.call("GET", "openidconnect", "v1/userinfo")
    except GoogleAPICallError:
        return "the Google credentials in the environment"
    return str(told.get("email") or "the Google credentials in the environment")


def _test(google: session.Google, project: str, permissions: Sequence[str]) -> Iterator[Finding]:
    from google.api_core.exceptions import BadRequest, Forbidden, GoogleAPICallError, NotFound

    for start in range(0, len(permissions), _BATCH):
        batch = list(permissions[start : start + _BATCH])
        try:
            answer = google.projects().test_iam_permissions(
                resource=f"projects/{project}", permissions=batch, timeout=_TIMEOUT, retry=session.again()
            )
        except (Forbidden, NotFound) as exc:
            if _is_disabled(exc):
                way = f"gcloud services enable cloudresourcemanager.googleapis.com --project {project}"
                yield Finding("permissions", "unknown", f"the Cloud Resource Manager API is not active: {way}")
                return
            known = projects()
            others = f"You can see: {', '.join(known[:12])}." if known else "Check its id, and who you are."
            yield Finding(
                f"project {project}", "missing", "it is not there, or you may not see it", others, is_permission=False
            )
            return
        except (BadRequest, GoogleAPICallError) as exc:
            yield Finding("permissions", "unknown", f"they could not be checked: {session.error_text(exc)}")
            return
        held = set(answer.permissions)
        for permission in batch:
            if permission in held:
                yield Finding(permission, "allowed")
            else:
                yield Finding(permission, "missing", f"no role on {project} has it", _WHO.format(project=project))


def _keys(google: session.Google, project: str) -> Iterator[Finding]:
    """Say where an organisation forbids keys, which those made since May 2024 do from the start.

    https://cloud.google.com/resource-manager/docs/secure-by-default-organizations
    """
    from google.api_core.exceptions import GoogleAPICallError

    path = f"v1/projects/{project}:getEffectiveOrgPolicy"
    try:
        policy = google.call("POST", "cloudresourcemanager", path, {"constraint": _KEYS})
    except GoogleAPICallError as exc:
        yield Finding(_KEYS, "unknown", f"whether keys are forbidden could not be checked: {session.error_text(exc)}")
        return
    if policy.get("booleanPolicy", {}).get("enforced"):
        yield Finding(
            _KEYS,
            "missing",
            "the organisation forbids keys of service accounts",
            "Use credentials=impersonate, which needs no key; or have an organisation policy administrator "
            f"(roles/orgpolicy.policyAdmin) make an exception for {project}.",
            is_permission=False,
        )
    else:
        yield Finding(_KEYS, "allowed")


def _is_disabled(exc: Any) -> bool:
    """Say whether an API is refused because it is not active, by the machine-readable reason that Google gives."""
    return getattr(exc, "reason", None) == "SERVICE_DISABLED" or "SERVICE_DISABLED" in str(exc)
