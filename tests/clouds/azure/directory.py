"""Microsoft Entra: who there is, tokens for them, and Microsoft Graph over the applications that Terraform made.

Applications and service principals are those in the imaginary cloud of Terraform's stand-in provider; their passwords
are here, as Terraform is to know none.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from clouds.azure.wire import AzureError, Request, Response

from poolform.testing.standin.behaviours.azurerm import TENANT

if TYPE_CHECKING:
    from poolform.testing.standin import Cloud

_APPLICATIONS = ("azuread_application_registration", "azuread_application")
_WRONG_SECRET = "AADSTS7000215: Invalid client secret provided."


@dataclass
class Principal:
    """Somebody with a login. `graph_roles` are application permissions; `person` has none, and no secret."""

    name: str
    object_id: str
    client_id: str
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    graph_roles: tuple[str, ...] = ()
    person: bool = False


class Directory:
    """The tenant. Thread-safe as far as tests need it."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._principals: dict[str, Principal] = {}  # by client id
        self._tokens: dict[str, tuple[Principal, str, float]] = {}
        self._passwords: dict[str, dict[str, dict[str, Any]]] = {}  # by the application's object id
        self.people_may_register = True
        self.minted: list[str] = []
        """Every secret that was ever handed out."""

    # -- for tests ---------------------------------------------------------------------------------------------------

    def add(self, name: str, *, graph_roles: tuple[str, ...] = (), person: bool = False) -> Principal:
        principal = Principal(name, str(uuid.uuid4()), str(uuid.uuid4()), graph_roles=graph_roles, person=person)
        principal.secrets["only"] = secrets.token_urlsafe(30)
        self._principals[principal.client_id] = principal
        return principal

    def passwords(self, object_id: str) -> list[str]:
        """The key ids of an application's passwords, in the order in which they were made."""
        return [key for key, kept in self._passwords.get(object_id, {}).items() if "value" in kept]

    def issue(self, principal: Principal, audience: str) -> str:
        """A token as the login page would give it."""
        claims: dict[str, Any] = {"aud": audience, "oid": principal.object_id, "tid": TENANT, "exp": time.time() + 3600}
        if principal.person:
            claims |= {"upn": principal.name, "scp": "user_impersonation"}
        else:
            claims |= {"appid": principal.client_id, "idtyp": "app"}
            if principal.graph_roles:
                claims["roles"] = list(principal.graph_roles)
        token = ".".join((_part({"typ": "JWT"}), _part(claims), secrets.token_urlsafe(8)))
        self._tokens[token] = (principal, audience, time.time() + 3600)
        return token

    # -- logging in --------------------------------------------------------------------------------------------------

    def log_in(self, request: Request, base: str) -> Response:
        """The endpoints below /TENANT: OpenID's metadata, and tokens for a client id with its secret."""
        if request.path.endswith("/.well-known/openid-configuration"):
            own = f"{base}/login/{TENANT}"
            known = {
                "authorization_endpoint": f"{own}/oauth2/v2.0/authorize",
                "token_endpoint": f"{own}/oauth2/v2.0/token",
                "issuer": f"{own}/v2.0",
            }
            return Response(200, known)
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if not request.path.startswith(f"/{TENANT}/"):
            raise AzureError(400, "invalid_request", "AADSTS90002: Tenant not found.")
        if form.get("grant_type") != "client_credentials" or "client_id" not in form:
            raise AzureError(400, "unsupported_grant_type", "AADSTS70003: The grant type is not supported.")
        principal = self._of_client(form["client_id"])
        if form.get("client_secret") not in self._secrets_of(principal):
            raise AzureError(401, "invalid_client", _WRONG_SECRET)
        token = self.issue(principal, form["scope"].removesuffix("/.default"))
        return Response(200, {"token_type": "Bearer", "expires_in": 3599, "access_token": token})

    def caller(self, request: Request, audience: str) -> Principal:
        """Whoever a request's token was given to. Raises AzureError for one that is not good here."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        principal, meant, until = self._tokens.get(token, (None, "", 0.0))
        if scheme != "Bearer" or principal is None or until < time.time():
            raise AzureError(401, "InvalidAuthenticationToken", "The access token is invalid.")
        if meant.rstrip("/") != audience:
            raise AzureError(401, "InvalidAuthenticationTokenAudience", f"The token is for {meant}, not {audience}.")
        return principal

    def _of_client(self, client_id: str) -> Principal:
        if client_id in self._principals:
            return self._principals[client_id]
        for application in self.applications().values():
            if application["client_id"] == client_id:
                for principal in self._cloud.objects().get("azuread_service_principal", {}).values():
                    if principal["client_id"] == client_id:
                        return Principal(application["display_name"], principal["object_id"], client_id)
                raise AzureError(401, "unauthorized_client", "AADSTS7000229: No service principal in this tenant.")
        raise AzureError(400, "unauthorized_client", "AADSTS700016: Application was not found in the directory.")

    def _secrets_of(self, principal: Principal) -> list[str]:
        found = list(principal.secrets.values())
        for object_id, application in self.applications().items():
            if application["client_id"] == principal.client_id:
                found += [password["value"] for password in self._passwords.get(object_id, {}).values()]
        return found

    # -- Microsoft Graph ---------------------------------------------------------------------------------------------

    def applications(self) -> dict[str, Any]:
        """The applications that Terraform made, by object id."""
        objects = self._cloud.objects()
        return {item["object_id"]: item for kind in _APPLICATIONS for item in objects.get(kind, {}).values()}

    def graph(self, request: Request, caller: Principal) -> Response:
        path = request.path.removeprefix("/v1.0")
        if path == "/policies/authorizationPolicy":
            return Response(200, {"defaultUserRolePermissions": {"allowedToCreateApps": self.people_may_register}})
        if not caller.person and not {"Application.ReadWrite.OwnedBy", "Application.ReadWrite.All"} & {
            *caller.graph_roles
        }:
            raise AzureError(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
        if path in ("/applications", "/servicePrincipals"):
            return Response(200, {"value": self._named(path, request.query)})
        match = re.fullmatch(r"/applications/([0-9a-f-]{36})(?:/(addPassword|removePassword))?", path)
        if match is None or match[1] not in self.applications():
            raise AzureError(404, "Request_ResourceNotFound", f"Resource '{path}' does not exist.")
        passwords = self._passwords.setdefault(match[1], {})
        if request.method == "GET" and match[2] is None:
            shown = [{"keyId": key, "displayName": kept["name"]} for key, kept in passwords.items()]
            return Response(200, {"id": match[1], "passwordCredentials": shown})
        if request.method == "POST" and match[2] == "addPassword":
            return self._add_password(passwords, request.json())
        if request.method == "POST" and match[2] == "removePassword":
            if request.json().get("keyId") not in passwords:
                raise AzureError(400, "Request_BadRequest", "No password credential found with keyId.")
            del passwords[request.json()["keyId"]]
            return Response(204)
        raise AzureError(405, "Request_BadRequest", f"{request.method} is not allowed here.")

    def _add_password(self, passwords: dict[str, dict[str, Any]], asked: Any) -> Response:
        wanted = asked.get("passwordCredential", {})
        unknown = set(asked) - {"passwordCredential"} | set(wanted) - {"displayName", "startDateTime", "endDateTime"}
        if unknown:
            raise AzureError(400, "Request_BadRequest", f"Unknown properties: {', '.join(sorted(unknown))}")
        key, value = str(uuid.uuid4()), secrets.token_urlsafe(30)
        passwords[key] = {"name": wanted.get("displayName"), "value": value}
        self.minted.append(value)
        return Response(200, {"keyId": key, "secretText": value, "displayName": wanted.get("displayName")})

    def _named(self, path: str, query: dict[str, str]) -> list[dict[str, str]]:
        match = re.fullmatch(r"startswith\(displayName,'([^']*)'\)", query.get("$filter", ""))
        if match is None:
            raise AzureError(400, "Request_UnsupportedQuery", "Unsupported or invalid query filter clause.")
        kinds = _APPLICATIONS if path == "/applications" else ("azuread_service_principal",)
        objects = self._cloud.objects()
        found = [item for kind in kinds for item in objects.get(kind, {}).values()]
        return [
            {"id": item["object_id"], "displayName": item["display_name"]}
            for item in found
            if item["display_name"].startswith(match[1])
        ]


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
