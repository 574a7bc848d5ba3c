"""What can go wrong in the imaginary cloud, on request.

    cloud.inject(fail("create", "lab_cluster"))                          the call is refused
    cloud.inject(fail("create", "lab_cluster", when="after"))            it was done, but the answer was lost
    cloud.inject(crash("create", where={"name": "a"}))                   the provider dies
    cloud.inject(slow("create", seconds=30))                             it takes long; Ctrl-C can be tried
    cloud.inject(throttle("create", times=3))                            "slow down", three times

A fault is used up as it fires: `times` calls feel it (0: all), after `skip` that match and don't.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Operation = Literal["configure", "plan", "read", "create", "update", "delete", "import", "read_data"]
When = Literal["before", "after"]
FOREVER = 0


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong: which calls, and how.

    `type` is a resource type or data source, None any; `where` are attributes that the object must have. `seconds` come
    first, then `crash`, then `error`. `interruptible` says what a slow call does when Terraform is told to stop: give
    up with an error, as providers do that watch for it, or go on to the end, as the others do.
    """

    op: Operation | Literal["*"]
    type: str | None = None
    where: Mapping[str, Any] = field(default_factory=dict)
    when: When = "before"
    times: int = 1
    skip: int = 0
    error: str | None = None
    crash: bool = False
    seconds: float = 0.0
    interruptible: bool = False

    def matches(self, op: Operation, type_: str, attributes: Mapping[str, Any], when: When) -> bool:
        """Say whether a call is one that this is meant for."""
        return (
            self.op in ("*", op)
            and self.type in (None, type_)
            and self.when == when
            and all(attributes.get(name) == value for name, value in self.where.items())
        )


def fail(
    op: Operation,
    type: str | None = None,  # noqa: A002 - Terraform's word
    *,
    error: str = "Error 500: the stand-in was asked to fail",
    when: When = "before",
    where: Mapping[str, Any] | None = None,
    times: int = 1,
    skip: int = 0,
) -> Fault:
    """Refuse a call; with `when="after"` do what it asks, then lose the answer: what was created comes back tainted."""
    return Fault(op, type, where or {}, when, times, skip, error=error)


def crash(
    op: Operation,
    type: str | None = None,  # noqa: A002
    *,
    when: When = "before",
    where: Mapping[str, Any] | None = None,
    skip: int = 0,
) -> Fault:
    """Let the provider die in the middle of a call."""
    return Fault(op, type, where or {}, when, skip=skip, crash=True)


def slow(
    op: Operation,
    type: str | None = None,  # noqa: A002
    *,
    seconds: float,
    when: When = "before",
    where: Mapping[str, Any] | None = None,
    times: int = 1,
    skip: int = 0,
    interruptible: bool = False,
) -> Fault:
    """Let a call take long, before or after it has done its work."""
    return Fault(op, type, where or {}, when, times, skip, seconds=seconds, interruptible=interruptible)


def throttle(op: Operation, type: str | None = None, *, times: int, where: Mapping[str, Any] | None = None) -> Fault:  # noqa: A002
    """Refuse the next `times` calls for being too many."""
    return Fault(op, type, where or {}, times=times, error="Error 429: rate limit exceeded, try again later")
