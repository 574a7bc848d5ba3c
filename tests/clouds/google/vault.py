"""Secret Manager: secrets of one project, and who may read them."""

from __future__ import annotations

import base64
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clouds.google.wire import GoogleError

if TYPE_CHECKING:
    from clouds.google.accounts import Accounts
    from clouds.google.wire import Request


@dataclass
class Vault:
    """All secrets, with their versions, oldest first."""

    accounts: Accounts
    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, list[bytes]] = field(default_factory=dict, repr=False)
    _lock: Any = field(default_factory=threading.Lock)

    def create(self, request: Request) -> dict[str, Any]:
        name, body = request.query.get("secretId", ""), request.body
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", name):
            raise GoogleError(400, f"Secret ID [{name}] must match the pattern [a-zA-Z_0-9]+")
        if "replication" not in body or body.keys() - {"replication", "labels", "annotations"}:
            raise GoogleError(400, "Invalid Secret: replication is required, and nothing else is known.")
        _check_labels(body.get("labels", {}))
        with self._lock:
            if name in self.secrets:
                raise GoogleError(409, f"Secret [{self._path(name)}] already exists.")
            self.secrets[name] = {"name": self._path(name), **body}
            self.versions[name] = []
        return self.secrets[name]

    def add(self, request: Request) -> dict[str, Any]:
        name = request.args[-1]
        value = base64.b64decode(request.body["payload"]["data"])
        if len(value) > 65536:
            raise GoogleError(400, "The payload is over 64 KiB.")
        with self._lock:
            self._known(name)
            self.versions[name].append(value)
            return {"name": f"{self._path(name)}/versions/{len(self.versions[name])}", "state": "ENABLED"}

    def delete(self, request: Request) -> dict[str, Any]:
        with self._lock:
            self._known(request.args[-1])
            del self.secrets[request.args[-1]], self.versions[request.args[-1]]
        return {}

    def list(self, request: Request) -> dict[str, Any]:
        wanted = request.query.get("filter", "").removeprefix("name:")
        with self._lock:
            return {"secrets": [item for name, item in sorted(self.secrets.items()) if wanted in name]}

    def read(self, name: str, version: str, reader: str) -> str:
        """Return a value as Cloud Run reads it for a job. Raises GoogleError where its account may not."""
        short = name.rsplit("/", 1)[-1]
        with self._lock:
            values = self.versions.get(short, [])
            if not values:
                raise GoogleError(404, f"Secret {self._path(short)}/versions/{version} was not found")
            value = values[-1] if version == "latest" else values[int(version) - 1]
        if not self.accounts.allows(
            reader, "secretmanager.versions.access", f"projects/{self.accounts.project}/secrets/{short}"
        ):
            raise GoogleError(
                403,
                f"Permission denied on secret: {self._path(short)}/versions/{version} for Revision service account "
                f"{reader}. The service account used must be granted the 'Secret Manager Secret Accessor' role.",
            )
        return value.decode()

    def _known(self, name: str) -> None:
        if name not in self.secrets:
            raise GoogleError(404, f"Secret [{self._path(name)}] not found.")

    def _path(self, name: str) -> str:
        return f"projects/{self.accounts.number}/secrets/{name}"


def _check_labels(labels: dict[str, str]) -> None:
    for key, value in labels.items():
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) or not re.fullmatch(r"[a-z0-9_-]{0,63}", value):
            raise GoogleError(400, f"Invalid label {key}={value}")
