"""What Azure says of a container group, in the launcher contract's words and a person's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolform.core.runs.launchers import JobStatus
from poolform.provisioners.container_instance.job_variables import CONTAINER

if TYPE_CHECKING:
    from collections.abc import Iterable

# https://learn.microsoft.com/azure/container-instances/container-state
_ENDED_GROUPS = frozenset({"Stopped", "Failed", "Succeeded"})
_FULL = ("not available in the location", "insufficientcapacity", "quota")
_NO_IMAGE = ("failed to pull image", "inaccessibleimage", "is not accessible")
_PLAIN = frozenset({"", "completed", "error"})


def status_of(group: Any) -> JobStatus:
    """Return the status of a group as a GET has it; a list leaves out all that is asked about here.

    A job has ended once its own container has, whatever else is in the group.
    """
    view = group.instance_view
    container = own_container(group)
    current = container.instance_view.current_state if container and container.instance_view else None
    if current is not None and current.state == "Terminated":
        return JobStatus("exited", current.exit_code, _end(group, container, current))
    state = (view.state if view else None) or ""
    events = [*_events(view), *_events(container.instance_view if container else None)]
    if group.provisioning_state == "Failed" or state in _ENDED_GROUPS:
        return JobStatus("exited", None, _reason(events) or _by_state(state))
    if current is not None and current.state == "Running":
        return JobStatus("running")
    reason = _reason(events)
    if reason and "image cannot be pulled" in reason:
        return JobStatus("exited", None, reason)  # Azure would try for ever
    return JobStatus("starting")


def own_container(group: Any) -> Any:
    """Return the job's container among a group's."""
    containers = list(group.containers or ())
    return next((item for item in containers if item.name == CONTAINER), containers[0] if containers else None)


def explained(text: str) -> str:
    """Put what Azure says of trouble into words, where there are better ones."""
    lower = text.lower()
    if any(mark in lower for mark in _NO_IMAGE):
        return f"the image cannot be pulled: {text}"
    if any(mark in lower for mark in _FULL):
        return f"no capacity: {text}"
    return text


def is_full(text: str) -> bool:
    """Say whether Azure means that it has no room just now."""
    return any(mark in text.lower() for mark in _FULL)


def _end(group: Any, container: Any, current: Any) -> str | None:
    detail = (current.detail_status or "").strip()
    if "oom" in detail.lower():
        requests = container.resources.requests if container.resources else None
        had = f"{requests.memory_in_gb:g} GB" if requests else "too little"
        return f"ran out of memory: it had {had}; give it more with the job variable memory"
    if any(
        "preempt" in (event.name or "").lower() or "evict" in (event.name or "").lower()
        for event in [*_events(group.instance_view), *_events(container.instance_view)]
    ):
        return "Azure took the Spot capacity back; the job variable priority=Regular is not interrupted"
    return None if detail.lower() in _PLAIN else detail


def _reason(events: Iterable[Any]) -> str | None:
    """Return what the last event that tells of trouble says."""
    told = [f"{event.message or event.name}".strip() for event in events if _is_trouble(event)]
    return explained(told[-1]) if told else None


def _is_trouble(event: Any) -> bool:
    name, text = (event.name or "").lower(), (event.message or "").lower()
    return event.type == "Warning" or name.startswith(("failed", "insufficient")) or any(m in text for m in _NO_IMAGE)


def _by_state(state: str) -> str:
    return "it was stopped" if state == "Stopped" else f"its container group is {state or 'Failed'}, and gave no reason"


def _events(view: Any) -> list[Any]:
    return list(view.events or ()) if view else []
