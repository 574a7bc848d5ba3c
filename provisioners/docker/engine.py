"""The way to an engine: where it is, which one it is, and what it says in words.

docker-py and not the `docker` program, which core uses to build and push: launching asks the engine several times a
second, and an environment with secrets must not become a command line. The program's own habits are kept: DOCKER_HOST,
contexts, logins and credential helpers.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolform.core.errors import PoolformError
from poolform.core.pools.contract import Finding, Identity
from poolform.core.runs.launchers import LaunchRefused, NoCapacity, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from poolform.provisioners.docker.variables import DockerVariables

TIMEOUT = 60.0
"""Seconds after which an engine that does not answer counts as away."""
DEFAULT_HOST = "unix:///var/run/docker.sock"
# https://docs.docker.com/reference/api/engine/version-history/: that of Docker 20.10, the oldest that was tried
_MINIMUM_API = (1, 41)
_FULL = ("no space left on device", "cannot allocate memory", "resource temporarily unavailable")


class Engine:
    """One engine, by its address or a context; asks nothing before it is used. `expected` is the id it must have."""

    def __init__(self, host: str, expected: str | None = None) -> None:
        self._host, self._expected = host, expected
        self._client: Any = None

    @property
    def client(self) -> Any:
        """The docker-py client. Raises Unavailable where the engine does not answer, or is another one."""
        if self._client is None:
            client = self.connect()
            with asking("asking the engine who it is"):
                found = client.info()["ID"] if self._expected else None
            if found != self._expected:
                client.close()
                raise Unavailable(f"the Docker engine at {self._host} is {found}, and the pool's is {self._expected}")
            self._client = client
        return self._client

    def connect(self) -> Any:
        """Return a new client of whatever engine answers there. Raises PoolformError, Unavailable."""
        docker = _docker()
        with asking(f"reaching the Docker engine at {self._host}"):
            return docker.DockerClient(timeout=TIMEOUT, **_arguments(self._host))

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None


def _arguments(host: str) -> dict[str, Any]:
    """Return where docker-py is to connect to, and with which certificates. Raises PoolformError for no context."""
    from docker.context import ContextAPI
    from docker.utils import kwargs_from_env

    if "://" in host:  # its certificates come from the dispatcher's environment, as with the docker program
        return dict(kwargs_from_env({**os.environ, "DOCKER_HOST": host}))
    found = ContextAPI.get_context(host)
    if found is None:
        raise PoolformError(
            f"There is no Docker context {host} here.",
            hint="`docker context ls` shows those that there are; `docker context create` makes one.",
        )
    return {"base_url": found.Host, **({"tls": found.TLSConfig} if found.TLSConfig else {})}


def found_host() -> str:
    """Return where the docker program would go from here: an address, or the name of a context."""
    named = os.environ.get("DOCKER_HOST") or os.environ.get("DOCKER_CONTEXT") or _current_context()
    return named if named and named != "default" else DEFAULT_HOST


def identify(variables: DockerVariables) -> Identity:
    """Return which engine answers: its id is the account. Raises PoolformError where none does."""
    info = _facts(variables)[0]
    if variables.engine is not None and variables.engine != info["ID"]:
        raise PoolformError(
            f"The engine at {variables.host} is {info['ID']}, and the pool is for {variables.engine}.",
            hint=f"Start the other one, or take this one: --set engine={info['ID']}",
        )
    return Identity(f"a user of the Docker engine {info['Name']}", str(info["ID"]))


def check(variables: DockerVariables) -> Iterable[Finding]:
    """Say whether the engine is new enough, can limit jobs, and has the network that is to be used."""
    info, version = _facts(variables)
    if tuple(map(int, version["ApiVersion"].split("."))) < _MINIMUM_API:
        hint = "Update Docker to 20.10 or newer."
        yield Finding(
            "the engine's version", "missing", f"Docker {version['Version']} is too old", hint, is_permission=False
        )
    for limit, what in (("MemoryLimit", "memory"), ("CpuCfsQuota", "CPUs")):
        if not info.get(limit, True):
            yield Finding(f"limits of {what}", "unknown", f"the engine cannot limit the {what} of a container")
    if variables.network is not None and not _has_network(variables, variables.network):
        name = variables.network
        hint = f"Make it (docker network create {name}), or let the pool have its own: --set own_network=true"
        yield Finding(f"the network {name}", "missing", "the engine has no such network", hint, is_permission=False)


def _has_network(variables: DockerVariables, name: str) -> bool:
    client = Engine(variables.host).connect()
    with asking("looking for a network"):
        found = client.networks.list(names=[name])  # the engine takes it for a part of a name
    client.close()
    return any(network.name == name for network in found)


def _facts(variables: DockerVariables) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the engine says of itself and of its version. Raises PoolformError where none answers."""
    try:
        client = Engine(variables.host).connect()
        with asking("asking the engine who it is"):
            facts = client.info(), client.version()
    except Unavailable as exc:
        raise PoolformError(
            f"No Docker engine answers: {exc}.",
            hint="Start it (systemctl start docker, or Docker Desktop), or name another: --set host=ssh://USER@HOST",
        ) from exc
    client.close()
    return facts


@contextmanager
def asking(doing: str, *, refusing: bool = False) -> Iterator[None]:
    """Turn what docker-py raises into Unavailable; `refusing`, what the engine will never do into LaunchRefused."""
    from docker.errors import APIError, DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except APIError as exc:
        text = explanation(exc)
        if refusing:
            raise refusal(doing, text) from exc
        raise Unavailable(f"{doing}: {text}") from exc
    except (DockerException, RequestException) as exc:
        raise Unavailable(f"{doing}: {_innermost(exc)}") from exc


def refusal(doing: str, text: str) -> Exception:
    """Return what a launch that failed with such words is: NoCapacity for what passes, else LaunchRefused."""
    full = next((sign for sign in _FULL if sign in text.lower()), None)
    if full:
        return NoCapacity(f"{doing}: the engine's machine is full: {full}")
    return LaunchRefused(f"{doing}: {text}")


def explanation(exc: Any) -> str:
    """Return what the engine said, in its own words."""
    return str(exc.explanation or exc).strip().rstrip(".")


def _innermost(exc: BaseException) -> str:
    """Return the reason at the bottom: docker-py wraps requests, which wraps urllib3, which wraps the socket."""
    inner = exc
    while (below := inner.__cause__ or inner.__context__) is not None:
        inner = below
    return getattr(inner, "strerror", None) or str(inner) or type(inner).__name__


def _current_context() -> str | None:
    """Read which context the docker program uses, without loading docker-py for it."""
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        name = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("currentContext")
    except (OSError, ValueError, AttributeError):
        return None
    return name if isinstance(name, str) else None


def _docker() -> Any:
    try:
        import docker
    except ModuleNotFoundError as exc:
        raise PoolformError(
            "Docker pools need docker-py, which is not installed.", hint="Install it: pip install 'poolform[docker]'"
        ) from exc
    return docker
