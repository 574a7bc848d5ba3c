"""Ways into an AWS account: the caller's own, and the pool's launcher identity. boto3 is imported on first use."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from poolform.core.errors import PoolformError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from poolform.core.pools.contract import Credential
    from poolform.core.runs.launchers import Json

# Names of what is wrong, as AWS's services spell them.
THROTTLED = frozenset(
    {"Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded", "TooManyRequestsException"}
)
NOT_ACCEPTED = frozenset(
    {
        "AuthFailure", "ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "InvalidClientTokenId",
        "InvalidSignatureException", "MissingAuthenticationToken", "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)  # fmt: skip
DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})


class Clients:
    """boto3 clients of one identity, each made once. Thread-safe."""

    def __init__(
        self, region: str, credential: Credential | None = None, *, role: str | None = None, attempts: int = 4
    ) -> None:
        self._region, self._credential, self._role, self._attempts = region, credential, role, attempts
        self._clients: dict[str, Any] = {}
        self._session: Any = None
        # Making clients is not thread-safe in boto3; using them is.
        self._lock = threading.Lock()

    @classmethod
    def of_launcher(cls, settings: Mapping[str, Json], credential: Credential | None) -> Clients:
        """Return the clients that a pool's jobs are launched with, from its connection's settings."""
        kind = settings["credentials"]
        if kind == "key" and credential is None:
            raise PoolformError(
                "The pool's credentials block is gone, and its launcher has no other key.",
                hint="Make a new one: poolform work-pool provision-infra POOL",
            )
        return cls(
            settings["region"],
            credential if kind == "key" else None,
            role=settings["launcher_arn"] if kind == "role" else None,
        )

    def __getitem__(self, service: str) -> Any:
        """Return the client of a service, such as `ecs`."""
        with self._lock:
            if service not in self._clients:
                self._session = self._session or self._open()
                self._clients[service] = self._session.client(service, config=_config(self._attempts))
            return self._clients[service]

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()
            self._session = None

    def _open(self) -> Any:
        boto3 = _boto3()
        if self._credential is not None:
            return boto3.Session(
                aws_access_key_id=self._credential.data["aws_access_key_id"],
                aws_secret_access_key=self._credential.data["aws_secret_access_key"],
                region_name=self._region,
            )
        session = boto3.Session(region_name=self._region)
        return session if self._role is None else _assuming(session, self._role, self._region)


@contextmanager
def sentences(doing: str) -> Iterator[None]:
    """Turn what boto3 raises while `doing` something into a PoolformError that a person can act on."""
    _boto3()  # says what to install, where it is missing
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as exc:
        code = error_code(exc)
        hint = None
        if code in NOT_ACCEPTED:
            hint = "Log in to AWS again, or check AWS_PROFILE and the keys in the environment."
        elif code in DENIED:
            hint = "Ask whoever administers the AWS account; docs/pool-types/ecs.md lists what is needed."
        raise PoolformError(f"{doing} failed: {error_text(exc)}", hint=hint) from exc
    except BotoCoreError as exc:
        raise PoolformError(
            f"{doing} failed: {exc}",
            hint="Check the network, the region, AWS_PROFILE and the AWS credentials in the environment.",
        ) from exc


def error_code(exc: Any) -> str:
    """Return the service's name of what is wrong."""
    return str(exc.response.get("Error", {}).get("Code", ""))


def error_text(exc: Any) -> str:
    """Return what the service said, with its name of what is wrong."""
    message = exc.response.get("Error", {}).get("Message", "").strip()
    return f"{message} ({error_code(exc)})" if message else error_code(exc)


def _boto3() -> Any:
    try:
        import boto3
    except ModuleNotFoundError as exc:
        raise PoolformError(
            "ECS pools need boto3, which is not installed.", hint="Install it: pip install 'poolform[aws]'"
        ) from exc
    return boto3


def _config(attempts: int = 4) -> Any:
    from botocore.config import Config

    return Config(
        connect_timeout=5,
        read_timeout=30,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=16,
        user_agent_extra="poolform",
    )


def _assuming(session: Any, role: str, region: str) -> Any:
    """Return a session that acts as `role`, and asks for new keys before the old ones expire."""
    import botocore.session
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
    from botocore.exceptions import NoCredentialsError

    source = session.get_credentials()
    if source is None:
        raise NoCredentialsError

    def create_client(service: str, **keys: Any) -> Any:
        return session.client(service, region_name=region, config=_config(), **keys)

    fetcher = AssumeRoleCredentialFetcher(create_client, source, role, extra_args={"RoleSessionName": "poolform"})
    inner = botocore.session.Session()
    # botocore has no public way to give a session credentials that refresh themselves; this is what its own
    # documentation of assumed roles comes down to.
    inner._credentials = DeferredRefreshableCredentials(  # noqa: SLF001
        method="assume-role", refresh_using=fetcher.fetch_credentials
    )
    return _boto3().Session(botocore_session=inner, region_name=region)
