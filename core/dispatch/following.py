"""From a job to its run's outcome: poll, collect logs, cancel, settle, clear away."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from poolform.core.clock import clock
from poolform.core.dispatch import answers
from poolform.core.dispatch.outcome import FAILED, event, outcome
from poolform.core.dispatch.tasks import Stage, Task
from poolform.core.runs.launchers import JobStatus, Notifies
from poolform.core.store import leases, logs

if TYPE_CHECKING:
    from poolform.core.dispatch.launching import Launching

GONE = "its job is gone from the platform, and nobody knows how it ended"
TIMEOUT_GRACE = 30.0
"""Seconds after its timeout at which a run is cancelled from outside: the runtime times out by itself, if it can."""
LOG_GRACE = 30.0
"""Seconds that the log of an ended job is waited for."""
_AGAIN = 15.0  # seconds after which a cancellation is repeated
_SAFETY = 5.0  # seconds between polls of a launcher that notifies, in case it failed to
_POLL = (0.2, 5.0)  # seconds between polls of one that does not: quickly for young jobs, slowly for old ones
_LOGS = {True: 0.25, False: 2.0}  # seconds between looks at a running job's log, where that is local and where not
_PAGES = 50  # most pages of one log in a row, so that one that never ends lets others live


class Following:
    """The watching half of a supervisor. One thread; every method may raise StoreError and be called again."""

    def __init__(self, launching: Launching) -> None:
        self.tasks, self.launcher, self.backoff = launching.tasks, launching.launcher, launching.backoff
        self._trouble, self._complain = launching.unavailable, launching.complain
        self._notifies = isinstance(launching.launcher, Notifies)
        # Jobs that were followed before the pool changed are not new to anybody else: their turn is now.
        self._next_poll = 0.0 if self.tasks.at(Stage.FOLLOW) else math.inf

    def poll(self, *, notified: bool) -> None:
        """Ask how the jobs are, where it is time to or the launcher said so."""
        alive = [task for task in self.tasks.at(Stage.FOLLOW) if task.exit is None]
        if self.backoff.waiting or not alive or not (notified or clock() >= self._poll_at(alive)):
            return
        try:
            statuses = answers.statuses(self.launcher.poll([task.handle for task in alive]))
        except BaseException as exc:  # noqa: BLE001 - Unavailable, a plugin's mistake, its exit: asking again is right
            self._trouble(exc)
            return
        self.backoff.succeed()
        now = self.tasks.store.now()
        for task in alive:
            try:
                status = answers.status(statuses.get(task.handle, JobStatus("exited", None, GONE)))
            except TypeError as exc:
                self._complain(exc)
                status = JobStatus("starting")  # nothing new
            if status.state != "starting" or clock() >= task.look_at:
                task.look_at = math.inf
            self._observe(task, status, now)
        self._next_poll = clock() + self._pause(alive, now)

    def collect(self) -> None:
        """Fetch what running jobs have printed, where it is time to, and all that ended ones have."""
        for task in self.tasks.at(Stage.FOLLOW):
            if self.backoff.waiting:
                return
            if not task.run.logs_done and clock() >= task.logs_at:
                try:
                    self._collect(task)
                except BaseException as exc:  # noqa: BLE001 - as in poll
                    self._trouble(exc)

    def cancel(self) -> None:
        """Pass cancellations on to the platform, and end what has outlived its timeout."""
        now = self.tasks.store.now()
        for task in self.tasks.at(Stage.FOLLOW):
            if task.exit is not None or self.backoff.waiting:
                continue
            end = deadline(task)
            task.overdue = task.overdue or (end is not None and now > end)
            asked = task.cancelled_at is not None and clock() - task.cancelled_at < _AGAIN
            if (task.cancel or task.overdue) and not asked:
                try:
                    self.launcher.cancel(task.handle)
                except BaseException as exc:  # noqa: BLE001 - as in poll
                    self._trouble(exc)
                else:
                    task.cancelled_at = clock()
                    task.look_at = clock() + _POLL[0]

    def settle(self) -> None:
        """Store outcomes with the last lines of the logs, and whatever else has changed."""
        for task in self.tasks.at(Stage.FOLLOW):
            if task.exit is not None and (task.run.logs_done or clock() - task.exited_at > LOG_GRACE):
                self._settle(task, task.exit)
        self.tasks.save()

    def clear(self) -> int:
        """Remove what is left of ended jobs, and let their runs go; return how many."""
        cleared: list[Task] = []
        for task in self.tasks.at(Stage.CLEAR):
            if task.run.handle is not None and not task.run.removed:
                if self.backoff.waiting:
                    continue
                try:
                    self.launcher.remove(task.handle)
                except BaseException as exc:  # noqa: BLE001 - as in poll
                    self._trouble(exc)
                    continue
            cleared.append(task)
        if cleared:
            self._let_go(cleared)
        return len(cleared)

    def wake_at(self) -> float | None:
        """Return when there is something to do next even if nothing happens, on `clock`; None where there is not."""
        times: list[float] = []
        now, here = clock(), self.tasks.store.now()
        for task in self.tasks.at(Stage.FOLLOW):
            if not task.run.logs_done:
                times.append(task.logs_at)
            if task.exit is not None:
                times.append(task.exited_at + LOG_GRACE)
                continue
            times.append(min(self._next_poll, task.look_at))
            if task.cancelled_at is not None:
                times.append(task.cancelled_at + _AGAIN)
            elif (end := deadline(task)) is not None:
                times.append(now + end - here)
        if self.tasks.at(Stage.CLEAR):
            times.append(now)
        return max(min(times), self.backoff.until) if times else None

    def _observe(self, task: Task, status: JobStatus, now: float) -> None:
        if status.state == "exited":
            code = answers.stored_exit_code(status.exit_code)
            task.exit, task.exited_at, task.logs_at = replace(status, exit_code=code), clock(), 0.0
        elif status.state == "running" and task.run.state == "submitted":
            task.enter("running", now, started_at=now)

    def _collect(self, task: Task) -> None:
        for _ in range(_PAGES):
            page = answers.page(self.launcher.logs(task.handle, task.cursor))
            self.backoff.succeed()
            now = self.tasks.store.now()
            for line in page.lines:
                self._read(task, line.text, line.at or now)
            if page.lines or page.done or page.cursor != task.cursor:
                task.cursor = page.cursor
                task.change(log_cursor=task.bookmark(), logs_done=page.done)
            if page.done or not page.lines:
                break
        else:
            task.logs_at = 0.0
            return
        task.logs_at = clock() + (_POLL[0] if task.exit is not None else _LOGS[self._notifies])

    def _read(self, task: Task, text: str, at: float) -> None:
        """Take one line: the runtime's are news about the run, all others its log."""
        said = event(text)
        if said is None:
            run = task.run
            task.lines.append(logs.LogRow(run.id, run.attempt, task.next_line, at, text))
            task.next_line += 1
        elif said.name != "started":
            task.last = said
        elif task.run.state == "submitted":
            task.enter("running", at, started_at=at)
        else:
            task.change(started_at=at)

    def _settle(self, task: Task, status: JobStatus) -> None:
        run, now = task.run, self.tasks.store.now()
        ended = outcome(
            run,
            status.exit_code,
            last=task.last,
            platform=status.reason,
            cancelled=task.cancel,
            overdue=task.overdue or _outlived(task, now),
        )
        task.stage = Stage.CLEAR
        if ended.state == "failed" and run.attempt <= run.retries and not task.cancel:
            # The run goes on, so it does not enter `failed`. What this attempt came to is kept before anything of it
            # is removed: a worker that takes over here schedules the retry, and does not look for a job that is gone.
            task.retry = True
            task.change(reason=ended.reason, exit_code=status.exit_code or FAILED, logs_done=True)
        else:
            task.enter(ended.state, now, ended.reason, exit_code=status.exit_code, ended_at=now, logs_done=True)

    def _let_go(self, cleared: list[Task]) -> None:
        cancelled: list[Task] = []
        with self.tasks.store.write() as tx:
            now = tx.now()
            for task in cleared:
                run = task.run
                if not task.retry:
                    leases.release(tx, run)
                    continue
                why = f"attempt {run.attempt} failed: {run.reason}; this is retry {run.attempt} of {run.retries}"
                at = now + run.retry_delay_seconds
                if leases.put_back(tx, run, attempt=run.attempt + 1, at=at, reason=why) == "cancelled":
                    cancelled.append(task)
        for task in cleared:
            if task in cancelled:
                task.retry = False
                task.enter("cancelled", now, "cancelled before its retry", ended_at=now, removed=True)
            else:
                self.tasks.drop(task)
        self.tasks.save()

    def _poll_at(self, alive: list[Task]) -> float:
        return min(self._next_poll, *(task.look_at for task in alive))

    def _pause(self, alive: list[Task], now: float) -> float:
        if self._notifies and all(task.run.state == "running" for task in alive):
            return _SAFETY
        youngest = min(now - (task.run.submitted_at or now) for task in alive)
        return min(max(youngest / 10, _POLL[0]), _POLL[1])


def deadline(task: Task) -> float | None:
    """Return when a run is to be stopped from outside, in the store's time; None where never."""
    run = task.run
    if run.timeout_seconds is None or run.started_at is None:
        return None
    return run.started_at + run.timeout_seconds + TIMEOUT_GRACE


def _outlived(task: Task, now: float) -> bool:
    """Say whether a job that a signal ended had outlived its timeout: a worker that died since may have stopped it."""
    end, code = deadline(task), task.exit.exit_code if task.exit else None
    return end is not None and now > end and (code is None or code > 128)
