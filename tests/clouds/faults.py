"""Trouble on request, for every stand-in cloud: what goes wrong, for which calls, how often."""

from __future__ import annotations

import fnmatch
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

Kind = Literal["error", "error-after", "drop", "drop-after", "lag", "call", "call-after"]


class Named(Protocol):
    """A call to a cloud. `name` is what faults are matched by, such as `ecs:RunTask`."""

    @property
    def name(self) -> str: ...


@dataclass
class Fault:
    """One rule. `action` is a pattern such as `ecs:*`; `times` counts down, None is for ever; the first `skip` pass.

    error: refuse with `error` instead of doing it.       error-after: do it, then refuse.
    drop: hang up instead of doing it.                    drop-after: do it, then hang up.
    lag: wait `seconds` first.                            call: run `hook`, which may kill the caller, and hang up.
                                                          call-after: do it, then run `hook`.
    """

    action: str
    kind: Kind
    error: Exception | None = None
    seconds: float = 0.0
    hook: Callable[[Any], object] | None = None
    where: Callable[[Any], bool] | None = None
    times: int | None = 1
    skip: int = 0
    hits: int = field(default=0, init=False)


class HungUp(Exception):
    """The connection is to be cut, without an answer."""


class Faults:
    """The rules in force. Thread-safe."""

    def __init__(self) -> None:
        self._rules: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        with self._lock:
            self._rules.append(fault)
        return fault

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def matching(self, request: Named) -> list[Fault]:
        """The rules that strike this call; each such call uses one of their times up."""
        struck = []
        with self._lock:
            for rule in self._rules:
                if rule.times == 0 or not fnmatch.fnmatchcase(request.name, rule.action):
                    continue
                if rule.where is not None and not rule.where(request):
                    continue
                if rule.skip:
                    rule.skip -= 1
                    continue
                if rule.times is not None:
                    rule.times -= 1
                rule.hits += 1
                struck.append(rule)
        return struck


def before(faults: list[Fault], request: Named) -> None:
    """Let what comes before a call's work happen. Raises HungUp, or the error to refuse with."""
    for fault in faults:
        if fault.kind == "lag":
            time.sleep(fault.seconds)
        elif fault.kind == "call" and fault.hook is not None:
            fault.hook(request)
            raise HungUp
        elif fault.kind == "drop":
            raise HungUp
        elif fault.kind == "error" and fault.error is not None:
            raise fault.error


def after(faults: list[Fault], request: Named) -> None:
    """Let what comes after a call's work happen. Raises HungUp, or the error to refuse with."""
    for fault in faults:
        if fault.kind == "call-after" and fault.hook is not None:
            fault.hook(request)
        elif fault.kind == "drop-after":
            raise HungUp
        elif fault.kind == "error-after" and fault.error is not None:
            raise fault.error
