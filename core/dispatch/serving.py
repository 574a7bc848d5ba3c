"""Serving: a script registers its flows, and runs them in processes of this machine until it is stopped.

Nobody has to make a pool for it. Underneath is one all the same, `served`, which every serving process shares; each
deployment has a queue of its own there, and a serving process is a Worker for exactly its queues. So claiming, leases,
limits, logs, retries and recovery are the same ones, and `worker start` for all pools leaves them alone: only the
script knows the interpreter and packages that its flows need. Its launcher is the process pool's.
"""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from queue import SimpleQueue
from typing import TYPE_CHECKING

from poolform.core.dispatch.tasks import Listener
from poolform.core.dispatch.wiring import Wiring, make_worker
from poolform.core.errors import AlreadyExists, UsageError
from poolform.core.opening import opened, tell
from poolform.core.runs import deployments as planned
from poolform.core.runs import durations, timetables
from poolform.core.runs.authoring import as_deployment
from poolform.core.runs.jobs import base_job_template
from poolform.core.store import deployments, leases, pools, queues, runs
from poolform.core.store.pools import SERVED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolform.core.opening import Opened
    from poolform.core.runs.launchers import Launcher
    from poolform.core.store.database import Transaction
    from poolform.core.store.deployments import Deployment
    from poolform.core.store.pools import WorkPool
    from poolform.core.store.runs import FlowRun


def serve(
    *given: object,
    limit: int | None = None,
    pause_on_shutdown: bool = True,
    print_starting_message: bool = True,
) -> None:
    """Serve deployments (of `to_deployment`, or flows) until Ctrl-C or SIGTERM, at most `limit` runs at a time.

    Stopped, it launches nothing more, cancels what runs and waits for that; a second Ctrl-C leaves at once, and what
    runs is taken over by whoever serves the deployment next. `pause_on_shutdown` pauses the deployments: what is due
    meanwhile is left out. Otherwise the latest missed run is made up for when they are served again.
    Raises UsageError, InvalidValues.
    """
    if not given:
        raise UsageError("There is nothing to serve.", hint="Pass flow.to_deployment(NAME), once or more.")
    if limit is not None and limit < 1:
        raise UsageError(f"At most {limit} runs at a time would be none.", hint="Leave the limit out for any number.")
    with opened() as house:
        serving = _Serving(house, given, limit)
        if print_starting_message:
            for deployment in serving.deployments:
                tell(f"Serving {deployment.full_name}. Run it: poolform deployment run '{deployment.full_name}'")
            tell("Ctrl-C stops it.")
        serving.run()
        if pause_on_shutdown:
            serving.pause()
    tell("Stopped serving." + (" Its deployments are paused until they are served again." if pause_on_shutdown else ""))


class _Serving:
    """Some served deployments, and their worker."""

    def __init__(self, house: Opened, given: Sequence[object], limit: int | None) -> None:
        self._house = house
        self._wiring = Wiring(house.plugins, house.blocks)
        wanted = [as_deployment(one) for one in given]
        names = [one.full_name for one in wanted]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(f"{twice[0]} would be served twice.", hint="Give each deployment a name of its own.")
        self._pool = self._served_pool()
        plans = [replace(one.plan_for(self._pool), queue=one.full_name) for one in wanted]
        for plan in plans:
            planned.check(self._pool, plan)
        with house.store.write() as tx:
            self.deployments = [self._register(tx, plan) for plan in plans]
        self._queues = [deployment.queue_id for deployment in self.deployments]
        self._worker = make_worker(
            house.store,
            house.plugins,
            house.blocks,
            _Telling(),
            keep=durations.seconds(keep, of="POOLFORM_RETENTION") if (keep := house.settings.retention) else None,
            wiring=self._wiring,
            launchers=self._launcher,
            pool=self._pool,
            queues=self._queues,
            limit=limit,
        )
        self._stopping = False
        # Where a signal's handler may put something whatever it interrupts; an Event's lock may be held by who waits.
        self._heard: SimpleQueue[None] = SimpleQueue()
        self._failures: list[BaseException] = []

    def run(self) -> None:
        """Dispatch until a signal, then until nothing runs any more.

        The worker has a thread of its own, so that a signal never comes in the middle of its work.
        """
        thread = threading.Thread(target=self._work, name="serving")
        main = threading.current_thread() is threading.main_thread()
        before = {number: signal.signal(number, self._asked) for number in _SIGNALS} if main else {}
        try:
            thread.start()
            self._heard.get()
            if thread.is_alive():
                self._begin_to_stop()
            thread.join()
        finally:
            self._worker.stop()
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._failures:
            raise self._failures[0]

    def pause(self) -> None:
        """Pause the deployments, those that are gone by now left out."""
        with self._house.store.write() as tx:
            for deployment in self.deployments:
                if known := deployments.by_id(tx, deployment.id):
                    timetables.set_paused(tx, known, paused=True)

    def _served_pool(self) -> WorkPool:
        """Return the pool of served deployments, with today's job variables; made where it is not there."""
        process = self._house.plugins.pool_type("process")
        template = base_job_template(process.pool_type)
        with self._house.store.write() as tx:
            pool = pools.find(tx, SERVED)
            if pool is None:
                return pools.create(
                    tx,
                    name=SERVED,
                    type=SERVED,
                    plugin=process.plugin.name,
                    plugin_version=process.plugin.version,
                    state="ready",
                    base_job_template=template,
                )
            if pool.type != SERVED:
                raise AlreadyExists(
                    f"The work pool {SERVED} is in the way: that is the name of the pool of served deployments.",
                    hint=f"Give yours another one: poolform work-pool update {SERVED} --name NAME",
                )
            if pool.base_job_template != template or pool.state != "ready":
                return pools.update(tx, pool.id, base_job_template=template, state="ready")
            return pool

    def _register(self, tx: Transaction, plan: planned.Plan) -> Deployment:
        queue = queues.find(tx, self._pool.id, plan.queue) or queues.create(tx, self._pool.id, plan.queue)
        queues.update(tx, queue.id, paused=False)
        return planned.save(tx, self._pool, replace(plan, paused=bool(plan.paused)))

    def _launcher(self, pool: WorkPool) -> Launcher:
        """Return a process launcher for this machine; another one that serves has another folder."""
        folder = str(self._house.settings.folder("served"))
        return self._wiring.launcher(replace(pool, type="process", connection={"settings": {"folder": folder}}))

    def _work(self) -> None:
        try:
            self._worker.run(until=self._done)
        except BaseException as exc:  # noqa: BLE001 - raised again by whoever waits
            self._failures.append(exc)
        finally:
            self._stopping = True
            self._heard.put(None)

    def _asked(self, _number: int, _frame: object) -> None:
        if self._stopping:
            self._worker.stop()
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)  # the next one does not wait for a platform that does not answer
        self._stopping = True
        self._heard.put(None)

    def _begin_to_stop(self) -> None:
        """Let nothing more be claimed; the change wakes the worker."""
        with self._house.store.write() as tx:
            for queue in self._queues:
                queues.update(tx, queue, paused=True)

    def _done(self) -> bool:
        """Say whether it was asked to stop and nothing runs any more; cancel what does."""
        if not self._stopping:
            return False
        with self._house.store.read() as tx:
            held = leases.held_by(tx, self._worker.id)
        running = [run for run in held if not run.ended and not run.cancel_requested]
        if running:
            names = ", ".join(run.name for run in running)
            tell(f"Stopping {names}. Ctrl-C once more leaves what runs to whoever serves it next.")
            with self._house.store.write() as tx:
                for run in running:
                    runs.cancel(tx, run.id)
        return not held


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Telling(Listener):
    """Tells how runs end, and what keeps them waiting; shows what they print."""

    def printed(self, run: FlowRun, lines: Sequence[str]) -> None:
        """Show the lines on stdout, each with its run's name: several runs may print at a time."""
        with suppress(OSError, ValueError):  # nobody reads it any more; the lines are stored
            sys.stdout.write("".join(f"{run.name}  {line}\n" for line in lines))
            sys.stdout.flush()

    def run_changed(self, run: FlowRun) -> None:
        """Tell that a run is running, or how it ended."""
        if run.state != "running" and not run.ended:
            return
        because = f": {run.reason}" if run.reason and run.reason != run.state else ""
        tell(f"{run.name}  {run.flow_name}  {run.state}{because}")

    def trouble(self, pool: str, message: str) -> None:
        """Tell what keeps runs waiting."""
        tell(message)
