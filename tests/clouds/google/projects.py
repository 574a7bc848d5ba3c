"""Resource Manager, IAM, and what other APIs say of things that Terraform made."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from clouds.google.wire import GoogleError

if TYPE_CHECKING:
    from clouds.google.accounts import Accounts
    from clouds.google.wire import Request


class Projects:
    """Answers about one project, its accounts and its objects."""

    def __init__(self, accounts: Accounts, endpoint: str) -> None:
        self._accounts, self._endpoint = accounts, endpoint

    def search(self, request: Request) -> dict[str, Any]:
        found = {"name": f"projects/{self._accounts.number}", "projectId": self._accounts.project, "state": "ACTIVE"}
        return {"projects": [found]}

    def test_permissions(self, request: Request) -> dict[str, Any]:
        """https://cloud.google.com/resource-manager/reference/rest/v3/projects/testIamPermissions"""
        wanted = request.body.get("permissions", [])
        if request.args[0] != self._accounts.project:
            raise GoogleError(403, "The caller does not have permission")
        if len(wanted) > 100 or any("*" in permission for permission in wanted):
            raise GoogleError(400, "Too many permissions, or one with a wildcard.")
        return self._held(request, f"projects/{self._accounts.project}")

    def test_account_permissions(self, request: Request) -> dict[str, Any]:
        return self._held(request, f"projects/{self._accounts.project}/serviceAccounts/{request.args[1]}")

    def policy(self, request: Request) -> dict[str, Any]:
        forbidden = self._accounts.keys_forbidden
        constraint = request.body["constraint"]
        return {"constraint": constraint, "booleanPolicy": {"enforced": True} if forbidden else {}}

    def who(self, request: Request) -> dict[str, Any]:
        """Who a token is; federated identities have no email."""
        email = {"email": request.caller, "email_verified": True} if "@" in request.caller else {}
        return {"sub": "1" * 21, **email}

    def access_token(self, request: Request) -> dict[str, Any]:
        """https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken"""
        account = request.args[0]
        path = f"projects/{self._accounts.project}/serviceAccounts/{account}"
        if not request.body.get("scope"):
            raise GoogleError(400, "Invalid argument: scope is required.")
        self._accounts.require(request.caller, "iam.serviceAccounts.getAccessToken", path)
        if not self._accounts.exists(account):
            raise GoogleError(404, "Not found; Gaia id not found for email " + account)
        until = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"accessToken": self._accounts.issue(account), "expireTime": until}

    # -- keys ----------------------------------------------------------------------------------------------------

    def create_key(self, request: Request) -> dict[str, Any]:
        account = self._account(request.args[1])
        if self._accounts.keys_forbidden:
            message = "Key creation is not allowed on this service account."
            raise GoogleError(400, message, status="FAILED_PRECONDITION")
        if len(self._accounts.keys_of(account)) >= 10:
            raise GoogleError(400, "Maximum number of keys on account reached.", status="FAILED_PRECONDITION")
        key_id, info = self._accounts.add_key(account, f"{self._endpoint}/token")
        data = base64.b64encode(json.dumps(info, indent=2).encode()).decode()
        return {
            "name": self._key(account, key_id),
            "privateKeyType": "TYPE_GOOGLE_CREDENTIALS_FILE",
            "privateKeyData": data,
        }

    def list_keys(self, request: Request) -> dict[str, Any]:
        account = self._account(request.args[1])
        keys = [
            {"name": self._key(account, key.key_id), "keyType": "USER_MANAGED"}
            for key in self._accounts.keys_of(account)
        ]
        return {"keys": keys} if keys else {}

    def delete_key(self, request: Request) -> dict[str, Any]:
        account, key_id = self._account(request.args[1]), request.args[2]
        with self._accounts.lock:
            if key_id not in self._accounts.keys or self._accounts.keys[key_id].account != account:
                raise GoogleError(404, f"Service account key {key_id} does not exist.")
            del self._accounts.keys[key_id]
        return {}

    # -- what Terraform made -------------------------------------------------------------------------------------

    def account(self, request: Request) -> dict[str, Any]:
        return {"name": f"projects/{self._accounts.project}/serviceAccounts/{self._account(request.args[1])}"}

    def role(self, request: Request) -> dict[str, Any]:
        path = f"projects/{self._accounts.project}/roles/{request.args[1]}"
        return {"name": self._object("google_project_iam_custom_role", path)["name"]}

    def repositories(self, request: Request) -> dict[str, Any]:
        found = self._accounts.cloud.objects().get("google_artifact_registry_repository", {})
        return {
            "repositories": [
                {"name": name, "labels": item.get("effective_labels") or {}}
                for name, item in found.items() if item["location"] == request.args[1]
            ]
        }  # fmt: skip

    def bucket(self, request: Request) -> dict[str, Any]:
        found = self._object("google_storage_bucket", request.args[0])
        return {"name": found["name"], "labels": found.get("effective_labels") or {}}

    def connector(self, request: Request) -> dict[str, Any]:
        path = f"projects/{request.args[0]}/locations/{request.args[1]}/connectors/{request.args[2]}"
        self._object("google_vpc_access_connector", path)
        return {"name": path}

    def _object(self, kind: str, name: str) -> dict[str, Any]:
        found = self._accounts.cloud.objects().get(kind, {}).get(name)
        if found is None:
            raise GoogleError(404, f"{name} was not found.")
        return found

    def _account(self, email: str) -> str:
        if not self._accounts.exists(email):
            raise GoogleError(404, f"Service account {email} does not exist.")
        return email

    def _held(self, request: Request, resource: str) -> dict[str, Any]:
        held = [p for p in request.body["permissions"] if self._accounts.allows(request.caller, p, resource)]
        return {"permissions": held} if held else {}

    def _key(self, account: str, key_id: str) -> str:
        return f"projects/{self._accounts.project}/serviceAccounts/{account}/keys/{key_id}"
