"""Who calls, and what they may: service accounts and their keys, tokens, roles, grants, conditions.

Accounts and grants are those that Terraform's stand-in provider holds, so a module's own grants decide what its
launcher may do. `people` are there before any module: accounts of one key, each with permissions or with all of them.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clouds.google.wire import GoogleError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from poolform.testing.standin import Cloud

# https://cloud.google.com/iam/docs/roles-permissions, as far as anything here asks
ROLES = {
    "roles/run.developer": (
        "resourcemanager.projects.get run.executions.cancel run.executions.delete run.executions.get "
        "run.executions.list run.jobs.create run.jobs.delete run.jobs.get run.jobs.list run.jobs.run "
        "run.jobs.update run.operations.get run.tasks.get run.tasks.list"
    ),
    "roles/iam.serviceAccountUser": "iam.serviceAccounts.actAs iam.serviceAccounts.get iam.serviceAccounts.list",
    "roles/iam.serviceAccountTokenCreator": "iam.serviceAccounts.getAccessToken iam.serviceAccounts.signBlob",
    "roles/artifactregistry.writer": (
        "artifactregistry.repositories.downloadArtifacts artifactregistry.repositories.get "
        "artifactregistry.repositories.uploadArtifacts"
    ),
    "roles/secretmanager.secretAccessor": "resourcemanager.projects.get secretmanager.versions.access",
    "roles/storage.objectViewer": "storage.objects.get storage.objects.list",
}
_STARTS_WITH = re.compile(r'resource\.name\.startsWith\("([^"]+)"\)')


@dataclass
class Key:
    """A key of a service account: Google keeps the public half."""

    account: str
    key_id: str
    public: bytes
    managed: bool = True


@dataclass
class Accounts:
    """The principals of one project and all that they hold. Thread-safe."""

    cloud: Cloud
    project: str
    number: str
    people: dict[str, frozenset[str] | None] = field(default_factory=dict)
    """Permissions by email; None is all of them."""
    keys: dict[str, Key] = field(default_factory=dict)
    tokens: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Email and end of each access token."""
    federated: dict[str, str] = field(default_factory=dict)
    """Subjects of other identity providers by their tokens: https://cloud.google.com/iam/docs/reference/sts/rest"""
    keys_forbidden: bool = False
    lock: Any = field(default_factory=threading.RLock)

    def exists(self, email: str) -> bool:
        return (
            email in self.people
            or email in self.federated.values()
            or any(item["email"] == email for item in self.cloud.objects().get("google_service_account", {}).values())
        )

    def add_key(self, email: str, token_uri: str) -> tuple[str, dict[str, Any]]:
        """Make a key; return its id and the JSON that its owner gets this once."""
        private, public = _pair()
        key_id = secrets.token_hex(20)
        with self.lock:
            self.keys[key_id] = Key(email, key_id, public)
        info = {
            "type": "service_account", "project_id": self.project, "private_key_id": key_id,
            "private_key": private.decode(), "client_email": email, "client_id": "1" * 21, "token_uri": token_uri,
        }  # fmt: skip
        return key_id, info

    def keys_of(self, email: str) -> list[Key]:
        with self.lock:
            return [key for key in self.keys.values() if key.account == email]

    def issue(self, email: str) -> str:
        token = f"ya29.{secrets.token_urlsafe(32)}"
        with self.lock:
            self.tokens[token] = (email, time.time() + 3600)
        return token

    def exchange(self, assertion: str) -> str:
        """Take a signed JWT, or a word of another identity provider, for an access token. Raises GoogleError."""
        with self.lock:
            federated = self.federated.get(assertion)
        return self.issue(federated or self._verified(assertion))

    def caller(self, authorization: str) -> str:
        """Return the email behind a bearer token. Raises GoogleError for one that is unknown, expired or revoked."""
        token = authorization.removeprefix("Bearer ").strip()
        if token.count(".") == 2 and not token.startswith("ya29."):
            return self._verified(token)
        with self.lock:
            email, until = self.tokens.get(token, ("", 0.0))
        if until < time.time() or not self.exists(email):
            raise _invalid("Request had invalid authentication credentials.")
        return email

    def allows(self, email: str, permission: str, resource: str) -> bool:
        """Say whether a principal has a permission on a resource, such as `projects/p/secrets/s`."""
        if email in self.people:
            held = self.people[email]
            return held is None or permission in held
        return any(permission in held for held in self._held(f"serviceAccount:{email}", resource))

    def require(self, email: str, permission: str, resource: str) -> None:
        if not self.allows(email, permission, resource):
            raise GoogleError(403, f"Permission '{permission}' denied on resource '{resource}' (or it may not exist).")

    def _held(self, member: str, resource: str) -> Iterator[set[str]]:
        objects = self.cloud.objects()
        custom = {
            role["name"]: set(role["permissions"])
            for role in objects.get("google_project_iam_custom_role", {}).values()
        }
        for kind, scope in (
            ("google_project_iam_member", "projects/{project}"),
            ("google_service_account_iam_member", "{service_account_id}"),
            (
                "google_artifact_registry_repository_iam_member",
                "projects/{project}/locations/{location}/repositories/{repository}",
            ),
            ("google_storage_bucket_iam_member", "buckets/{bucket}"),
        ):
            for grant in objects.get(kind, {}).values():
                on = scope.format_map(grant)
                applies = resource == on or resource.startswith(f"{on}/")
                if grant["member"] == member and applies and self._holds(grant.get("condition"), resource):
                    yield custom.get(grant["role"]) or set(ROLES.get(grant["role"], "").split())

    def _holds(self, condition: list[dict[str, Any]] | None, resource: str) -> bool:
        if not condition:
            return True
        match = _STARTS_WITH.fullmatch(condition[0]["expression"])
        assert match, f"the stand-in knows no condition such as {condition[0]['expression']}"
        return resource.replace(f"projects/{self.project}/", f"projects/{self.number}/", 1).startswith(match[1])

    def _verified(self, assertion: str) -> str:
        from google.auth import jwt

        try:
            key_id = json.loads(_unpadded(assertion.partition(".")[0]))["kid"]
        except (KeyError, TypeError, ValueError, binascii.Error) as exc:
            raise _invalid("Invalid JWT.") from exc
        with self.lock:
            key = self.keys.get(key_id)
        if key is None or not self.exists(key.account):
            raise _invalid("Invalid JWT Signature.")
        try:
            claims = jwt.decode(assertion, certs={key_id: key.public})
        except ValueError as exc:
            raise _invalid("Invalid JWT Signature.") from exc
        if claims["iss"] != key.account:
            raise _invalid("Invalid issuer.")
        return key.account


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _invalid(message: str) -> GoogleError:
    return GoogleError(401, message, reason="ACCESS_TOKEN_TYPE_UNSUPPORTED")


def _pair() -> tuple[bytes, bytes]:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
