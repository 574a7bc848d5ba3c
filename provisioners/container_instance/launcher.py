"""Jobs on Azure Container Instances: one container group a job, made once, watched, explained in words, removed."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from poolform.core.runs.launchers import Launcher, LaunchRefused, LogPage, NoCapacity, Unavailable
from poolform.provisioners.container_instance import group as groups
from poolform.provisioners.container_instance import output, session
from poolform.provisioners.container_instance.job_variables import CONTAINER
from poolform.provisioners.container_instance.status import explained, is_full, status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from poolform.core.runs.launchers import Job, JobStatus, Json
    from poolform.provisioners.container_instance.session import Access

# Output is shown some time after it was written.
SETTLE = 3.0
TRANSITIONING = "ContainerGroupTransitioning"
_WORKSPACES = "2022-10-01"
# What Azure says when it may well do later what it does not do now.
_LATER = frozenset({TRANSITIONING, "RegistryErrorResponse"})
_NO_LOGS_YET = frozenset({TRANSITIONING, "ContainerLogNotAvailable", "ContainerGroupDeploymentNotReady"})


class ContainerInstanceLauncher(Launcher):
    """Launches jobs as container groups.

    A job's group is named after its key. A PUT on a group that exists would restart it, so there is none unless a GET
    says that it does not exist; a second one that comes while Azure is still making the group is refused by Azure.
    """

    remembers: ClassVar[timedelta] = timedelta.max  # a group stays until somebody removes it
    secrets: ClassVar[Literal["native", "plain", "none"]] = "native"
    payload_limit: ClassVar[int | None] = groups.PAYLOAD_LIMIT
    threads: ClassVar[int] = 8

    def __init__(
        self,
        access: Access,
        settings: Mapping[str, Json],
        *,
        clock: Callable[[], float] = time.time,
        settle: float = SETTLE,
    ) -> None:
        self._access, self._settings, self._clock, self._settle = access, settings, clock, settle
        self._where = settings["resource_group_name"]
        self._workspace: dict[str, str] | None = None
        self._looking = threading.Lock()

    def prepare(self, job: Job) -> Json:
        """Return the container group for `job`, but for its secrets."""
        return groups.define(job, self._settings)

    def launch(self, job: Job) -> str:
        """Make the job's container group, unless it is there."""
        name = groups.group_name(self._settings["pool_id"], job.key)
        body = job.request or self.prepare(job)
        with _asking("launching", refusing=True):
            if self._get(name) is not None:
                return name
            whole = groups.with_secrets(body, job.secrets, self._log_workspace())
            self._put(name, json.dumps(whole).encode())
        return name

    def find(self, key: str) -> str | None:
        """Return the name of the key's container group, where there is one."""
        name = groups.group_name(self._settings["pool_id"], key)
        with _asking("looking for a container group"):
            return name if self._get(name) is not None else None

    def poll(self, handles: Sequence[str]) -> Mapping[str, JobStatus]:
        """Return the status of each group: a call for each, eight at a time.

        A list of the whole resource group would be one call, but says nothing of how containers fare, which its makers
        confirm: https://github.com/Azure/azure-sdk-for-python/issues/2662
        """
        if not handles:
            return {}
        with _asking("asking for container groups"), ThreadPoolExecutor(min(self.threads, len(handles))) as pool:
            found = dict(zip(handles, pool.map(self._get, handles), strict=True))
        return {handle: status_of(group) for handle, group in found.items() if group is not None}

    def logs(self, handle: str, cursor: Json) -> LogPage:
        """Return what the job has printed since `cursor`. Done once it has ended and nothing came for a while."""
        since = (cursor or {}).get("ended")
        place = output.Place.parse((cursor or {}).get("place"))
        with _asking("reading output"):
            group = self._get(handle)
            if group is None:
                return LogPage([], cursor, done=True)
            ended = status_of(group).state == "exited"
            lines, place = output.read_on(self._content(handle), place, ended=ended)
        now = self._clock()
        if lines or not ended:
            return LogPage(lines, {"place": place.to_json(), "ended": now if ended else None}, done=False)
        since = now if since is None else since
        return LogPage([], {"place": place.to_json(), "ended": since}, done=now - since >= self._settle)

    def cancel(self, handle: str) -> None:
        """Have Azure stop the group: it keeps what its containers did, and their last output."""
        with _asking("stopping a container group"):
            group = self._get(handle)
            if group is None or status_of(group).state == "exited":
                return
            with _gone_is_fine():
                self._groups.stop(self._where, handle)

    def remove(self, handle: str) -> None:
        """Delete the group."""
        with _asking("removing a container group"):
            delete(self._groups, self._where, handle)

    def close(self) -> None:
        """Close connections to Azure."""
        self._access.close()

    @property
    def _groups(self) -> Any:
        return self._access.container_instances(self._settings["subscription_id"]).container_groups

    def _get(self, name: str) -> Any:
        with _gone_is_fine():
            return self._groups.get(self._where, name)
        return None

    def _put(self, name: str, body: bytes) -> None:
        from azure.core.exceptions import HttpResponseError

        try:
            self._groups.begin_create_or_update(self._where, name, body, content_type="application/json", polling=False)
        except HttpResponseError as exc:
            # Somebody else asked for it between our two questions, or we did and the answer was lost.
            if session.error_code(exc) != TRANSITIONING or self._get(name) is None:
                raise

    def _content(self, name: str) -> str:
        from azure.core.exceptions import HttpResponseError

        containers = self._access.container_instances(self._settings["subscription_id"]).containers
        try:
            return str(containers.list_logs(self._where, name, CONTAINER, timestamps=True).content or "")
        except HttpResponseError as exc:
            if exc.status_code == 404 or session.error_code(exc) in _NO_LOGS_YET:
                return ""
            raise

    def _log_workspace(self) -> dict[str, str] | None:
        """Return the log workspace's id and key, asked for once; the key is nowhere but in this process."""
        workspace = self._settings.get("log_analytics_workspace_id")
        if workspace is None:
            return None
        with self._looking:
            if self._workspace is None:
                found = self._access.arm("GET", workspace, _WORKSPACES)
                keys = self._access.arm("POST", f"{workspace}/sharedKeys", "2020-08-01")
                self._workspace = {
                    "workspaceId": found["properties"]["customerId"],
                    "workspaceKey": keys["primarySharedKey"],
                    "workspaceResourceId": workspace,
                }
            return self._workspace


def delete(container_groups: Any, resource_group: str, name: str) -> None:
    """Delete a group, running or not. Gone is fine. Raises AzureError."""
    with _gone_is_fine():
        container_groups.begin_delete(resource_group, name, polling=False)


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    from azure.core.exceptions import ResourceNotFoundError

    with suppress(ResourceNotFoundError):
        yield


@contextmanager
def _asking(doing: str, *, refusing: bool = False) -> Iterator[None]:
    """Turn what the SDK raises into Unavailable; `refusing`, what Azure will never do into LaunchRefused."""
    from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

    try:
        yield
    except ClientAuthenticationError as exc:
        text = session.error_text(exc)
        raise Unavailable(f"{doing}: Azure does not accept the pool's credential: {text}") from exc
    except HttpResponseError as exc:
        text, status = session.error_text(exc), exc.status_code or 500
        if not refusing or status >= 500 or status in (408, 429) or session.error_code(exc) in _LATER:
            raise Unavailable(f"{doing}: {text}") from exc
        raise (NoCapacity(text) if is_full(text) else LaunchRefused(explained(text))) from exc
    except AzureError as exc:
        raise Unavailable(f"{doing}: {session.error_text(exc)}") from exc
