"""What ECS says of a task, in the launcher contract's words and a person's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolform.core.runs.launchers import JobStatus
from poolform.provisioners.ecs.handle import own_container

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolform.core.runs.launchers import Json

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html
_STARTING = frozenset({"PROVISIONING", "PENDING", "ACTIVATING"})


def status_of(task: Mapping[str, Json]) -> JobStatus:
    """Return a task's status, as DescribeTasks has it.

    A task counts as exited once its container has, not when Fargate has also taken its network down half a minute
    later.
    """
    container = own_container(task)
    code = container.get("exitCode")
    if task["lastStatus"] != "STOPPED" and not (container.get("lastStatus") == "STOPPED" and code is not None):
        return JobStatus("starting" if task["lastStatus"] in _STARTING else "running")
    return JobStatus("exited", code, _reason(task, container))


def _reason(task: Mapping[str, Json], container: Mapping[str, Json]) -> str | None:
    stopped, detail = task.get("stoppedReason") or "", container.get("reason") or ""
    if "OutOfMemory" in detail or "OutOfMemory" in stopped:
        return f"ran out of memory: it had {task.get('memory', '?')} MiB; give it more with the job variable memory"
    if task.get("stopCode") == "SpotInterruption":
        return "AWS took the Spot capacity back; the job variable launch_type=FARGATE is not interrupted"
    if "CannotPullContainer" in stopped + detail:
        return f"the image cannot be pulled: {_after('CannotPullContainerError', stopped + ' ' + detail)}"
    if "ResourceInitializationError" in stopped:
        return f"ECS could not prepare the task: {_after('ResourceInitializationError', stopped)}"
    if "capacity is unavailable" in stopped.lower():
        return f"no capacity: {stopped}"
    if task.get("stopCode") == "EssentialContainerExited":
        return detail or None
    return "; ".join(filter(None, (stopped, detail))) or None


def _after(marker: str, text: str) -> str:
    return text.partition(marker)[2].lstrip(": ").strip() or text.strip()
