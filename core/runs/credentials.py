"""Blocks for code and images: a token for git, keys for a bucket, a registry's login. Known in every installation.

What a job needs of one travels as the job's secret, never in its environment's clear part or on a command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from poolform.core.errors import UsageError
from poolform.core.pools.contract import Block

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolform.core.blocks import Document

# What the hosts want beside a token that is no password of a person:
# https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/authenticating-as-a-github-app-installation
# https://docs.gitlab.com/ee/api/oauth2.html, https://support.atlassian.com/bitbucket-cloud/docs/using-access-tokens/
_USERS = {"gitlab": "oauth2", "bitbucket": "x-token-auth"}
_ANY_USER = "x-access-token"


class GitCredentials(Block):
    """A token for repositories, or a password; `username` only where the host wants a certain one."""

    block_type = "git-credentials"
    title = "Git credentials"

    token: SecretStr
    username: str | None = None


class StorageCredentials(Block):
    """Keys for a bucket, under the names of fsspec's file systems: S3, Google Cloud Storage, Azure Blob Storage."""

    block_type = "storage-credentials"
    title = "Storage credentials"

    key: SecretStr | None = None
    """S3: the access key's id."""
    secret: SecretStr | None = None
    token: SecretStr | None = None
    """S3: the session's token. Google: the service account's key, as JSON text."""
    account_name: str | None = None
    """Azure: the storage account."""
    account_key: SecretStr | None = None
    sas_token: SecretStr | None = None
    connection_string: SecretStr | None = None


class RegistryCredentials(Block):
    """A login for a registry of images; `registry` is its host, the image's own where it is not given."""

    block_type = "registry-credentials"
    title = "Registry credentials"

    username: str
    password: SecretStr
    registry: str | None = None


BLOCK_TYPES: tuple[type[Block], ...] = (GitCredentials, RegistryCredentials, StorageCredentials)


def for_git(document: Document, url: str) -> dict[str, str]:
    """Return the user and the password that git is to use. Raises UsageError for a block that has none."""
    password = document.data.get("token") or document.data.get("value")
    if not isinstance(password, str):
        raise _unfit(document, "git", "git-credentials")
    host = urlsplit(url).hostname or ""
    user = next((user for name, user in _USERS.items() if name in host), _ANY_USER)
    return {"username": document.data.get("username") or user, "password": password}


def for_storage(document: Document) -> dict[str, Any]:
    """Return options of fsspec's file systems. Raises UsageError for a block that has none."""
    data: Mapping[str, Any] = {name: value for name, value in document.data.items() if value is not None}
    if document.type == "aws-credentials":
        names = {"key": "aws_access_key_id", "secret": "aws_secret_access_key", "token": "aws_session_token"}
        data = {name: data[theirs] for name, theirs in names.items() if theirs in data}
    elif document.type != StorageCredentials.block_type:
        raise _unfit(document, "a bucket", "storage-credentials or aws-credentials")
    token = data.get("token")
    if isinstance(token, str) and token.lstrip().startswith("{"):  # a Google key: its file system takes the object
        import json

        data = {**data, "token": json.loads(token)}
    return dict(data)


def _unfit(document: Document, what: str, wanted: str) -> UsageError:
    return UsageError(
        f"The block {document.type}/{document.name} has no credentials for {what}.",
        hint=f"It takes a block of the type {wanted}.",
    )
