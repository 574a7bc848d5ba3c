"""The launcher contract: how core starts, watches, stops and clears away jobs, whatever the platform."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Json = Any  # what the json module reads and writes; a recursive alias costs mypy more than it tells a reader

JobState = Literal["starting", "running", "exited"]


@dataclass(frozen=True)
class Job:
    """One run's resolved, frozen configuration. Stored before launch and replayed byte for byte on recovery.

    `key` is `RUN_ID.ATTEMPT`: the platform starts at most one job for it, however often it is launched.
    `configuration` is the pool's job configuration with every placeholder filled in. Where it is one key a job
    variable, one that nobody has set is None.
    `secrets` travel apart from `env` and are never logged; a launcher whose `secrets` is "none" refuses them.
    """

    key: str
    name: str
    command: tuple[str, ...]
    configuration: Mapping[str, Json]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)
    request: Json = None
    """What `Prepares.prepare` made of this job; None for launchers that don't."""

    def to_json(self) -> str:
        """Return the job as JSON text; equal jobs give equal text."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Read what `to_json` wrote."""
        data = json.loads(text)
        return cls(**{**data, "command": tuple(data["command"])})


@dataclass(frozen=True)
class JobStatus:
    """What the platform says of one job.

    `exit_code` is the process's own, 128 + n for a signal; None while it lives, or when the platform ended the job
    before its process had one. `reason` is the platform's explanation in words, for a person.
    """

    state: JobState
    exit_code: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class LogLine:
    """One line of a job's output, without its newline; `at` in seconds since the epoch, None where unknown."""

    text: str
    at: float | None = None


@dataclass(frozen=True)
class LogPage:
    """Lines since a cursor. `cursor` is JSON to ask on with; `done` says that no line can come any more."""

    lines: Sequence[LogLine]
    cursor: Json
    done: bool


class Unknowable(Exception):
    """The platform can't say any more whether a job was launched."""


class Unavailable(Exception):
    """The platform can't be asked just now (network, throttling); asking again later is right."""


class LaunchRefused(Exception):
    """The platform will never take this job (payload over a limit, image not found, secrets unsupported); says why."""


class NoCapacity(Exception):
    """The platform has no room for the job just now; launching it again later is right."""


class Launcher(ABC):
    """Starts jobs on one platform, for one pool.

    Synchronous. Core calls a launcher from one thread at a time, but `launch` from up to `threads` at once. Any method
    may raise Unavailable; `launch` may also raise LaunchRefused or NoCapacity.
    """

    remembers: ClassVar[timedelta] = timedelta.max
    """How long after a launch `find`'s None can be trusted."""
    secrets: ClassVar[Literal["native", "plain", "none"]] = "none"
    """native: the platform keeps secrets apart; plain: they travel as environment; none: refused."""
    payload_limit: ClassVar[int | None] = None
    """Most bytes that `command` and `env` of a job may take together, encoded as the platform counts them."""
    threads: ClassVar[int] = 1
    """How many jobs may be launched at once, each by a call of its own."""

    @abstractmethod
    def launch(self, job: Job) -> str:
        """Start `job` and return its handle. Twice for one `job.key` starts one job and returns one handle."""

    @abstractmethod
    def find(self, key: str) -> str | None:
        """Return the handle of the job with this key; None means certainly not launched. Raises Unknowable."""

    @abstractmethod
    def poll(self, handles: Sequence[str]) -> Mapping[str, JobStatus]:
        """Return the status of each job, in as few calls as the platform allows. A handle left out is gone."""

    @abstractmethod
    def logs(self, handle: str, cursor: Json) -> LogPage:
        """Return what the job has printed since `cursor` (None: from the start)."""

    @abstractmethod
    def cancel(self, handle: str) -> None:
        """Ask the job to stop, and force it after a while. Twice is fine; gone is fine."""

    @abstractmethod
    def remove(self, handle: str) -> None:
        """Clear away whatever the platform keeps of an ended job. Twice is fine; gone is fine."""

    def close(self) -> None:
        """Let go of connections; jobs go on."""


@runtime_checkable
class Prepares(Protocol):
    """A launcher that settles its exact request before launch, so that a recovery replays the same bytes."""

    def prepare(self, job: Job) -> Json:
        """Return the platform request for `job`; stored, then handed to `launch` as `job.request`."""


@runtime_checkable
class Notifies(Protocol):
    """A launcher that can say at once that some job ended, so that nobody has to poll quickly."""

    def fileno(self) -> int:
        """Return a file descriptor that is readable whenever `poll` has something new to say."""
