"""The pool's Artifact Registry repository: what images are called in it, and a login for whoever pushes some."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolform.core.runs.docker import RegistryLogin
from poolform.provisioners.cloud_run import session

if TYPE_CHECKING:
    from poolform.core.pools.contract import Connection


def reference(connection: Connection, name: str, tag: str) -> str:
    """Return an image's name in the pool's repository, which holds any number of images."""
    return f"{connection.image_namespace}/{name}:{tag}"


def login(connection: Connection) -> RegistryLogin:
    """Return a login, good for up to an hour: as the launcher where the caller may act as it, else as the caller.

    https://cloud.google.com/artifact-registry/docs/docker/authentication#token
    """
    settings = connection.settings
    impersonate = settings["launcher_email"] if settings["credentials"] == "impersonate" else None
    with session.sentences("Getting a login for the pool's registry"):
        token = session.Google(impersonate=impersonate).token()
    return RegistryLogin((connection.image_namespace or "").split("/", 1)[0], "oauth2accesstoken", token)
