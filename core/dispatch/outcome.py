"""How a job's end becomes a run's: from its exit code, its last words, and what was asked of it. Pure.

The exit codes are the runtime's promise (poolform.runtime.exit_codes); core imports nothing of the runtime, which is
code for inside a job, so they are said here again and a test holds them equal.
"""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from poolform.core.store.runs import FlowRun

COMPLETED, FAILED = 0, 1
CODE_NOT_FOUND, ENTRYPOINT_INVALID, PARAMETERS_INVALID = 70, 71, 72
TIMED_OUT, CANCELLED = 73, 74

_PREFIX = "poolform: {"
_SIGNALLED = 128  # the shell's way, and every platform's, to say which signal ended a process: 128 + n


@dataclass(frozen=True)
class Event:
    """A line of the runtime's: what happened in the job, in its own words."""

    name: str
    reason: str | None


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    state: Literal["completed", "failed", "crashed", "cancelled"]
    reason: str | None = None


def event(line: str) -> Event | None:
    """Return what a line of log says if it is the runtime's, None for everybody else's."""
    if not line.startswith(_PREFIX):
        return None
    try:
        said: Any = json.loads(line.removeprefix("poolform: "))
    except ValueError:
        return None
    name, reason = said.get("event"), said.get("reason")
    return Event(name, reason if isinstance(reason, str) else None) if isinstance(name, str) else None


def outcome(
    run: FlowRun, exit_code: int | None, *, last: Event | None, platform: str | None, cancelled: bool, overdue: bool
) -> Outcome:
    """Say how `run` ended.

    `exit_code` is None where the platform has none; `platform` its explanation, if any. `last` is the outcome that the
    runtime logged, if it got that far. `cancelled`: somebody asked for it. `overdue`: it outlived its timeout.
    """
    said = last.reason if last else None
    if exit_code == COMPLETED:
        return Outcome("completed")
    if exit_code == TIMED_OUT or (overdue and not cancelled):
        return Outcome(
            "failed", f"timed out after {run.timeout_seconds:g} s" if run.timeout_seconds else said or "timed out"
        )
    if exit_code == CANCELLED or cancelled:
        return Outcome("cancelled", "cancelled")
    if exit_code == FAILED:
        return Outcome("failed", said or "exited with code 1")
    if exit_code is None:
        return _without_code(last, platform)
    return Outcome("crashed", _crash(exit_code, said, platform))


def _without_code(last: Event | None, platform: str | None) -> Outcome:
    """Say what the log knows of a job whose platform has no exit code to give."""
    if last is None:
        return Outcome("crashed", platform or "the platform ended its job and does not say why")
    if last.name == "completed":
        return Outcome("completed")
    if last.name in ("failed", "timed_out"):
        return Outcome("failed", last.reason)
    return Outcome("cancelled" if last.name == "cancelled" else "crashed", last.reason or platform)


def _crash(exit_code: int, said: str | None, platform: str | None) -> str:
    if exit_code == CODE_NOT_FOUND:
        return said or "the flow's code was not found"
    if exit_code == ENTRYPOINT_INVALID:
        return said or "the flow's code could not be imported"
    if exit_code == PARAMETERS_INVALID:
        return said or "the parameters do not fit the flow"
    also = f" ({platform})" if platform else ""
    if exit_code == _SIGNALLED + signal.SIGKILL:
        return f"killed (SIGKILL), most likely out of memory{also}"
    if exit_code > _SIGNALLED:
        return f"killed ({_signal(exit_code - _SIGNALLED)}){also}"
    if said:
        return f"exited with code {exit_code}: {said}"
    return f"exited with code {exit_code} before the flow reported an outcome{also}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
