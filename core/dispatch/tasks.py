"""What a supervisor remembers of each run that it holds, and how it tells the store and whoever listens."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from poolform.core.clock import clock
from poolform.core.store import leases, logs, runs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from poolform.core.dispatch.outcome import Event
    from poolform.core.runs.launchers import JobStatus
    from poolform.core.store.database import Store
    from poolform.core.store.runs import FlowRun, RunState


class Stage(Enum):
    """What has to be done next for a run."""

    BUILD = auto()
    """Make its job and store the request."""
    ASK = auto()
    """Somebody else stored a request and may have launched it: ask the platform."""
    LAUNCH = auto()
    """The request is stored; launch it."""
    FOLLOW = auto()
    """It has a job; watch that until its end."""
    CLEAR = auto()
    """The outcome is known; remove what is left, then let the run go, or schedule its retry."""


@dataclass(eq=False)
class Task:
    """One held run. `run` is as the store will have it after the next `save`; `fresh` says that it differs by now."""

    run: FlowRun
    stage: Stage
    request: str | None = None
    fresh: bool = False
    entered: list[tuple[RunState, float, str | None]] = field(default_factory=list)
    lines: list[logs.LogRow] = field(default_factory=list)
    next_line: int = 1
    cursor: Any = None
    """Where to read its log on; the launcher's."""
    last: Event | None = None
    """The outcome that the runtime logged, once it did."""
    exit: JobStatus | None = None
    """How the job ended, once it did."""
    exited_at: float = 0.0
    look_at: float = 0.0
    """When to poll it, on `clock`, whenever the others' turn may be."""
    logs_at: float = 0.0
    """When to ask for its logs again, on `clock`."""
    cancel: bool = False
    cancelled_at: float | None = None
    """When the platform was last asked to stop it, on `clock`."""
    overdue: bool = False
    retry: bool = False
    """Once cleared, it is scheduled again as its next attempt."""

    def change(self, **changes: Any) -> None:
        """Note a change, to be saved."""
        self.run = replace(self.run, **changes)
        self.fresh = True

    def enter(self, state: RunState, at: float, reason: str | None = None, **changes: Any) -> None:
        """Note a new state, to be saved."""
        self.change(state=state, reason=reason, **changes)
        self.entered.append((state, at, reason))

    def bookmark(self) -> dict[str, Any]:
        """Return what has to be stored to read on: the cursor, and the outcome if the log has been read past that."""
        return {"at": self.cursor, "last": [self.last.name, self.last.reason] if self.last else None}

    @property
    def handle(self) -> str:
        """Return its job's handle."""
        assert self.run.handle is not None
        return self.run.handle


class Tasks:
    """The runs that a worker holds in one pool. Used by its supervisor's thread; `keep` by the worker's, too."""

    def __init__(self, store: Store[Any], worker_id: str, listener: Listener) -> None:
        self.store, self.worker_id, self.listener = store, worker_id, listener
        self._tasks: dict[str, Task] = {}
        self._lock = threading.Lock()
        self._leases: dict[str, tuple[float, float]] = {}  # run id → since when it is held, and until when, on `clock`
        self._lost: set[str] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def ids(self) -> list[str]:
        """Return the ids of all runs that are held."""
        with self._lock:
            return list(self._leases)

    def at(self, stage: Stage) -> list[Task]:
        """Return the tasks at one stage, those held longest first."""
        return [task for task in self._tasks.values() if task.stage is stage]

    def add(self, task: Task, until: float) -> None:
        """Hold one more run, whose lease lasts `until`."""
        self._tasks[task.run.id] = task
        with self._lock:
            self._leases[task.run.id] = (clock(), until)

    def drop(self, task: Task) -> None:
        """Forget a run: it was let go, or somebody else has it."""
        self._tasks.pop(task.run.id, None)
        with self._lock:
            self._leases.pop(task.run.id, None)

    def get(self, run_id: str) -> Task | None:
        """Return the task of a run that is held."""
        return self._tasks.get(run_id)

    def keep(self, run_ids: Collection[str], asked: float, until: float) -> None:
        """Note that the leases of these, and no others, were renewed by a statement sent at `asked`."""
        with self._lock:
            for run_id, (since, _) in self._leases.items():
                if run_id in run_ids:
                    self._leases[run_id] = (since, until)
                elif since < asked:
                    self._lost.add(run_id)

    def drop_lost(self) -> None:
        """Forget the runs that somebody else took over."""
        with self._lock:
            lost, self._lost = self._lost, set()
        for run_id in lost:
            if task := self._tasks.get(run_id):
                self.drop(task)

    def owned(self, task: Task) -> bool:
        """Say whether the lease still lasts. It must, at the very moment of a launch."""
        with self._lock:
            return clock() < self._leases.get(task.run.id, (0.0, 0.0))[1]

    def save(self) -> None:
        """Store all that changed, in one transaction; forget runs whose lease was lost. Raises StoreError."""
        changed = [task for task in self._tasks.values() if task.fresh]
        if not changed:
            return
        with self.store.write() as tx:
            mine = [task for task in changed if leases.save(tx, task.run)]
            rows = [row for task in mine for row in task.lines]
            if rows:
                logs.append(tx, rows)
            runs.enter_at(tx, [(task.run.id, *entry) for task in mine for entry in task.entered])
        printed = [(task.run, task.lines) for task in mine if task.lines]
        news = [task.run for task in mine if task.entered]
        for task in mine:
            task.lines, task.entered, task.fresh = [], [], False
        for task in changed:
            if task.fresh:
                self.drop(task)
        for run, lines in printed:
            self.listener.printed(run, [line.line for line in lines])
        for run in news:
            self.listener.run_changed(run)


class Listener:
    """Hears what a worker does; override what is of interest. Called from the worker's threads, so be quick."""

    def run_changed(self, run: FlowRun) -> None:
        """Hear that a run is in a new state, and that the store has it."""

    def printed(self, run: FlowRun, lines: Sequence[str]) -> None:
        """Hear what a run has printed, and that the store has it."""

    def trouble(self, pool: str, message: str) -> None:
        """Hear what keeps runs of a pool (of all, where it is "") waiting; the worker goes on trying."""


class Backoff:
    """When to try again what fails for now: after half a second, then ever later up to `longest`, never in step."""

    def __init__(self, longest: float, now: Callable[[], float] = clock) -> None:
        self.longest, self.until = longest, 0.0
        self._now, self._failures = now, 0

    def fail(self) -> float:
        """Note a failure and return how many seconds to wait."""
        self._failures += 1
        pause = min(self.longest, 0.5 * 2.0 ** min(self._failures - 1, 20)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        self.until = self._now() + pause
        return pause

    def succeed(self) -> None:
        """Note that it works."""
        self._failures, self.until = 0, 0.0

    @property
    def failing(self) -> bool:
        """Say whether it did not work when last tried."""
        return self._failures > 0

    @property
    def waiting(self) -> bool:
        """Say whether it is too early to try."""
        return self._now() < self.until
