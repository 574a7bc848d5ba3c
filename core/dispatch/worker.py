"""A worker: watches the store, wakes the supervisors of pools that have something to do, keeps the leases."""

from __future__ import annotations

import os
import select
import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from poolform.core.clock import clock
from poolform.core.dispatch.claim import Outlook, look
from poolform.core.dispatch.scheduler import Scheduler
from poolform.core.dispatch.supervise import Charge, Supervisor
from poolform.core.dispatch.tasks import Backoff, Listener
from poolform.core.errors import StoreError
from poolform.core.store import leases, workers
from poolform.core.store.names import new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from poolform.core.dispatch.companions import Companion
    from poolform.core.dispatch.launching import JobBuilder, Seal
    from poolform.core.runs.launchers import Launcher
    from poolform.core.store.database import Store, Wake
    from poolform.core.store.pools import WorkPool

LEASE = 15.0
"""Seconds after which a dead worker's runs are taken over."""
_STUCK = 300.0  # seconds in one round after which a supervisor counts as stuck, and its leases are left to run out
_SPACING = 0.008  # seconds between two looks at the store, however busy that is
_LOOK = 5.0  # seconds between two looks at most: a lease expires without anybody changing anything


@dataclass(frozen=True)
class Status:
    """How a worker is: seconds since it last came round, and since it last read the store; ids of runs that it holds.

    `stuck` names the pools whose launcher has not answered for minutes.
    """

    turned_ago: float
    looked_ago: float
    held: Sequence[str]
    stuck: Sequence[str]
    draining: bool


class Worker:
    """A dispatching process, for one pool or for all; any number of them may share a store.

    It makes the runs that schedules ask for there, and dispatches these and all others. `queues` are the ids of the
    queues of its pool that it is for, where not for all. `limit` is how many runs it has in progress at a time.
    `launchers` returns a pool's launcher, `build_job` a run's job. A run whose job cannot be built, with a
    PoolformError or any other, ends as crashed. `only` is the id of the one run to dispatch. `seal` encrypts the stored
    requests of jobs that have secrets; without it such runs crash.

    `companions` begin and end with it.

    What it promises, whatever dies and whenever: no run is lost, and none is started twice. Retries are for flows that
    failed (raised, or timed out); what crashed is not retried, as nobody knows how far it came.
    """

    def __init__(
        self,
        store: Store[Any],
        launchers: Callable[[WorkPool], Launcher],
        build_job: JobBuilder,
        *,
        pool: WorkPool | None = None,
        queues: Sequence[str] | None = None,
        limit: int | None = None,
        only: str | None = None,
        listener: Listener | None = None,
        seal: Seal | None = None,
        name: str | None = None,
        lease: float = LEASE,
        companions: Sequence[Companion] = (),
    ) -> None:
        self.id = new_id()
        self.name = name or f"{socket.gethostname()}-{os.getpid()}"
        listener = listener or Listener()
        self._charge = Charge(store, self.id, launchers, build_job, listener, lease, seal, only, queues, limit)
        self._store, self._pool_id = store, pool.id if pool else None
        self._scheduler = Scheduler(store, listener, pool_id=self._pool_id, queue_ids=queues) if only is None else None
        self._supervisors: dict[str, Supervisor] = {}
        self._companions = companions
        self._trouble = Backoff(10.0)
        self._next_beat = 0.0
        self._next_in: float | None = None  # seconds until the next run is due, when last looked
        self._started = 0.0
        self._turned = self._looked = clock()
        self._stopping = False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def run(self, until: Callable[[], bool] | None = None) -> None:
        """Dispatch until `stop` is called or `until()` is true; asked after each change of the store, and now and then.

        Jobs in progress go on, and the next worker takes them over at once. Raises StoreError only where the store
        cannot be reached at the start; later, it waits for the store to come back.
        """
        with self._store.wake() as wake:
            try:
                self._started = self._store.now()
                self._beat()
                for companion in self._companions:
                    companion.start()
                while not self._stopping and not self._turn(until):
                    self._rest(wake)
            finally:
                self._end()

    def stop(self) -> None:
        """Make `run` return soon. May be called from a signal handler or another thread, and more than once."""
        self._stopping = True
        self._ring()

    def drain(self) -> None:
        """Make `run` return as soon as no run is held any more, and take none from now on. May be called as `stop`.

        Nobody counts on the worker any more: it is not among those that are alive.
        """
        self._charge.draining.set()
        self._next_beat = 0.0
        self._ring()

    def status(self) -> Status:
        """Return how it is. May be called from any thread, and asks nobody."""
        now = clock()
        supervisors = dict(self._supervisors)
        return Status(
            turned_ago=now - self._turned,
            looked_ago=now - self._looked,
            held=[run_id for supervisor in supervisors.values() for run_id in supervisor.tasks.ids()],
            stuck=[each.name for each in supervisors.values() if len(each.tasks) and now - each.beat > _STUCK],
            draining=self._charge.draining.is_set(),
        )

    def _ring(self) -> None:
        with suppress(OSError):
            os.write(self._writer, b"!")

    def _turn(self, until: Callable[[], bool] | None) -> bool:
        """Do what is due; say whether `until` is true, or nothing is left to wait for."""
        self._turned = clock()
        try:
            if clock() >= self._next_beat:
                self._beat()
            outlook = self._look()
            self._looked = clock()
            for pool_id in outlook.due | outlook.attend:
                self._nudge(pool_id, due=pool_id in outlook.due, attend=pool_id in outlook.attend)
            done = (until is not None and until()) or (self._charge.draining.is_set() and not self._holds())
        except StoreError as exc:
            pause = self._trouble.fail()
            self._charge.listener.trouble("", f"{exc.message} Trying again in {pause:.1f} s.")
            return False
        self._trouble.succeed()
        return done

    def _holds(self) -> bool:
        return any(supervisor.tasks.ids() for supervisor in self._supervisors.values())

    def _look(self) -> Outlook:
        """Make the runs that schedules ask for now, then look what there is to do, and until when there is nothing."""
        while True:
            with self._store.read() as tx:
                outlook = look(tx, self.id, self._pool_id, self._charge.queues)
                scheduled_at = self._scheduler.soonest(tx) if self._scheduler else None
                now = tx.now()
            if self._charge.draining.is_set():
                self._next_in = None
                return replace(outlook, due=frozenset())
            if self._scheduler and scheduled_at is not None and scheduled_at <= now:
                if self._scheduler.make_due():
                    continue
                scheduled_at = now + _SPACING  # another worker is making them
            times = [at for at in (outlook.next_at, scheduled_at) if at is not None]
            self._next_in = max(0.0, min(times) - now) if times else None
            return outlook

    def _nudge(self, pool_id: str, *, due: bool, attend: bool) -> None:
        supervisor = self._supervisors.get(pool_id)
        if supervisor is None or not supervisor.nudge(due=due, attend=attend):
            if supervisor is not None:
                supervisor.join()
            supervisor = self._supervisors[pool_id] = Supervisor(self._charge, pool_id)
            supervisor.nudge(due=due, attend=attend)

    def _beat(self) -> None:
        """Say that this worker lives, and renew the leases of all that it supervises."""
        for pool_id in [pool_id for pool_id, supervisor in self._supervisors.items() if supervisor.left]:
            self._supervisors.pop(pool_id).join()
        asked, lease = clock(), self._charge.lease
        healthy = {
            pool_id: supervisor
            for pool_id, supervisor in self._supervisors.items()
            if len(supervisor.tasks) and asked - supervisor.beat < _STUCK
        }
        with self._store.write(notify=False) as tx:
            now = tx.now()
            kept = {
                pool_id: leases.renew(tx, self.id, pool_id, supervisor.tasks.ids(), lease=lease)
                for pool_id, supervisor in healthy.items()
            }
            if self._charge.draining.is_set():
                workers.delete(tx, self.id)
            elif self._charge.only is None:  # who sees to one run is nobody whom others could wait for
                workers.save(tx, self._record(now))
        for pool_id, supervisor in healthy.items():
            supervisor.tasks.keep(kept[pool_id], asked, asked + lease)
        self._next_beat = asked + lease / 3

    def _record(self, now: float) -> workers.Worker:
        host, expires_at = socket.gethostname(), now + self._charge.lease
        return workers.Worker(self.id, self.name, self._pool_id, host, os.getpid(), self._started, now, expires_at)

    def _rest(self, wake: Wake) -> None:
        """Wait for a change of the store, for the next run to be due, for `stop`."""
        rung = select.poll()
        rung.register(self._reader, select.POLLIN)
        if self._trouble.waiting:
            rung.poll(1000 * max(0.0, self._trouble.until - clock()))
            return
        rung.poll(1000 * _SPACING)
        times = [self._next_beat - clock(), min(_LOOK, self._charge.lease / 4)]
        if self._next_in is not None:
            times.append(self._next_in)
        try:
            wake.wait(max(0.0, min(times)), also=[self._reader])
        except StoreError as exc:
            self._charge.listener.trouble("", exc.message)
            self._trouble.fail()

    def _end(self) -> None:
        for supervisor in self._supervisors.values():
            supervisor.stop()
        for supervisor in self._supervisors.values():
            supervisor.join()
        with suppress(StoreError), self._store.write() as tx:  # else the leases run out by themselves
            leases.let_go(tx, self.id)
            workers.delete(tx, self.id)
        for companion in self._companions:
            companion.stop()
        reader, writer, self._reader, self._writer = self._reader, self._writer, -1, -1
        os.close(reader)
        os.close(writer)
