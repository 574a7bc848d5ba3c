"""What the API for container groups refuses: unknown fields, bad names, values out of bounds, too much of something.

Fields and their types: the API definition 2023-05-01, as in
https://github.com/Azure/azure-rest-api-specs/tree/main/specification/containerinstance/resource-manager
"""

from __future__ import annotations

import re
from typing import Any

from clouds.azure.wire import AzureError

BODY = 4 * 1024 * 1024
_NAME = re.compile(r"(?!.*--)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_.-][\w.-]*")
_FIELDS = {
    "": {"location", "tags", "identity", "properties", "zones"},
    "properties": {
        "containers", "osType", "restartPolicy", "priority", "imageRegistryCredentials", "subnetIds", "dnsConfig",
        "diagnostics", "ipAddress", "volumes", "initContainers", "sku", "encryptionProperties", "extensions",
        "confidentialComputeProperties",
    },
    "container": {"name", "properties"},
    "container properties": {
        "image", "command", "environmentVariables", "resources", "ports", "volumeMounts", "livenessProbe",
        "readinessProbe", "securityContext",
    },
    "variable": {"name", "value", "secureValue"},
    "requests": {"cpu", "memoryInGB", "gpu"},
    "credential": {"server", "username", "password", "identity", "identityUrl"},
    "identity": {"type", "userAssignedIdentities"},
    "logAnalytics": {"workspaceId", "workspaceKey", "workspaceResourceId", "logType", "metadata"},
}  # fmt: skip


def check(name: str, body: Any) -> None:
    """Refuse what the API would refuse. Raises AzureError."""
    if not _NAME.fullmatch(name):
        _refuse("InvalidContainerGroupName", f"The container group name '{name}' is invalid.")
    _only("", body)
    if not body.get("location"):
        _refuse("LocationRequired", "The location property is required for this definition.")
    _tags(body.get("tags") or {})
    _only("identity", body.get("identity") or {})
    properties = body.get("properties") or {}
    _only("properties", properties)
    _one_of(properties, "osType", ("Linux", "Windows"), required=True)
    _one_of(properties, "restartPolicy", ("Always", "OnFailure", "Never"))
    _one_of(properties, "priority", ("Regular", "Spot"))
    if properties.get("priority") == "Spot" and properties.get("subnetIds"):
        _refuse("SpotPriorityNotSupported", "Spot container groups are not supported in a virtual network.")
    for credential in properties.get("imageRegistryCredentials") or ():
        _only("credential", credential)
    for key, given in (properties.get("diagnostics") or {}).items():
        if key != "logAnalytics":
            _refuse("InvalidRequestContent", f"Could not find member '{key}' on object of type 'Diagnostics'.")
        _only("logAnalytics", given)
        if not given.get("workspaceId") or not given.get("workspaceKey"):
            _refuse("InvalidLogAnalytics", "The workspace id and its key are required.")
    containers = properties.get("containers") or []
    if not 1 <= len(containers) <= 60:
        _refuse("InvalidContainers", "A container group has 1 to 60 containers.")
    for container in containers:
        _container(container)


def _container(container: Any) -> None:
    _only("container", container)
    if not _NAME.fullmatch(container.get("name", "")):
        _refuse("InvalidContainerName", f"The container name '{container.get('name')}' is invalid.")
    properties = container.get("properties") or {}
    _only("container properties", properties)
    if not properties.get("image"):
        _refuse("MissingImage", f"The image of container '{container['name']}' is missing.")
    requests = (properties.get("resources") or {}).get("requests") or {}
    _only("requests", requests)
    for resource in ("cpu", "memoryInGB"):
        if not isinstance(requests.get(resource), (int, float)) or requests[resource] <= 0:
            _refuse("InvalidResourceRequest", f"The {resource} request of container '{container['name']}' is invalid.")
    seen = set()
    for variable in properties.get("environmentVariables") or ():
        _only("variable", variable)
        if not _VARIABLE.fullmatch(variable.get("name", "")) or variable["name"] in seen:
            _refuse("InvalidEnvironmentVariable", f"The environment variable name {variable.get('name')!r} is invalid.")
        seen.add(variable["name"])
        if ("value" in variable) == ("secureValue" in variable):
            _refuse("InvalidEnvironmentVariable", "An environment variable has either a value or a secure value.")
    if not all(isinstance(word, str) for word in properties.get("command") or ()):
        _refuse("InvalidRequestContent", "The command is a list of strings.")


def _tags(tags: dict[str, str]) -> None:
    if len(tags) > 50 or len({name.lower() for name in tags}) < len(tags):
        _refuse("InvalidTags", "There are more than 50 tags, or two whose names differ in case only.")
    for name, value in tags.items():
        if not 1 <= len(name) <= 512 or re.search(r"[<>%&\\?/]", name):
            _refuse("InvalidTagNameCharacters", f"The tag name {name!r} has reserved characters or a bad length.")
        if not isinstance(value, str) or len(value) > 256:
            _refuse("InvalidTagValueLength", f"The tag value of {name!r} exceeds 256 characters.")


def _only(what: str, given: dict[str, Any]) -> None:
    for name, value in given.items():
        if name not in _FIELDS[what]:
            _refuse("InvalidRequestContent", f"Could not find member '{name}' on object of type '{what or 'group'}'.")
        if value is None:
            _refuse("InvalidRequestContent", f"The member '{name}' is null.")


def _one_of(given: dict[str, Any], name: str, allowed: tuple[str, ...], *, required: bool = False) -> None:
    if given.get(name) not in allowed and (required or name in given):
        _refuse("InvalidRequestContent", f"The value of '{name}' must be one of {', '.join(allowed)}.")


def _refuse(code: str, message: str) -> None:
    raise AzureError(400, code, message)
