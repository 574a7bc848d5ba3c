"""The pool's ECR repository: what images are called in it, and a login for whoever pushes some."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from poolform.core.runs.docker import RegistryLogin
from poolform.provisioners.ecs import session

if TYPE_CHECKING:
    from poolform.core.pools.contract import Connection

TAG_LIMIT = 128


def reference(connection: Connection, name: str, tag: str) -> str:
    """Return an image's name in the pool's repository.

    ECR makes no repositories when somebody pushes, and a pool has one: so what tells its images apart is the tag.
    """
    return f"{connection.image_namespace}:{f'{name}-{tag}'[-TAG_LIMIT:].lstrip('.-')}"


def login(connection: Connection) -> RegistryLogin:
    """Return a login as whoever deploys, valid for 12 hours. Raises PoolformError where AWS gives none.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html
    """
    clients = session.Clients(connection.settings["region"])
    with session.sentences("Getting a login for the pool's registry"):
        (data,) = clients["ecr"].get_authorization_token()["authorizationData"]
    clients.close()
    username, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    return RegistryLogin((connection.image_namespace or "").split("/", 1)[0], username, password)
