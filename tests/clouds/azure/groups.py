"""Container groups: made, restarted by a second PUT, stopped, deleted; each job's command is run for real."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from clouds.azure import limits
from clouds.azure.wire import AzureError, Request, Response
from clouds.processes import Container

if TYPE_CHECKING:
    from pathlib import Path

    from clouds.azure.authorisation import Roles

    from poolform.testing.standin import Cloud

KIND = "azurerm_container_group"
# https://learn.microsoft.com/azure/container-instances/container-instances-quotas
RUNNING_LOG, ENDED_LOG, ENDED_LINES = 4_000_000, 16_384, 1000
CREATES_AN_HOUR = 300
_SECRET = ("secureValue", "workspaceKey", "password")


@dataclass
class Group:
    """A container group, and the process of its first container. `starts` counts how often that was started."""

    id: str
    body: dict[str, Any]
    provisioning: str = "Creating"
    state: str = "Pending"
    starts: int = 0
    exit_code: int | None = None
    detail: str = ""
    ended: bool = False
    stopped: bool = False
    events: list[dict[str, Any]] = field(default_factory=list)
    lines: list[tuple[str, str]] = field(default_factory=list)
    container: Container | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def name(self) -> str:
        return self.id.rsplit("/", 1)[-1]

    @property
    def own(self) -> dict[str, Any]:
        first: dict[str, Any] = self.body["properties"]["containers"][0]
        return first

    def show(self, *, view: bool) -> dict[str, Any]:
        """As the API shows it: without secrets, and in lists without its instance view."""
        with self.lock:
            shown: dict[str, Any] = _without_secrets(self.body)
            shown |= {"id": self.id, "name": self.name, "type": "Microsoft.ContainerInstance/containerGroups"}
            properties = shown["properties"]
            properties["provisioningState"] = self.provisioning
            if view:
                properties["instanceView"] = {"state": self.state, "events": self.events}
                inner = {"events": [], "restartCount": 0}
                if current := self._current():
                    inner["currentState"] = current
                properties["containers"][0]["properties"]["instanceView"] = inner
        return shown

    def _current(self) -> dict[str, Any] | None:
        if self.ended:
            return {"state": "Terminated", "exitCode": self.exit_code, "detailStatus": self.detail}
        if self.container is not None:
            return {"state": "Running", "detailStatus": ""}
        return None if self.provisioning == "Failed" else {"state": "Waiting", "detailStatus": ""}


class Groups:
    """All container groups of the subscription.

    `capacity` False makes the region full, `cores` is the quota; `images` says what is in an image's working folder,
    `missing_images` are not there, `unpullable_images` are found and then fail; `memory_scale` shrinks the memory that
    containers get, `stop_timeout` is how long they have to stop, `making` how long a group takes to be made.
    """

    def __init__(self, cloud: Cloud, roles: Roles) -> None:
        self._cloud, self._roles = cloud, roles
        self._groups: dict[str, Group] = {}
        self._created: list[float] = []
        self._lock = threading.RLock()
        self.capacity, self.capacity_later, self.cores = True, True, 10_000.0
        self.images: dict[str, Path] = {}
        self.missing_images: set[str] = set()
        self.unpullable_images: set[str] = set()
        self.memory_scale, self.stop_timeout, self.making = 1.0, 30.0, 0.1
        self.all: list[Group] = []
        """Every group that ever was."""
        self.known_ids: set[str] = set()
        """Existing identities and subnets, besides those that Terraform made."""

    # -- the API -----------------------------------------------------------------------------------------------------

    def put(self, id_: str, request: Request, caller: str) -> Response:
        if len(request.body) > limits.BODY:
            raise AzureError(413, "RequestContentTooLarge", f"The request content exceeds {limits.BODY} bytes.")
        body = request.json()
        limits.check(id_.rsplit("/", 1)[-1], body)
        self._check_links(body, caller)
        self._check_image(body)
        with self._lock:
            known = self._groups.get(id_.lower())
            if known is not None and known.provisioning == "Creating":
                raise _transitioning(known.name)
            self._check_room(body, request)
            if known is not None:
                known.container and known.container.kill()
                known.body, known.provisioning, known.ended, known.stopped = body, "Creating", False, False
            group = known or Group(id_, body)
            self._groups[id_.lower()] = group
            if known is None:
                self.all.append(group)
                self._cloud.put(KIND, id_, {"name": group.name})
        threading.Thread(target=self._live, args=(group,), daemon=True).start()
        return Response(200 if known else 201, group.show(view=True))

    def get(self, id_: str) -> Response:
        return Response(200, self._of(id_).show(view=True))

    def list(self, resource_group: str) -> Response:
        inside = f"{resource_group.lower()}/"
        return Response(
            200, {"value": [group.show(view=False) for id_, group in self._groups.items() if id_.startswith(inside)]}
        )

    def delete(self, id_: str) -> Response:
        with self._lock:
            group = self._groups.get(id_.lower())
            if group is None:
                return Response(204)
            if group.provisioning == "Creating":
                raise _transitioning(group.name)
            del self._groups[id_.lower()]
            self._cloud.delete(KIND, group.id)
        if group.container is not None:
            group.container.kill()
        return Response(200, group.show(view=True))

    def stop(self, id_: str) -> Response:
        group = self._of(id_)
        with group.lock:
            if group.provisioning == "Creating":
                raise _transitioning(group.name)
            group.stopped = True
            if group.container is None or group.ended:
                group.state = "Stopped"
            else:
                group.container.stop_timeout = self.stop_timeout
                group.container.terminate()
        return Response(204)

    def logs(self, id_: str, container: str, query: dict[str, str]) -> Response:
        group = self._of(id_)
        if container != group.own["name"]:
            raise AzureError(404, "ContainerNotFound", f"The container '{container}' is not found.")
        with group.lock:
            if group.container is None and not group.ended:
                raise AzureError(404, "ContainerLogNotAvailable", "The log of the container is not available yet.")
            stamped = query.get("timestamps", "").lower() == "true"
            lines = [f"{stamp} {text}\n" if stamped else f"{text}\n" for stamp, text in group.lines]
            most = ENDED_LOG if group.ended else RUNNING_LOG
        if group.ended:
            lines = lines[-ENDED_LINES:]
        if "tail" in query:
            lines = lines[-int(query["tail"]) :]
        size, kept = 0, []
        for line in reversed(lines):
            size += len(line.encode())
            if size > most:
                break
            kept.append(line)
        return Response(200, {"content": "".join(reversed(kept))})

    # -- for tests ---------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        return sorted(group.name for group in self._groups.values())

    def named(self, name: str) -> Group:
        """The group that has, or had, this name."""
        return next(group for group in reversed(self.all) if group.name == name)

    def forget_creations(self) -> None:
        self._created.clear()

    def clear(self) -> None:
        """Take every group away, whatever it is doing."""
        with self._lock:
            for group in self._groups.values():
                self._cloud.delete(KIND, group.id)
            self._groups.clear()
        self.close()

    def close(self) -> None:
        for group in self.all:
            if group.container is not None:
                group.container.kill()

    # -- how a group lives -------------------------------------------------------------------------------------------

    def _live(self, group: Group) -> None:
        time.sleep(self.making)
        properties = group.own["properties"]
        if properties["image"] in self.unpullable_images:
            message = f'Failed to pull image "{properties["image"]}": manifest unknown'
            group.events = [_event("Failed", message, "Warning")]
            group.provisioning = "Succeeded"
            return
        if not self.capacity_later:
            message = _full(group.body)
            group.events = [_event("InsufficientCapacity.", message, "Warning")]
            group.provisioning, group.state = "Failed", "Failed"
            return
        environment = {
            item["name"]: item.get("value", item.get("secureValue", ""))
            for item in properties.get("environmentVariables") or ()
        }
        memory = properties["resources"]["requests"]["memoryInGB"] * 1e9 * self.memory_scale

        def write(text: str) -> None:
            now = time.time_ns()
            whole = datetime.fromtimestamp(now // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            with group.lock:
                group.lines.append((f"{whole}.{now % 10**9:09d}Z", text))

        container = Container(
            list(properties.get("command") or ()), environment, write, memory=memory,
            content=self.images.get(properties["image"]),
        )  # fmt: skip
        with group.lock:
            container.start()
            group.container, group.starts = container, group.starts + 1
            group.provisioning, group.state = "Succeeded", "Running"
        code = container.wait()
        with group.lock:
            if group.container is not container:
                return
            group.ended, group.exit_code = True, code
            group.detail = "OOMKilled" if container.out_of_memory else "Completed" if code == 0 else "Error"
            group.state = "Stopped" if group.stopped else "Succeeded" if code == 0 else "Failed"

    # -- what it checks ----------------------------------------------------------------------------------------------

    def _of(self, id_: str) -> Group:
        group = self._groups.get(id_.lower())
        if group is None:
            name = id_.rsplit("/", 1)[-1]
            raise AzureError(404, "ResourceNotFound", f"The Resource '{name}' under resource group was not found.")
        return group

    def _check_links(self, body: dict[str, Any], caller: str) -> None:
        """Identities and subnets must exist, and the caller be allowed to use them."""
        objects = self._cloud.objects()
        known = {id_.lower() for items in objects.values() for id_ in items} | {id_.lower() for id_ in self.known_ids}
        links = [
            *((id_, "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action")
              for id_ in (body.get("identity") or {}).get("userAssignedIdentities") or ()),
            *((item["id"], "Microsoft.Network/virtualNetworks/subnets/join/action")
              for item in body["properties"].get("subnetIds") or ()),
        ]  # fmt: skip
        for id_, action in links:
            if id_.lower() not in known:
                raise AzureError(400, "LinkedInvalidPropertyId", f"The linked resource '{id_}' was not found.")
            if not self._roles.allow(caller, action, id_):
                message = f"The client has no permission to perform '{action}' on the linked scope '{id_}'."
                raise AzureError(403, "LinkedAuthorizationFailed", message)

    def _check_image(self, body: dict[str, Any]) -> None:
        properties, image = body["properties"], body["properties"]["containers"][0]["properties"]["image"]
        objects = self._cloud.objects()
        registries = {item["login_server"]: item for item in objects.get("azurerm_container_registry", {}).values()}
        registry = registries.get(image.partition("/")[0])
        wrong = image in self.missing_images
        if registry is not None and not wrong:
            identities = objects.get("azurerm_user_assigned_identity", {})
            named = [
                identities.get(item.get("identity"), {}).get("principal_id", "")
                for item in properties.get("imageRegistryCredentials") or ()
                if item["server"] == registry["login_server"]
                and item.get("identity") in ((body.get("identity") or {}).get("userAssignedIdentities") or {})
            ]
            pull = "Microsoft.ContainerRegistry/registries/pull/read"
            wrong = not any(self._roles.allow(principal, pull, registry["id"]) for principal in named)
        if wrong:
            message = f"The image '{image}' in the container group is not accessible. Check the image and credential."
            raise AzureError(400, "InaccessibleImage", message)

    def _check_room(self, body: dict[str, Any], request: Request) -> None:
        now = time.monotonic()
        self._created = [at for at in self._created if now - at < 3600]
        if len(self._created) >= CREATES_AN_HOUR:
            raise AzureError(429, "TooManyRequests", "The limit of container group creates an hour was reached.")
        if not self.capacity:
            raise AzureError(409, "ServiceUnavailable", _full(body))
        used = sum(_cores(group.body) for group in self._groups.values() if not group.ended)
        if used + _cores(body) > self.cores:
            message = (
                "Resource type 'Microsoft.ContainerInstance/containerGroups' container group quota 'StandardCores' "
                f"exceeded in region '{body['location']}'. Limit: '{self.cores:g}', Usage: '{used:g}'."
            )
            raise AzureError(409, "ContainerGroupQuotaReached", message)
        self._created.append(now)


def _cores(body: dict[str, Any]) -> float:
    return sum(float(item["properties"]["resources"]["requests"]["cpu"]) for item in body["properties"]["containers"])


def _full(body: dict[str, Any]) -> str:
    return (
        f"The requested resource is not available in the location '{body['location']}' at this moment. Please retry "
        "with a different resource request or in another location."
    )


def _event(name: str, message: str, kind: str) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    return {"name": name, "message": message, "type": kind, "count": 1, "firstTimestamp": now, "lastTimestamp": now}


def _transitioning(name: str) -> AzureError:
    message = f"The container group '{name}' is still transitioning, please retry later."
    return AzureError(409, "ContainerGroupTransitioning", message)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_secrets(item) for key, item in value.items() if key not in _SECRET}
    return [_without_secrets(item) for item in value] if isinstance(value, list) else value
