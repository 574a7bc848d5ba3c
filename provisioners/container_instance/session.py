"""Ways into Azure: the caller's own, and the pool's launcher. Azure's libraries are imported on first use."""

from __future__ import annotations

import base64
import json
import logging
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from poolform.core.errors import PoolformError
from poolform.provisioners.container_instance.endpoints import endpoints

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from poolform.core.pools.contract import Credential
    from poolform.core.runs.launchers import Json
    from poolform.provisioners.container_instance.endpoints import Endpoints

# What Terraform's provider reads; who is named there is also who asks here.
_TERRAFORMS = ("ARM_TENANT_ID", "ARM_CLIENT_ID", "ARM_CLIENT_SECRET")
_PAGE_LIMIT = 200
# How azure-identity says that a way to log in is not there, rather than that it failed.
_NOT_THERE = ("unavailable", "not found", "not installed", "could not be found", "requires the", "No accounts were")
PAGE = "docs/pool-types/azure-container-instance.md"


class Access:
    """One identity in one Azure. Thread-safe."""

    def __init__(self, environment: str, credential: Credential | None = None, *, retries: int = 2) -> None:
        self._environment, self._given, self._retries = environment, credential, retries
        self._made: dict[str, Any] = {}
        self._lock = threading.RLock()

    @classmethod
    def of_launcher(cls, settings: Mapping[str, Json], credential: Credential | None) -> Access:
        """Return what a pool's jobs are launched with. Raises PoolformError where its block is gone."""
        if settings["credentials"] == "key" and credential is None:
            raise PoolformError(
                "The pool's credentials block is gone, and its launcher has no other secret.",
                hint="Make a new one: poolform work-pool provision-infra POOL",
            )
        # Core asks again by itself, and a PUT must not be repeated unseen.
        return cls(settings["environment"], credential if settings["credentials"] == "key" else None, retries=0)

    @property
    def endpoints(self) -> Endpoints:
        """Where this Azure is."""
        return endpoints(self._environment)

    def token(self, audience: str) -> str:
        """Return a token for an API, given by its URL."""
        return str(self._credential().get_token(f"{audience}/.default").token)

    def arm(self, method: str, path: str, api: str, body: Json = None, **query: str) -> Any:
        """Ask Azure Resource Manager; returns the answer's JSON, None where there is none. Raises AzureError."""
        return self._ask(self.endpoints.resource_manager, method, path, {"api-version": api, **query}, body)

    def graph(self, method: str, path: str, body: Json = None, **query: str) -> Any:
        """Ask Microsoft Graph; `query` without the dollar signs. Raises AzureError."""
        return self._ask(self.endpoints.graph, method, f"/v1.0{path}", {f"${k}": v for k, v in query.items()}, body)

    def pages(self, base: str, path: str, **query: str) -> Iterator[Any]:
        """Yield each item of a list of either API, page after page; `base` is one of the endpoints."""
        answer = self._ask(base, "GET", path, query, None)
        for _ in range(_PAGE_LIMIT):
            yield from answer.get("value", ())
            following = answer.get("nextLink") or answer.get("@odata.nextLink")
            if not following:
                return
            answer = self._ask(base, "GET", following.removeprefix(base), {}, None)

    def container_instances(self, subscription: str) -> Any:
        """Return the SDK's client for container groups."""
        require_azure()
        from azure.mgmt.containerinstance import ContainerInstanceManagementClient

        base = self.endpoints.resource_manager
        with self._lock:
            if "groups" not in self._made:
                self._made["groups"] = ContainerInstanceManagementClient(
                    self._credential(),
                    subscription,
                    base_url=base,
                    credential_scopes=[f"{base}/.default"],
                    retry_total=self._retries,
                    connection_timeout=5,
                    read_timeout=30,
                    user_agent="poolform",
                )
            return self._made["groups"]

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for made in self._made.values():
                made.close()
            self._made.clear()

    def _ask(self, base: str, method: str, path: str, query: Mapping[str, str], body: Json) -> Any:
        from azure.core.exceptions import ClientAuthenticationError, ResourceNotFoundError, map_error
        from azure.core.rest import HttpRequest

        request = HttpRequest(method, f"{base}{path}", params=dict(query), json=body)
        response = self._client(base).send_request(request, connection_timeout=5, read_timeout=30)
        map_error(response.status_code, response, {401: ClientAuthenticationError, 404: ResourceNotFoundError})
        response.raise_for_status()
        return response.json() if response.content else None

    def _client(self, base: str) -> Any:
        from azure.core import PipelineClient
        from azure.core.pipeline.policies import BearerTokenCredentialPolicy, RetryPolicy, UserAgentPolicy

        with self._lock:
            if base not in self._made:
                policies = [
                    UserAgentPolicy("poolform"),
                    RetryPolicy(retry_total=self._retries),
                    BearerTokenCredentialPolicy(self._credential(), f"{base}/.default"),
                ]
                self._made[base] = PipelineClient(base, policies=policies)
            return self._made[base]

    def _credential(self) -> Any:
        with self._lock:
            if "credential" not in self._made:
                self._made["credential"] = self._open()
            return self._made["credential"]

    def _open(self) -> Any:
        identity, where = require_azure(), self.endpoints
        common = {"authority": where.authority, "disable_instance_discovery": not where.well_known}
        if self._given is not None:
            data = self._given.data
            return identity.ClientSecretCredential(
                data["tenant_id"], data["client_id"], data["client_secret"], retry_total=self._retries, **common
            )
        named = [os.environ.get(name) for name in _TERRAFORMS]
        if all(named):
            return identity.ClientSecretCredential(*named, **common)
        return identity.DefaultAzureCredential(**common)


def claims(token: str) -> dict[str, Any]:
    """Return what a token says of who it was given to; nothing where it cannot be read, as its format is no promise."""
    try:
        middle = token.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except (IndexError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def sentences(doing: str) -> Iterator[None]:
    """Turn what Azure's libraries raise while `doing` something into a PoolformError that a person can act on."""
    require_azure()
    from azure.core.exceptions import AzureError, ClientAuthenticationError

    try:
        yield
    except ClientAuthenticationError as exc:
        raise PoolformError(
            f"{doing} failed: {error_text(exc)}",
            hint="Log in to Azure again (az login), or check ARM_CLIENT_ID, ARM_CLIENT_SECRET and ARM_TENANT_ID.",
        ) from exc
    except AzureError as exc:
        status = getattr(exc, "status_code", None)
        hint = None if status else "Check the network."
        if status == 403:
            hint = f"Ask whoever administers the Azure subscription; {PAGE} lists what is needed."
        raise PoolformError(f"{doing} failed: {error_text(exc)}", hint=hint) from exc


def error_code(exc: Any) -> str:
    """Return the service's name of what is wrong; the empty string where it gave none."""
    return str(getattr(getattr(exc, "error", None), "code", None) or "")


def error_text(exc: Any) -> str:
    """Return what the service said, with its name of what is wrong, on one line."""
    error = getattr(exc, "error", None)
    said = _attempts(str(getattr(error, "message", None) or getattr(exc, "message", None) or exc))
    message = " ".join(said.split())
    code = error_code(exc)
    return f"{message} ({code})" if code and code not in message else message


def _attempts(message: str) -> str:
    """Return what is worth reading of the list in which DefaultAzureCredential says how each of its ways failed.

    Nine of ten are not there at all, which is no news. Source of its shape:
    https://github.com/Azure/azure-sdk-for-python/blob/main/sdk/identity/azure-identity/azure/identity/_credentials/chained.py
    """
    _, listed, rest = message.partition("Attempted credentials:")
    if not listed:
        return message
    ways = [line.strip() for line in rest.splitlines() if line.startswith("\t")]
    failed = [way for way in ways if not any(word in way for word in _NOT_THERE)]
    return "; ".join(failed) or "there is no Azure login here, in the environment, of the Azure CLI or of this machine"


def require_azure() -> Any:
    """Return azure.identity. Raises PoolformError where Azure's libraries are not installed."""
    # It logs as a warning what it raises right after, and Python shows warnings that nobody else takes.
    log = logging.getLogger("azure.identity")
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    try:
        import azure.identity
        import azure.mgmt.containerinstance
    except ModuleNotFoundError as exc:
        raise PoolformError(
            "Pools on Azure need azure-identity and azure-mgmt-containerinstance, which are not installed.",
            hint="Install them: pip install 'poolform[azure]'",
        ) from exc
    return azure.identity
