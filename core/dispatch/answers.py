"""What launchers answer, held to their contract before anything is made of it: nothing wrong gets into the store.

A wrong answer is the plugin's mistake, so each check raises TypeError, which whoever asked treats as any other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

from poolform.core.runs.launchers import JobState, JobStatus, LogLine, LogPage

if TYPE_CHECKING:
    from collections.abc import Sequence

_STATES = get_args(JobState)


def handle(answer: Any) -> str:
    """Return a job's handle."""
    if not isinstance(answer, str) or not answer:
        raise TypeError(f"{answer!r} is not a handle, which is a text")
    return answer


def statuses(answer: Any) -> Mapping[str, Any]:
    """Return how jobs are, by their handles; each is still to be checked by `status`."""
    if not isinstance(answer, Mapping):
        raise TypeError(f"poll returned {type(answer).__name__}, not a mapping of handles to JobStatus")
    return answer


def status(answer: Any) -> JobStatus:
    """Return how one job is."""
    if not isinstance(answer, JobStatus):
        raise TypeError(f"{answer!r} is not a JobStatus")
    if answer.state not in _STATES:
        raise TypeError(f"the state of a job is {answer.state!r}, not {' or '.join(_STATES)}")
    if answer.exit_code is not None and (not isinstance(answer.exit_code, int) or isinstance(answer.exit_code, bool)):
        raise TypeError(f"the exit code of a job is {answer.exit_code!r}, not a number")
    return answer if isinstance(answer.reason, str | None) else replace(answer, reason=str(answer.reason))


def page(answer: Any) -> LogPage:
    """Return a piece of a job's log."""
    if not isinstance(answer, LogPage):
        raise TypeError(f"logs returned {type(answer).__name__}, not a LogPage")
    _check_lines(answer.lines)
    try:
        json.dumps(answer.cursor)
    except (TypeError, ValueError):
        raise TypeError(f"the cursor of a log is {answer.cursor!r}, which is not JSON") from None
    return answer


def _check_lines(lines: Sequence[Any]) -> None:
    for line in lines:
        if not isinstance(line, LogLine) or not isinstance(line.text, str):
            raise TypeError(f"{str(line)[:80]} is not a LogLine with a text")
        if line.at is not None and not isinstance(line.at, float | int):
            raise TypeError(f"the time of a line is {line.at!r}, not in seconds since the epoch")


def stored_exit_code(code: int | None) -> int | None:
    """Return an exit code in 32 bits with their sign, as the store holds it: Windows has codes such as 0xC0000005."""
    return None if code is None else (code + 2**31) % 2**32 - 2**31
