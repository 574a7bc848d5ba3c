"""Supervising: one thread for each pool that has something to do, the only one that talks to the pool's launcher."""

from __future__ import annotations

import os
import select
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from poolform.core.clock import clock
from poolform.core.dispatch.claim import claim
from poolform.core.dispatch.following import Following
from poolform.core.dispatch.launching import Launching
from poolform.core.dispatch.recover import recover
from poolform.core.dispatch.tasks import Backoff, Listener, Stage, Task, Tasks
from poolform.core.errors import PoolformError
from poolform.core.pools.catalogue import reason
from poolform.core.runs.launchers import Notifies
from poolform.core.store import leases, pools, runs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from poolform.core.dispatch.launching import JobBuilder, Seal
    from poolform.core.runs.launchers import Launcher
    from poolform.core.store.database import Store
    from poolform.core.store.pools import WorkPool

_BATCH_SECONDS = 2.0  # claim what can be launched in about this time, and leave the rest to other workers
_BATCH = 64
_AGAIN = 0.2  # seconds before due runs that had no place are tried again
_IDLE = 30.0  # seconds without anything to do after which a supervisor leaves and lets its launcher go
_LONGEST = 15.0  # seconds between two rounds at most


@dataclass(frozen=True)
class Charge:
    """What all supervisors of a worker share."""

    store: Store[Any]
    worker_id: str
    launchers: Callable[[WorkPool], Launcher]
    build_job: JobBuilder
    listener: Listener
    lease: float
    seal: Seal | None = None
    only: str | None = None
    """The id of the one run to dispatch, where not all."""
    queues: Sequence[str] | None = None
    """The ids of the queues to see to, where not all."""
    limit: int | None = None
    """How many runs of a pool it has in progress at a time."""
    draining: threading.Event = field(default_factory=threading.Event)
    """Set when nothing more is to be taken."""


class Supervisor:
    """Claims, launches and follows the runs of one pool, in a thread of its own."""

    def __init__(self, charge: Charge, pool_id: str) -> None:
        self.charge, self.pool_id = charge, pool_id
        self.tasks = Tasks(charge.store, charge.worker_id, charge.listener)
        self.beat = clock()
        """When it last came round; one that is stuck in its launcher for minutes does not get its leases renewed."""
        self._lock = threading.Lock()
        self._due = self._attend = self._stopping = self._finished = False
        self._claim_at = 0.0
        self._short = False  # the last claim left runs for want of a place, maybe
        self._stale = False  # the pool has changed, and no launcher could be made for it as it is now
        self._busy_at = clock()
        self._trouble = Backoff(60.0)
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self.name = pool_id  # of the pool, as soon as it was read
        self._halves: tuple[Launching, Following] | None = None
        self._mute: Launcher | None = None  # the launcher that was to notify, and failed at it
        self._thread = threading.Thread(target=self._run, name=f"supervise {pool_id}", daemon=True)
        self._thread.start()

    def nudge(self, *, due: bool = False, attend: bool = False) -> bool:
        """Tell that runs are due, or held ones need care. False: it has left, and a new one is needed."""
        with self._lock:
            if self._finished or not self._thread.is_alive():
                return False
            self._due, self._attend = self._due or due, self._attend or attend
        self._ring()
        return True

    def stop(self) -> None:
        """Ask it to leave after this round; its jobs go on."""
        self._stopping = True
        self._ring()

    def join(self) -> None:
        """Wait until it has left, and close its launcher."""
        self._thread.join()
        if self._halves:
            self._close(self._halves[0].launcher)
            self._halves = None
        for descriptor in (self._reader, self._writer):
            os.close(descriptor)

    @property
    def left(self) -> bool:
        """Say whether its thread has ended."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._go_round()
        finally:
            self.charge.store.leave()

    def _go_round(self) -> None:
        notified = False
        while not self._stopping and not self._leave():
            self.beat = clock()
            pause: float | None = None
            if not self._trouble.waiting:
                try:
                    self._round(notified=notified)
                    pause = self._pause()
                    self._trouble.succeed()
                except PoolformError as exc:
                    self._report(exc.message, exc.hint)
                except BaseException as exc:  # noqa: BLE001 - a plugin's mistake, or its exit, must not end this thread
                    self._report(f"{reason(exc)}.")
            if pause is None:
                pause = max(0.0, self._trouble.until - clock())
            notified = self._sleep(pause)

    def _round(self, *, notified: bool) -> None:
        with self._lock:
            due, attend = self._due, self._attend
        # What fails may have been mended meanwhile: a key that was rotated is taken up here.
        failing = self._halves is not None and self._halves[0].backoff.failing
        halves = self._refresh() if due or attend or failing or self._halves is None else self._halves
        self.tasks.drop_lost()
        if halves is None:
            with self._lock:
                self._due = self._attend = False
            return
        launching, following = halves
        if attend:
            with self._lock:
                self._attend = False
            self._see_to_held()
        if due and self._stale:
            with self._lock:
                self._due = False  # the worker will say so again
        elif due:
            self._claim(launching)
        launching.build()
        launching.ask()
        launching.launch()
        following.cancel()
        following.poll(notified=notified)
        following.collect()
        following.settle()
        if following.clear() and self._short:
            with self._lock:
                self._due = True
            self._claim_at = 0.0

    def _refresh(self) -> tuple[Launching, Following] | None:
        """Return the two halves, on the pool as it is now; None where it is gone."""
        with self.charge.store.read() as tx:
            pool = pools.by_id(tx, self.pool_id)
        if pool is None:
            return None
        self.name = pool.name
        if self._halves is None or self._halves[0].pool != pool:
            try:
                launcher = self.charge.launchers(pool)
            except BaseException as exc:
                if self._halves is None:
                    raise
                # What is in progress is followed with the launcher that started it; nothing new is claimed.
                if not self._stale:  # once: this comes back several times a second until it is put right
                    self.charge.listener.trouble(pool.name, str(exc))
                self._stale = True
                return self._halves
            if self._halves is not None:
                self._close(self._halves[0].launcher)
            launching = Launching(self.tasks, pool, launcher, self.charge.build_job, self.charge.seal)
            self._halves = (launching, Following(launching))
        self._stale = False
        return self._halves

    def _see_to_held(self) -> None:
        """Take over what others left, and pass on what was cancelled."""
        charge = self.charge
        lease, queues = charge.lease, charge.queues
        while (
            not charge.draining.is_set()
            and recover(self.tasks, self.pool_id, lease=lease, until=clock() + lease, queue_ids=queues) == 100
        ):
            pass
        with charge.store.read() as tx:
            cancelled = leases.to_cancel(tx, charge.worker_id, self.pool_id)
        for run_id in cancelled:
            if task := self.tasks.get(run_id):
                task.cancel = True

    def _claim(self, launching: Launching) -> None:
        charge, asked = self.charge, clock()
        if launching.no_room.waiting or launching.backoff.waiting or asked < self._claim_at:
            return
        with self._lock:
            self._due = False
        if charge.draining.is_set():
            return
        most = max(1, min(_BATCH, int(_BATCH_SECONDS / launching.pace)))
        if charge.limit is not None:
            room = charge.limit - len(self.tasks) + len(self.tasks.at(Stage.CLEAR))
            if room < 1:
                self._short = True  # whatever is cleared away next makes room
                return
            most = min(most, room)
        with charge.store.write() as tx:
            got = claim(
                tx,
                self.pool_id,
                charge.worker_id,
                lease=charge.lease,
                most=most,
                only=charge.only,
                queue_ids=charge.queues,
            )
            cancelled = [runs.get(tx, run_id) for run_id in got.cancelled]
        for run in got.runs:
            self.tasks.add(Task(run, Stage.BUILD, cancel=run.cancel_requested), asked + charge.lease)
        for run in (*got.runs, *cancelled):
            charge.listener.run_changed(run)
        if len(got.runs) == most:
            with self._lock:
                self._due = True
        elif got.full and not got.runs:
            self._claim_at = clock() + _AGAIN
        self._short = got.full and len(got.runs) < most

    def _pause(self) -> float:
        """Return how long there will be nothing to do, unless somebody rings."""
        now = clock()
        if self._halves is None:
            return _LONGEST
        launching, following = self._halves
        times = [now + _LONGEST]
        if (at := following.wake_at()) is not None:
            times.append(at)
        waiting = [*self.tasks.at(Stage.BUILD), *self.tasks.at(Stage.ASK), *self.tasks.at(Stage.LAUNCH)]
        if waiting:
            # Without a lease, wait for the worker's next renewal to say whose it is.
            pause = 0.0 if any(map(self.tasks.owned, waiting)) else _AGAIN
            times.append(max(now + pause, launching.backoff.until))
        if self._due:
            times.append(max(now, launching.no_room.until, launching.backoff.until, self._claim_at))
        return max(0.0, min(times) - now)

    def _sleep(self, pause: float) -> bool:
        """Sleep until it is time or somebody rings; say whether the launcher has news."""
        waiter = select.poll()
        waiter.register(self._reader, select.POLLIN)
        descriptor = -1
        if self._halves is not None and self.tasks.at(Stage.FOLLOW) and not self._halves[0].backoff.waiting:
            launcher = self._halves[0].launcher
            if isinstance(launcher, Notifies) and launcher is not self._mute:
                try:
                    descriptor = launcher.fileno()
                    waiter.register(descriptor, select.POLLIN)
                except BaseException as exc:  # noqa: BLE001 - a stranger's launcher may raise anything, and exit
                    self._mute, descriptor = launcher, -1
                    said = f"its launcher cannot say when jobs end ({reason(exc)}), so it is asked every few seconds"
                    self.charge.listener.trouble(self.name, said)
        ready = {found for found, _ in waiter.poll(1000 * pause)}
        if self._reader in ready:
            os.read(self._reader, 4096)
        return descriptor in ready

    def _leave(self) -> bool:
        """Say whether it has been idle for long enough to leave; after that, no nudge reaches it."""
        with self._lock:
            if len(self.tasks) or self._due or self._attend:
                self._busy_at = clock()
            self._finished = clock() - self._busy_at > _IDLE
            return self._finished

    def _close(self, launcher: Launcher) -> None:
        """Close a launcher: what it raises at that is said, and harms nobody."""
        try:
            launcher.close()
        except KeyboardInterrupt:  # in the main thread, a person's
            raise
        except BaseException as exc:  # noqa: BLE001 - a stranger's launcher may raise anything, and exit
            self.charge.listener.trouble(self.name, f"closing its launcher failed: {reason(exc)}")

    def _report(self, message: str, hint: str | None = None) -> None:
        pause = self._trouble.fail()
        then = f" {hint}" if hint else ""
        self.charge.listener.trouble(self.name, f"{message} Trying again in {pause:.1f} s.{then}")

    def _ring(self) -> None:
        with suppress(BlockingIOError):  # it has been rung often enough
            os.write(self._writer, b"!")
