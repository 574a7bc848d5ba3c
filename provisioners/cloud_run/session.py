"""Ways into Google Cloud: the caller's own, and the pool's launcher identity. Google's libraries load on first use.

Cloud Run and Resource Manager are asked by their own libraries, over REST; the few calls to IAM, Logging, Secret
Manager and others by google-auth's session, which needs no library for each. All raise google.api_core's exceptions.
"""

from __future__ import annotations

import json
import os
import re
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from poolform.core.errors import PoolformError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from poolform.core.pools.contract import Credential
    from poolform.core.runs.launchers import Json

ENDPOINT_VARIABLE = "POOLFORM_GOOGLE_ENDPOINT"
"""Names one server that stands in for all of Google's APIs, such as http://127.0.0.1:8080: for tests, and proxies."""

SCOPES = ("https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/userinfo.email")
_TIMEOUT = 30.0  # seconds for one call
_LOG_IN = "Log in again (gcloud auth application-default login), or check GOOGLE_APPLICATION_CREDENTIALS."


def endpoint(service: str) -> str:
    """Return the URL of an API, such as `run`."""
    return os.environ.get(ENDPOINT_VARIABLE, "").rstrip("/") or f"https://{service}.googleapis.com"


class Google:
    """Google's APIs as one identity: the caller's, a key's, or a service account's that the caller acts as.

    Thread-safe: each client is made once, and using them is.
    """

    def __init__(self, *, credential: Credential | None = None, impersonate: str | None = None) -> None:
        self._credential, self._impersonate = credential, impersonate
        self._made: dict[str, Any] = {}
        self._lock = threading.RLock()

    @classmethod
    def of_launcher(cls, settings: Mapping[str, Json], credential: Credential | None) -> Google:
        """Return what a pool's jobs are launched as, from its connection's settings."""
        kind = settings["credentials"]
        if kind == "key" and credential is None:
            raise PoolformError(
                "The pool's credentials block is gone, and its launcher has no other key.",
                hint="Make a new one: poolform work-pool provision-infra POOL",
            )
        return cls(
            credential=credential if kind == "key" else None,
            impersonate=settings["launcher_email"] if kind == "impersonate" else None,
        )

    @property
    def credentials(self) -> Any:
        """The identity's credentials. Raises google.auth.exceptions where there are none, or where they are broken."""
        return self._once("credentials", self._find_credentials)

    def run(self, kind: str) -> Any:
        """Return a client of Cloud Run: `Jobs`, `Executions` or `Tasks`."""
        from google.cloud import run_v2

        return self._once(kind, lambda: getattr(run_v2, f"{kind}Client")(**self._client_options("run")))

    def projects(self) -> Any:
        """Return a client of Resource Manager's projects."""
        from google.cloud import resourcemanager_v3

        options = self._client_options
        return self._once("projects", lambda: resourcemanager_v3.ProjectsClient(**options("cloudresourcemanager")))

    def call(self, method: str, service: str, path: str, body: Json = None, **query: Any) -> Any:
        """Ask an API for JSON and return its answer; what may be asked twice is asked again after a lost connection.

        Raises google.api_core.exceptions.GoogleAPICallError, requests.RequestException.
        """
        params = {name: value for name, value in query.items() if value is not None}

        def ask() -> Any:
            return self._ask(method, f"{endpoint(service)}/{path}", json=body, params=params)

        return again()(ask)() if method in ("GET", "DELETE") else ask()

    def pages(self, service: str, path: str, key: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield what a list method has under `key`, page by page."""
        token = None
        while True:
            page = self.call("GET", service, path, pageToken=token, **query)
            yield from page.get(key, ())
            token = page.get("nextPageToken")
            if not token:
                return

    def token(self) -> str:
        """Return an access token, good for up to an hour."""
        from google.auth.transport.requests import Request

        credentials = self.credentials
        if not credentials.valid:
            credentials.refresh(Request())
        return str(credentials.token)

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for name, made in self._made.items():
                if name == "session":
                    made.close()
                elif name != "credentials":
                    made.transport.close()
            self._made.clear()

    def _ask(self, method: str, url: str, **content: Any) -> Any:
        from google.api_core.exceptions import from_http_response

        answer = self._once("session", self._open_session).request(method, url, timeout=_TIMEOUT, **content)
        if answer.status_code >= 400:
            raise from_http_response(answer)
        return answer.json() if answer.content else {}

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        with self._lock:
            if name not in self._made:
                self._made[name] = make()
            return self._made[name]

    def _find_credentials(self) -> Any:
        if self._credential is not None:
            return _of_key(self._credential)
        found = _default()
        if self._impersonate is None:
            return found
        from google.auth import impersonated_credentials

        override = f"/v1/projects/-/serviceAccounts/{self._impersonate}:generateAccessToken"
        return impersonated_credentials.Credentials(
            source_credentials=found,
            target_principal=self._impersonate,
            target_scopes=[SCOPES[0]],
            iam_endpoint_override=endpoint("iamcredentials") + override,
        )

    def _open_session(self) -> Any:
        from google.auth.transport.requests import AuthorizedSession

        return AuthorizedSession(self.credentials)

    def _client_options(self, service: str) -> dict[str, Any]:
        options: dict[str, Any] = {"credentials": self.credentials, "transport": "rest"}
        if os.environ.get(ENDPOINT_VARIABLE):
            options["client_options"] = {"api_endpoint": endpoint(service)}
        return options


def again() -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a policy for Google's libraries: ask again for some seconds when the platform, or the way to it, fails.

    Raises in the end what was raised, and not their RetryError around it.
    """
    from google.api_core import exceptions, retry
    from requests import ConnectionError as Lost

    passing = (exceptions.InternalServerError, exceptions.ServiceUnavailable, exceptions.TooManyRequests, Lost)
    policy = retry.Retry(predicate=retry.if_exception_type(*passing), initial=0.2, maximum=2.0, timeout=6.0)

    def patient(ask: Callable[..., Any]) -> Callable[..., Any]:
        asking = policy(ask)

        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return asking(*args, **kwargs)
            except exceptions.RetryError as exc:
                raise exc.cause or exc from exc

        return call

    return patient


@contextmanager
def sentences(doing: str) -> Iterator[None]:
    """Turn what Google's libraries raise while `doing` something into a PoolformError that a person can act on."""
    _require_libraries()
    from google.api_core.exceptions import Forbidden, GoogleAPICallError, Unauthenticated, Unauthorized
    from google.auth.exceptions import GoogleAuthError, TransportError
    from requests import RequestException

    try:
        yield
    except (Unauthorized, Unauthenticated) as exc:
        raise PoolformError(f"{doing} failed: {error_text(exc)}", hint=_LOG_IN) from exc
    except Forbidden as exc:
        hint = "Ask whoever administers the project; docs/pool-types/cloud-run.md lists what is needed."
        raise PoolformError(f"{doing} failed: {error_text(exc)}", hint=hint) from exc
    except GoogleAPICallError as exc:
        raise PoolformError(f"{doing} failed: {error_text(exc)}") from exc
    except (TransportError, RequestException) as exc:
        raise PoolformError(
            f"{doing} failed: Google cannot be reached: {type(exc).__name__}.", hint="Check the network, and proxies."
        ) from exc
    except GoogleAuthError as exc:
        raise PoolformError(f"{doing} failed: {error_text(exc)}", hint=_LOG_IN) from exc


def error_text(exc: BaseException) -> str:
    """Return what Google said, on one line, without the method and URL that its library puts before it."""
    said, *more = exc.args or ("",)
    text = re.sub(r"^[A-Z]+ https?://\S+: ", "", str(getattr(exc, "message", "") or said))
    for detail in more:  # google-auth hands on the answer to its own request
        try:
            text += f": {json.loads(detail)['error']['message']}"
        except (KeyError, TypeError, ValueError):
            continue
    return " ".join(text.split()).rstrip(".") or type(exc).__name__


def key_info(credential: Credential) -> dict[str, Any]:
    """Return the service account key that a credential holds."""
    found: dict[str, Any] = json.loads(credential.data["service_account_info"])
    return found


def _of_key(credential: Credential) -> Any:
    from google.oauth2 import service_account

    return service_account.Credentials.from_service_account_info(key_info(credential), scopes=SCOPES)


def _default() -> Any:
    import google.auth

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a person's own login has no quota project: theirs to decide
        return google.auth.default(scopes=SCOPES)[0]


def _require_libraries() -> None:
    try:
        import google.auth
        import google.cloud.resourcemanager_v3
        import google.cloud.run_v2  # noqa: F401
    except ModuleNotFoundError as exc:
        raise PoolformError(
            f"Cloud Run pools need Google's libraries, and {exc.name} is not installed.",
            hint="Install them: pip install 'poolform[gcp]'",
        ) from exc
