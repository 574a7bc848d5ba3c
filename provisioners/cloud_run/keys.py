"""The key of a pool's launcher account: one at a time, made outside Terraform so that no state holds it."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import TYPE_CHECKING

from pydantic import SecretStr

from poolform.core.errors import PoolformError
from poolform.core.pools.contract import Block, Credential
from poolform.provisioners.cloud_run import session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolform.core.pools.contract import Connection

LIMIT = 10
"""Most keys that an account has: https://cloud.google.com/iam/quotas"""


class GcpCredentials(Block):
    """A key of a service account, under the names of Prefect's block; the key itself as JSON text."""

    block_type = "gcp-credentials"
    title = "Google Cloud credentials"

    service_account_info: SecretStr
    project: str | None = None


def issued(connection: Connection) -> Sequence[str]:
    """Return the ids of the keys that the launcher's account has; none where there is no such account."""
    account = connection.settings["launcher_email"]
    if account is None:
        return ()
    from google.api_core.exceptions import NotFound

    with session.sentences(f"Listing the keys of {account}"):
        try:
            listed = session.Google().call("GET", "iam", _keys(connection), keyTypes="USER_MANAGED")
        except NotFound:
            return ()
    return [key["name"].rsplit("/", 1)[-1] for key in listed.get("keys", ())]


def mint(connection: Connection) -> Credential:
    """Make a key and return it: Google shows it this once, and keeps only its public half."""
    from google.api_core.exceptions import FailedPrecondition, GoogleAPICallError

    account = connection.settings["launcher_email"]
    with session.sentences(f"Creating a key for {account}"):
        try:
            # Asked once: Google would answer a repetition, after a lost answer, with another key.
            made = session.Google().call(
                "POST", "iam", _keys(connection), {"privateKeyType": "TYPE_GOOGLE_CREDENTIALS_FILE"}
            )
        except (FailedPrecondition, GoogleAPICallError) as exc:
            if "key creation is not allowed" not in str(exc).lower():
                raise
            raise PoolformError(
                f"Creating a key for {account} failed: an organisation policy forbids keys of service accounts.",
                hint="Use credentials=impersonate, which needs none.",
            ) from exc
    text = base64.b64decode(made["privateKeyData"]).decode()
    key_id = made["name"].rsplit("/", 1)[-1]
    data = {"service_account_info": json.dumps(json.loads(text)), "project": connection.settings["project"]}
    return Credential(GcpCredentials.block_type, data, key_id=key_id)


def revoke(connection: Connection, key_id: str) -> None:
    """Delete a key of the launcher's account. Gone is fine."""
    from google.api_core.exceptions import NotFound

    account = connection.settings["launcher_email"]
    with session.sentences(f"Deleting the key {key_id} of {account}"), suppress(NotFound):
        session.Google().call("DELETE", "iam", f"{_keys(connection)}/{key_id}")


def _keys(connection: Connection) -> str:
    settings = connection.settings
    return f"v1/projects/{settings['project']}/serviceAccounts/{settings['launcher_email']}/keys"
