"""What Cloud Run says of a job and its one execution, in the launcher contract's words and a person's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from poolform.core.runs.launchers import JobStatus

if TYPE_CHECKING:
    from collections.abc import Callable

# google.cloud.run_v2: ExecutionReference.CompletionStatus and Condition.State, by number, so that this is pure.
SUCCEEDED, FAILED, RUNNING, CANCELLED = 1, 2, 3, 5
_CONDITION_FAILED = 3


def status_of(job: Any, last_task: Callable[[], Any]) -> JobStatus | None:
    """Return the status of a job as ListJobs has it; None for one that is being deleted.

    `last_task` fetches the task of its execution, and is called only where that has failed.
    """
    if job.delete_time:
        return None
    execution = job.latest_created_execution
    status = int(execution.completion_status)
    if not execution.name:
        if int(job.terminal_condition.state) == _CONDITION_FAILED:
            return JobStatus("exited", None, _reason(job.terminal_condition.message, job))
        return JobStatus("starting")
    if status == SUCCEEDED:
        return JobStatus("exited", 0)
    if status == CANCELLED:
        return JobStatus("exited", None, "it was cancelled")
    if status == FAILED:
        return _failed(job, last_task())
    return JobStatus("running" if status == RUNNING else "starting")


def _failed(job: Any, task: Any) -> JobStatus:
    if task is None:
        return JobStatus("exited", None, _reason(job.terminal_condition.message, job))
    result = task.last_attempt_result
    code = int(result.exit_code) or (128 + int(result.term_signal) if result.term_signal else None)
    told = result.status.message or next((c.message for c in task.conditions if int(c.state) == _CONDITION_FAILED), "")
    return JobStatus("exited", code, _reason(told, job))


def _reason(message: str, job: Any) -> str | None:
    """Say what Google's sentence means; those of Cloud Run's console and logs are known by their words."""
    text = " ".join(message.split())
    lower = text.lower()
    container = job.template.template.containers[0] if job.template.template.containers else None
    if "memory limit" in lower or "out of memory" in lower:
        had = container.resources.limits.get("memory", "its memory") if container else "its memory"
        return f"ran out of memory: it had {had}; give it more with the job variable memory"
    if "timeout was reached" in lower or "timeout exceeded" in lower:
        seconds = int(job.template.template.timeout.total_seconds()) if job.template.template.timeout else 0
        return f"Cloud Run stopped it after {seconds} s; the job variable timeout allows more"
    if re.search(r"image .*not found|failed to (pull|resolve) image", lower):
        return f"the image cannot be pulled: {text}"
    if "permission denied on secret" in lower or ("secret" in lower and "not found" in lower):
        return f"a secret cannot be read: {text}"
    if "quota" in lower or "resource_exhausted" in lower:
        return f"no capacity: {text}"
    if re.search(r"container (exited|terminated|called exit)", lower):
        return None  # the exit code says it
    return text or None
