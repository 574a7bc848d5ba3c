"""From a job to what Modal's `Sandbox.create` is asked. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from poolform.core.runs.launchers import LaunchRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolform.core.runs.launchers import Job, Json

# The SDK's own limits (modal 1.6): names shorter than 64 characters; words of a command 2**16 bytes together.
LIMIT = 2**16
"""Most bytes of command and environment. Modal says it of the command; nobody knows what it takes as environment."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SETTINGS = ("cpu", "memory", "region", "cloud", "workdir")


def name_of(key: str) -> str:
    """Return the Sandbox's name for a job's key: the key, or a digest of it where Modal cannot take it."""
    return key if _NAME.fullmatch(key) else hashlib.sha256(key.encode()).hexdigest()[:60]


def options(job: Job, pool_id: str) -> dict[str, Json]:
    """Return what `Sandbox.create` is asked beside app, image and secrets. Raises LaunchRefused."""
    for name in (*job.env, *job.secrets):
        if not _ENV_NAME.fullmatch(name):
            raise LaunchRefused(f"{name!r} cannot name an environment variable: use letters, digits and underscores.")
    size = len(json.dumps([job.command, dict(job.env)], ensure_ascii=False, separators=(",", ":")).encode())
    if size > LIMIT:
        raise LaunchRefused(
            f"its command and environment take {size:,} bytes, and Modal is given at most {LIMIT:,}; pass large values "
            "by reference"
        )
    configuration = job.configuration
    settings = {name: configuration[name] for name in _SETTINGS if configuration.get(name) is not None}
    return {
        "name": name_of(job.key),
        "tags": {"poolform-key": job.key, "poolform-pool-id": pool_id, **_tags(job.labels)},
        "timeout": configuration.get("timeout") or 3600,
        "env": dict(job.env),
        **settings,
    }


def _tags(labels: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in labels.items() if key and value}


def reason(code: int | None) -> str | None:
    """Say what an exit code of Modal's own means, in words."""
    if code == 124:
        return "Modal ended it at its time limit, most likely; give it more with the job variable timeout"
    if code == 137:
        return "Modal terminated it"
    return None
