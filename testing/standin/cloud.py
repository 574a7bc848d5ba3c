"""The imaginary cloud behind the stand-in provider: its objects, the faults waiting in it, and a journal of calls.

In memory, for a provider in the test's own process; or in a JSON file under a lock, which several processes share and
which outlives any of them.
"""

from __future__ import annotations

import copy
import fcntl
import json
import os
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolform.testing.standin.faults import FOREVER, Fault, Operation, When
from poolform.testing.standin.values import UNKNOWN, read_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from poolform.testing.standin.values import Attributes

Objects = dict[str, dict[str, "Attributes"]]
"""All objects: resource type, id, attributes."""


class Refused(Exception):
    """The cloud says no; `attribute` is what the error is about, where it is about one."""

    def __init__(self, message: str, attribute: str | None = None) -> None:
        super().__init__(message)
        self.attribute = attribute


class Crashed(Exception):
    """A fault asks the provider to die now."""


@dataclass(frozen=True)
class Call:
    """A line of the journal: who (`pid`) asked for what, when (seconds since the epoch). `fault` says what it met."""

    op: Operation
    type: str
    id: str | None
    at: float
    pid: int
    fault: str | None = None


@dataclass
class World:
    """Everything that the cloud holds. Seen and changed only inside `Cloud.transaction`."""

    objects: Objects = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    serial: int = 0

    def next_serial(self) -> int:
        """Return a number that was never given before, for names that the cloud makes up."""
        self.serial += 1
        return self.serial

    def to_json(self) -> str:
        """Return the world as JSON text."""
        return json.dumps(asdict(self), default=bytes.decode, indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> World:
        """Read what `to_json` wrote."""
        data = read_json(text)
        faults = [Fault(**fault) for fault in data["faults"]]
        return cls(data["objects"], faults, [Call(**call) for call in data["calls"]], data["serial"])


class Cloud:
    """Looked at and broken by tests, filled by the stand-in provider. Safe for threads and, with a path, processes."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._world = World()
        self._lock = threading.Lock()

    # -- for tests -----------------------------------------------------------------------------------------------

    def objects(self) -> Objects:
        """Return a copy of all objects, of the types that have any."""
        with self.transaction() as world:
            return copy.deepcopy({name: items for name, items in world.objects.items() if items})

    def only(self, type: str) -> Attributes:  # noqa: A002 - Terraform's word
        """Return the one object of this type. Raises LookupError when there are none or several."""
        found = self.objects().get(type, {})
        if len(found) != 1:
            raise LookupError(f"The cloud has {len(found)} objects of type {type}, not one: {', '.join(found)}.")
        return next(iter(found.values()))

    def counts(self) -> dict[str, int]:
        """Return how many objects there are of each type that has any."""
        return {name: len(items) for name, items in sorted(self.objects().items())}

    def put(self, type: str, id: str, attributes: Mapping[str, Any]) -> None:  # noqa: A002
        """Make an object behind Terraform's back, or change some attributes of one: drift."""
        with self.transaction() as world:
            objects = world.objects.setdefault(type, {})
            objects[id] = {**objects.get(id, {"id": id}), **attributes}

    def delete(self, type: str, id: str) -> None:  # noqa: A002
        """Remove an object behind Terraform's back. Raises LookupError when it is not there."""
        with self.transaction() as world:
            if world.objects.get(type, {}).pop(id, None) is None:
                raise LookupError(f"The cloud has no {type} with id {id!r}.")

    def inject(self, *faults: Fault) -> None:
        """Let these go wrong; where several match a call, the one injected first fires."""
        with self.transaction() as world:
            world.faults.extend(faults)

    def heal(self) -> None:
        """Forget all faults that have not fired."""
        with self.transaction() as world:
            world.faults.clear()

    def pending(self) -> Sequence[Fault]:
        """Return the faults that still wait; a test whose fault never fired has tested nothing."""
        with self.transaction() as world:
            return tuple(world.faults)

    def calls(self, op: Operation | None = None, type: str | None = None) -> Sequence[Call]:  # noqa: A002
        """Return the journal, oldest first, of one operation and type where given."""
        with self.transaction() as world:
            return tuple(call for call in world.calls if op in (None, call.op) and type in (None, call.type))

    # -- for the provider ----------------------------------------------------------------------------------------

    def enter(self, op: Operation, type_: str, attributes: Mapping[str, Any], stop: threading.Event) -> None:
        """Write a call into the journal and let the faults fire that come before its work."""
        self._strike(op, type_, attributes, "before", stop)

    def leave(self, op: Operation, type_: str, attributes: Mapping[str, Any], stop: threading.Event) -> None:
        """Let the faults fire that come when a call's work is done."""
        self._strike(op, type_, attributes, "after", stop)

    def _strike(
        self, op: Operation, type_: str, attributes: Mapping[str, Any], when: When, stop: threading.Event
    ) -> None:
        with self.transaction() as world:
            fault = _take(world, op, type_, attributes, when)
            if when == "before" or fault:
                name = attributes.get("id")
                told = None if fault is None else _describe(fault)
                world.calls.append(
                    Call(op, type_, None if name is UNKNOWN else name, round(time.time(), 3), os.getpid(), told)
                )
        if fault:
            _suffer(fault, stop)

    @contextmanager
    def transaction(self) -> Iterator[World]:
        """Give the world to one caller at a time; with a path, what it changed is on disk afterwards."""
        with self._lock:
            if self.path is None:
                yield self._world
                return
            with open(f"{self.path}.lock", "w") as lock:  # noqa: PTH123 - beside the file, which is replaced
                fcntl.flock(lock, fcntl.LOCK_EX)
                before = self.path.read_text() if self.path.exists() else ""
                world = World.from_json(before) if before else World()
                yield world
                after = world.to_json()
                if after != before:
                    _replace(self.path, after)


def _take(world: World, op: Operation, type_: str, attributes: Mapping[str, Any], when: When) -> Fault | None:
    """Use up one firing of the first fault that matches."""
    for index, fault in enumerate(world.faults):
        if not fault.matches(op, type_, attributes, when):
            continue
        if fault.skip:
            world.faults[index] = replace(fault, skip=fault.skip - 1)
            continue
        if fault.times == 1:
            del world.faults[index]
        elif fault.times != FOREVER:
            world.faults[index] = replace(fault, times=fault.times - 1)
        return fault
    return None


def _describe(fault: Fault) -> str:
    what = "crash" if fault.crash else fault.error or f"{fault.seconds:g} seconds"
    return f"{what} ({fault.when})"


def _suffer(fault: Fault, stop: threading.Event) -> None:
    """Wait, die or fail, outside of any transaction, so that others go on meanwhile."""
    if fault.seconds:
        if fault.interruptible:
            if stop.wait(fault.seconds):
                raise Refused("context canceled")
        else:
            time.sleep(fault.seconds)
    if fault.crash:
        raise Crashed
    if fault.error:
        raise Refused(fault.error)


def _replace(path: Path, text: str) -> None:
    """Write a file so that a reader, and a process killed here, finds the old text or the new one."""
    new = Path(f"{path}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)
