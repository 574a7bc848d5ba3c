"""The access key of a pool's launcher user: one at a time, made outside Terraform so that no state holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from poolform.core.pools.contract import Block, Credential, Finding
from poolform.provisioners.ecs import session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolform.core.pools.contract import Connection


class AwsCredentials(Block):
    """An access key of AWS, under the names of Prefect's block."""

    block_type = "aws-credentials"
    title = "AWS credentials"

    aws_access_key_id: str
    aws_secret_access_key: SecretStr
    aws_session_token: SecretStr | None = None
    region_name: str | None = None


def issued(connection: Connection) -> Sequence[str]:
    """Return the ids of the keys that the launcher user has; none where there is no such user."""
    user = _user(connection)
    if user is None:
        return ()
    from botocore.exceptions import ClientError

    with session.sentences(f"Listing the keys of {user}"):
        try:
            found = _iam(connection).list_access_keys(UserName=user)["AccessKeyMetadata"]
        except ClientError as exc:
            if session.error_code(exc) != "NoSuchEntity":
                raise
            return ()
    return [key["AccessKeyId"] for key in found]


def mint(connection: Connection) -> Credential:
    """Make a key and return it: AWS shows its secret this once."""
    user = _user(connection)
    # Asked once: AWS would answer a repetition, after a lost answer, with another key.
    iam = session.Clients(connection.settings["region"], attempts=1)["iam"]
    with session.sentences(f"Creating a key for {user}"):
        key = iam.create_access_key(UserName=user)["AccessKey"]
    data = {
        "aws_access_key_id": key["AccessKeyId"],
        "aws_secret_access_key": key["SecretAccessKey"],
        "region_name": connection.settings["region"],
    }
    return Credential(AwsCredentials.block_type, data, key_id=key["AccessKeyId"])


def revoke(connection: Connection, key_id: str) -> None:
    """Delete a key of the launcher user. Gone is fine."""
    user = _user(connection)
    from botocore.exceptions import ClientError

    with session.sentences(f"Deleting the key {key_id} of {user}"):
        try:
            _iam(connection).delete_access_key(UserName=user, AccessKeyId=key_id)
        except ClientError as exc:
            if session.error_code(exc) != "NoSuchEntity":
                raise


def authenticate(connection: Connection, credential: Credential | None) -> Finding:
    """List the pool's tasks once, which needs the identity, its policy and the cluster.

    Where somebody else dispatches, by the pool's own variables, it shows nothing that this caller may not.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    settings = connection.settings
    subject = {"role": f"role {settings['launcher_arn']}", "key": f"key of {settings['launcher_arn']}"}.get(
        settings["credentials"], "the AWS credentials in the environment"
    )
    again = "Make new credentials: poolform work-pool provision-infra POOL"
    try:
        clients = session.Clients.of_launcher(settings, credential)
        clients["ecs"].list_tasks(cluster=settings["cluster_arn"], maxResults=1)
    except ClientError as exc:
        text = session.error_text(exc)
        if session.error_code(exc) in session.THROTTLED:
            return Finding(subject, "unknown", text)
        if session.error_code(exc) in session.DENIED and settings["credentials"] == "ambient":
            return Finding(subject, "unknown", f"{text}. Whoever dispatches has to be allowed to; you need not be.")
        if session.error_code(exc) in session.DENIED and settings.get("dispatchers"):
            return Finding(subject, "unknown", f"{text}. It is for {', '.join(settings['dispatchers'])}.")
        return Finding(subject, "missing", text, again if settings["credentials"] == "key" else None)
    except BotoCoreError as exc:
        return Finding(subject, "unknown", str(exc))
    return Finding(subject, "allowed")


def _user(connection: Connection) -> str | None:
    arn = str(connection.settings["launcher_arn"] or "")
    return arn.rsplit("/", 1)[-1] if ":user/" in arn else None


def _iam(connection: Connection) -> Any:
    """Return IAM as the caller: the launcher itself may not touch its own keys."""
    return session.Clients(connection.settings["region"])["iam"]
