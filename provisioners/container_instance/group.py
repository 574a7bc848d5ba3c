"""From a job to the container group that runs it: its name, and the body of the PUT that makes it.

Pure: equal jobs give equal groups.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from poolform.core.runs.launchers import LaunchRefused
from poolform.provisioners.container_instance.job_variables import CONTAINER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolform.core.runs.launchers import Job, Json

PAYLOAD_LIMIT = 1 << 20
"""Bytes that command and environment of a job may take. Azure Resource Manager takes requests of 4 MiB, and in JSON a
letter may take up three times what it takes in UTF-8.
https://github.com/Azure/azure-resource-manager-rpc/blob/master/v1.0/common-api-details.md"""
KEY_TAG = "poolform-key"
# https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftcontainerinstance
_NAME = re.compile(r"(?!.*--)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NOT_IN_TAG_NAMES = re.compile(r"[<>%&\\?/\x00-\x1f]")
_MOST_TAGS = 50


def prefix(pool_id: str) -> str:
    """Return what the names of a pool's container groups begin with."""
    return f"poolform-{pool_id}-"


def group_name(pool_id: str, key: str) -> str:
    """Return the name of the container group for a job's key: the key in it where Azure can take it, else a digest."""
    name = f"{prefix(pool_id)}{key.replace('.', '-')}"
    if _NAME.fullmatch(name) and re.fullmatch(r"[a-z0-9-]+(\.\d+)?", key):
        return name
    return f"{prefix(pool_id)}{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def define(job: Job, settings: Mapping[str, Json]) -> dict[str, Json]:
    """Return the body of the PUT for a job, without its secrets. Raises LaunchRefused for one over the limit."""
    configuration = job.configuration
    size = len(json.dumps([job.command, dict(job.env)], ensure_ascii=False, separators=(",", ":")).encode())
    if size > PAYLOAD_LIMIT:
        raise LaunchRefused(
            f"its command and environment take {size:,} bytes, and a container group takes at most {PAYLOAD_LIMIT:,}; "
            "pass large values by reference, such as a file in a storage account"
        )
    body: dict[str, Json] = _pruned(configuration.get("container_group") or {})
    properties = body.setdefault("properties", {})
    own = _own(properties.setdefault("containers", []))
    own["command"] = list(job.command)
    own["environmentVariables"] = [
        *own.get("environmentVariables", ()),
        *({"name": name, "value": job.env[name]} for name in sorted(job.env)),
    ]
    properties["restartPolicy"] = "Never"
    properties.setdefault("osType", "Linux")
    if configuration.get("subnet_ids"):
        properties["subnetIds"] = [{"id": subnet} for subnet in configuration["subnet_ids"]]
    identities = [
        *(configuration.get("identities") or ()),
        *_registries(properties, own, configuration.get("image_registry"), settings),
    ]
    if identities:
        body["identity"] = {"type": "UserAssigned", "userAssignedIdentities": {item: {} for item in identities}}
    body.setdefault("location", settings["location"])
    body["tags"] = _tags({**settings["tags"], **body.get("tags", {}), **job.labels, KEY_TAG: job.key})
    return body


def with_secrets(body: Mapping[str, Json], secrets: Mapping[str, str], workspace: Mapping[str, str] | None) -> Json:
    """Return a copy of the body with what is never stored: the job's secrets, and the log workspace's key."""
    copy: dict[str, Json] = json.loads(json.dumps(body))
    own = _own(copy["properties"]["containers"])
    own["environmentVariables"] = [
        *(item for item in own["environmentVariables"] if item["name"] not in secrets),
        *({"name": name, "secureValue": secrets[name]} for name in sorted(secrets)),
    ]
    if workspace is not None:
        copy["properties"]["diagnostics"] = {"logAnalytics": {**workspace, "logType": "ContainerInstanceLogs"}}
    return copy


def _own(containers: list[dict[str, Json]]) -> dict[str, Json]:
    """Return the properties of the job's own container: the first of its name, put there where there is none."""
    for container in containers:
        if container.get("name") == CONTAINER:
            return container.setdefault("properties", {})  # type: ignore[no-any-return]
    containers.insert(0, {"name": CONTAINER, "properties": {}})
    return containers[0]["properties"]  # type: ignore[no-any-return]


def _registries(
    properties: dict[str, Json],
    own: Mapping[str, Json],
    other: Json,
    settings: Mapping[str, Json],
) -> list[str]:
    """Say in `properties` who pulls the image, where that takes an identity; return the identities."""
    known = {other["registry_url"]: other["identity"]} if other else {}
    # Only where it is needed: whatever identity a group has, its job can act as.
    if str(own.get("image", "")).startswith(f"{settings['registry_login_server']}/"):
        known[settings["registry_login_server"]] = settings["pull_identity_id"]
    if known:
        given = properties.get("imageRegistryCredentials", [])
        mine = [{"server": server, "identity": identity} for server, identity in known.items()]
        properties["imageRegistryCredentials"] = [*given, *mine]
    return list(known.values())


def _pruned(value: Json) -> Json:
    """Leave out what nobody set, all the way down: the API takes no nulls, and reads empty shells as wishes."""
    if isinstance(value, dict):
        kept = {key: _pruned(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item is not None and item not in ({}, [])}
    if isinstance(value, list):
        return [_pruned(item) for item in value if item is not None]
    return value


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags that Azure takes. It does not tell their names apart by case."""
    clean = {_NOT_IN_TAG_NAMES.sub("-", name)[:512]: str(value)[:256] for name, value in tags.items() if name}
    single = {name.lower(): name for name in clean}
    ours = [name for name in single.values() if name.startswith("poolform-")]
    kept = [*ours, *(name for name in single.values() if name not in ours)][:_MOST_TAGS]
    return {name: clean[name] for name in sorted(kept)}
