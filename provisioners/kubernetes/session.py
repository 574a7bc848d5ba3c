"""Ways into a cluster: the caller's own, and the pool's launcher identity.

The official client reads kubeconfigs, runs their credential plugins, renews tokens and sets up TLS; requests are plain
JSON over its connections. Its models would translate every object twice, and its call signatures change with each of
its versions. Imported on first use.
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from poolform.core.errors import PoolformError
from poolform.provisioners.kubernetes import kubeconfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from poolform.core.runs.launchers import Json
    from poolform.provisioners.kubernetes.variables import KubernetesVariables

JSON = "application/json"
MERGE = "application/merge-patch+json"
_PAGE = 500
_CONNECT, _READ = 5.0, 30.0  # seconds
_SEVERAL = 16  # connections kept: more than a launcher has threads


class ApiError(Exception):
    """The cluster's API answered with an error: its HTTP status, its one-word reason, and its message."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{message} ({status} {reason})" if reason else f"{message} ({status})")
        self.status, self.reason, self.message = status, reason, message

    @property
    def is_final(self) -> bool:
        """Whether asking again would be answered the same."""
        return self.status != 429 and self.status < 500


class Unreachable(Exception):
    """The cluster's API could not be asked, or hung up."""


class Cluster:
    """The API of one cluster, as one identity. Thread-safe. Nothing is read or reached for before the first call."""

    def __init__(self, files: str, context: str | None, *, acting_as: str | None = None) -> None:
        self._files, self._context, self._acting_as = files, context, acting_as
        self._lock = threading.Lock()
        self._client: Any = None

    @classmethod
    def of_caller(cls, variables: KubernetesVariables) -> Cluster:
        """Return the cluster as whoever the context is."""
        return cls(variables.kubeconfig, variables.context)

    @classmethod
    def of_connection(cls, settings: Mapping[str, Json]) -> Cluster:
        """Return a provisioned pool's cluster as whoever the context is here."""
        return cls(settings["kubeconfig"], settings["context"])

    @classmethod
    def of_launcher(cls, settings: Mapping[str, Json]) -> Cluster:
        """Return the cluster as what jobs are launched with, from a connection's settings."""
        user = f"system:serviceaccount:{settings['namespace']}:{settings['launcher']}"
        acting_as = user if settings["credentials"] == "impersonate" else None
        return cls(settings["kubeconfig"], settings["context"], acting_as=acting_as)

    @property
    def host(self) -> str:
        """The address of the API."""
        return str(self._open().configuration.host).rstrip("/")

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """Read an object. Raises ApiError, Unreachable; so do all of these."""
        return self._json("GET", path, query)

    def items(self, path: str, **query: str) -> Iterator[dict[str, Any]]:
        """Yield the objects of a list, page by page."""
        following = ""
        while True:
            more = {"continue": following} if following else {}
            page = self._json("GET", path, {**query, "limit": str(_PAGE), **more})
            yield from page.get("items") or ()
            following = (page.get("metadata") or {}).get("continue") or ""
            if not following:
                return

    def post(self, path: str, body: Json, **query: str) -> dict[str, Any]:
        """Create an object."""
        return self._json("POST", path, query, body)

    def patch(self, path: str, body: Json) -> dict[str, Any]:
        """Change parts of an object."""
        return self._json("PATCH", path, {}, body, content=MERGE)

    def delete(self, path: str, **query: str) -> None:
        """Delete an object, or all that a selector names. Gone is fine."""
        try:
            self._call("DELETE", path, query, None, JSON)
        except ApiError as exc:
            if exc.status != 404:
                raise

    def text(self, path: str, **query: str) -> bytes:
        """Read what is not JSON."""
        return self._call("GET", path, query, None, JSON)

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            if self._client is not None:
                self._client.rest_client.pool_manager.clear()
                self._client = None

    def _json(
        self, method: str, path: str, query: Mapping[str, str], body: Json = None, *, content: str = JSON
    ) -> dict[str, Any]:
        answer = self._call(method, path, query, body, content)
        try:
            return dict(json.loads(answer))
        except ValueError as exc:
            raise Unreachable(f"{self.host} answered with something else than JSON") from exc

    def _call(self, method: str, path: str, query: Mapping[str, str], body: Json, content: str) -> bytes:
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        client = self._open()
        headers = {"Accept": "application/json, */*", "User-Agent": "poolform"}
        if body is not None:
            headers["Content-Type"] = content
        if self._acting_as:
            headers["Impersonate-User"] = self._acting_as
        # Asked for each time: a token that is about to expire is renewed here.
        for setting in client.configuration.auth_settings().values():
            if setting["in"] == "header":
                headers[setting["key"]] = setting["value"]
        url = f"{self.host}{path}{f'?{urlencode(query)}' if query else ''}"
        try:
            response = client.rest_client.pool_manager.request(
                method,
                url,
                headers=headers,
                body=None if body is None else json.dumps(body, ensure_ascii=False).encode(),
                timeout=Timeout(connect=_CONNECT, read=_READ),
                retries=False,
            )
            data: bytes = response.data
        except HTTPError as exc:
            raise Unreachable(f"{self.host} cannot be asked: {exc}") from exc
        if response.status >= 300:
            raise _error(response.status, data)
        return data

    def _open(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = _client(self._files, self._context)
            return self._client


@contextmanager
def sentences(doing: str) -> Iterator[None]:
    """Turn what the cluster says while `doing` something into a PoolformError that a person can act on."""
    try:
        yield
    except ApiError as exc:
        hint = None
        if exc.status == 401:
            hint = "Log in to the cluster again, as for kubectl; `kubectl auth whoami` should answer."
        elif exc.status == 403:
            hint = "Ask whoever administers the cluster; docs/pool-types/kubernetes.md lists what is needed."
        raise PoolformError(f"{doing} failed: {exc}", hint=hint) from exc
    except Unreachable as exc:
        raise PoolformError(
            f"{doing} failed: {exc}", hint="Check the network, and the context: `kubectl version` should answer."
        ) from exc


def _client(files: str, context: str | None) -> Any:
    """Return the official client, connected to nothing yet. Raises PoolformError where there is no such way in."""
    try:
        import kubernetes.client
        import kubernetes.config
    except ModuleNotFoundError as exc:
        raise PoolformError(
            "Kubernetes pools need the kubernetes client, which is not installed.",
            hint="Install it: pip install 'poolform[kubernetes]'",
        ) from exc
    config: Any = kubernetes.config  # it says nothing of types
    found = kubernetes.client.Configuration()
    found.connection_pool_maxsize = _SEVERAL
    there = kubeconfig.paths(files) or kubeconfig.paths(kubeconfig.offered())
    try:
        if context is not None and there:
            known = kubeconfig.contexts(there)
            if context not in known:
                raise _unknown(context, known)
            joined = os.pathsep.join(map(str, there))
            config.load_kube_config(joined, context, client_configuration=found, persist_config=False)
        elif context is None or "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(client_configuration=found)
        else:
            raise PoolformError(
                f"There is no kubeconfig at {files}, and the pool needs its context {context}.",
                hint="Name the file: --set kubeconfig=PATH, or KUBECONFIG=PATH in the environment.",
            )
    except config.ConfigException as exc:
        if context is None and there:
            raise PoolformError(
                "No context is named, and Poolform does not run in a Kubernetes cluster.",
                hint=f"Name one of your kubeconfig's: --set context=NAME ({', '.join(kubeconfig.contexts(there))})",
            ) from exc
        if context is None:
            raise PoolformError(
                f"There is no kubeconfig at {files}, and Poolform does not run in a Kubernetes cluster.",
                hint="Name the file and a context of it: --set kubeconfig=PATH --set context=NAME",
            ) from exc
        raise PoolformError(f"The kubeconfig's context {context} cannot be used: {exc}") from exc
    return kubernetes.client.ApiClient(found)


def _unknown(context: str, known: list[str]) -> PoolformError:
    names = ", ".join(known) or "none"
    return PoolformError(
        f"The kubeconfig has no context called {context}; it has: {names}.",
        hint="Choose one of them: --set context=NAME" if known else None,
    )


def _error(status: int, data: bytes) -> ApiError:
    """Read the Status object that every error of the API comes as; a proxy in between may answer otherwise."""
    try:
        said = json.loads(data)
        return ApiError(status, str(said.get("reason") or ""), str(said.get("message") or "no message"))
    except (ValueError, AttributeError):
        return ApiError(status, "", data[:200].decode(errors="replace").strip() or "no message")
