"""Watching runs: their states as they change, their log lines as they come; dispatching them where nobody else does."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from heapq import merge
from typing import TYPE_CHECKING

from poolform.cli.view import say, show_line, styled
from poolform.core.dispatch.tasks import Listener
from poolform.core.errors import Interrupted, PoolformError
from poolform.core.runs import lateness
from poolform.core.store import logs, pools, runs, workers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolform.cli.session import Session
    from poolform.core.store.runs import FlowRun

    _News = runs.StateChange | logs.LogRow

_COLOURS = {"completed": "green", "failed": "red", "crashed": "red", "cancelled": "yellow", "running": "cyan"}
_LOOK = 1.0
"""Seconds between two looks at the store where it does not say that something changed."""
_PAGE = 1000  # lines that are fetched at a time


class Printing(Listener):
    """Says what a worker does, a line each."""

    def run_changed(self, run: FlowRun) -> None:
        """Say that a run is in a new state."""
        clock = time.strftime("%H:%M:%S")
        say(f"{clock}  {run.name}  {run.flow_name}  {state_in_colour(run.state)}{because(run.state, run.reason)}")

    def trouble(self, pool: str, message: str) -> None:
        """Say what keeps runs waiting."""
        say(f"{time.strftime('%H:%M:%S')}  {f'{pool}: ' if pool else ''}{message}", "yellow")


class Quiet(Listener):
    """Says only what keeps runs waiting; their states are shown by who watches."""

    def trouble(self, pool: str, message: str) -> None:
        """Say it."""
        say(f"{f'{pool}: ' if pool else ''}{message}", "yellow")


def state_in_colour(state: str) -> str:
    """Return a state as it is shown on stderr."""
    return styled(state, _COLOURS.get(state, "dim"), stream=sys.stderr)


def because(state: str, reason: str | None) -> str:
    """Return what is to be said after a state: why, unless the state says it all."""
    return f": {reason}" if reason and reason != state else ""


def watch(
    session: Session,
    run_id: str,
    *,
    with_logs: bool = True,
    with_states: bool = True,
    follows: bool = False,
    timeout: float | None = None,
) -> FlowRun:
    """Show a run's states and lines as they come, until it has ended; return it as it ended.

    Lines go to stdout, states to stderr. Whoever only `follows` is told when nobody else looks after the run. Raises
    NotEnded once `timeout` seconds have passed.
    """
    seen_state, seen_line, told = 0, (0, 0), None
    deadline = None if timeout is None else time.monotonic() + timeout
    with session.store.wake() as wake:
        while True:
            with session.store.read() as tx:
                run = runs.get(tx, run_id)
                changes = runs.states(tx, run_id, after=seen_state)
                lines = logs.of_run(tx, run_id, after=seen_line, limit=_PAGE) if with_logs else []
                alone = lateness.abandoned(tx, run) if follows else None
            more = len(lines) == _PAGE
            for news in lines if more else _in_order(changes, lines):
                if isinstance(news, logs.LogRow):
                    show_line(news.line)
                    seen_line = (news.attempt, news.seq)
                    continue
                seen_state = news.seq
                if with_states:
                    say(f"{run.name} is {state_in_colour(news.state)}{because(news.state, news.reason)}")
            if more:
                continue
            if run.ended and (alone or not run.worker_id):
                return run
            if alone != told and alone is not None:
                say(f"Nobody follows {run.name} now: {alone}", "yellow")
            told = alone
            left = _LOOK if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise NotEnded(run, timeout or 0)
            wake.wait(min(left, _LOOK))


class NotEnded(PoolformError):
    """A run was watched for as long as was asked for, and goes on."""

    def __init__(self, run: FlowRun, seconds: float) -> None:
        super().__init__(
            f"The run {run.name} has not ended within {seconds:g} s: it is {run.state}.", hint=f"{_watch_on(run)}."
        )


def interrupted(session: Session, run_id: str) -> Interrupted:
    """Return the error for a run that is not watched any more: what becomes of it, and who sees to that."""
    with session.store.read() as tx:
        run = runs.get(tx, run_id)
        pool = pools.by_id(tx, run.pool_id)
        alive = workers.live(tx, pool_id=run.pool_id)
    if run.ended:
        return Interrupted(f"Interrupted: the run {run.name} is {run.state}.")
    waits = run.state == "scheduled"
    hint = f"{_watch_on(run)}."
    if pool is not None and pool.is_served:  # no worker takes such a run, only the script that serves it
        if unserved(session, run):
            hint += f" {'It is launched' if waits else 'Its outcome is noted'} once its script is started again."
    elif not alive:
        hint += f" {'It is launched' if waits else 'Its outcome is noted'} by the next worker: poolform worker start"
    return Interrupted(
        f"Interrupted: the run {run.name} {'waits to be launched' if waits else 'goes on'}; nothing is lost.", hint=hint
    )


def _watch_on(run: FlowRun) -> str:
    short = run.id[:12]
    return f"Watch it: poolform flow-run watch {short}, or cancel it: poolform flow-run cancel {short}"


def _in_order(changes: Sequence[_News], lines: Sequence[_News]) -> list[_News]:
    """Return what happened as it happened; the end comes last, whatever the platform's clock says of the last lines."""
    last = [change for change in changes[-1:] if isinstance(change, runs.StateChange) and change.state in runs.ENDED]
    return [*merge(changes[: len(changes) - len(last)], lines, key=lambda news: news.at), *last]


@contextmanager
def dispatching(session: Session, run: FlowRun) -> Iterator[None]:
    """Dispatch this one run in the background for as long as this lasts, whenever no live worker does.

    A worker that was there when the run was submitted may die: then this takes over, once its lease has run out.
    """
    if why := unserved(session, run):
        say(why, "yellow")
        yield
        return
    from poolform.core.dispatch.wiring import make_worker

    with session.store.read() as tx:
        pool = pools.by_id(tx, run.pool_id)
    if pool and pool.is_served:
        yield
        return
    stopped, made = threading.Event(), []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            while _somebody_dispatches(session, run):
                if stopped.wait(_LOOK):
                    return
            worker = make_worker(session.store, session.plugins, session.blocks, Quiet(), only=run.id)
            made.append(worker)
            if not stopped.is_set():
                worker.run()
        except BaseException as exc:  # noqa: BLE001 - raised again by whoever waits
            failures.append(exc)
        finally:
            session.store.leave()

    thread = threading.Thread(target=work, name="dispatcher")
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        for worker in made:
            worker.stop()
        thread.join()
    if failures:
        raise failures[0]


def _somebody_dispatches(session: Session, run: FlowRun) -> bool:
    with session.store.read() as tx:
        return bool(workers.live(tx, pool_id=run.pool_id))


def unserved(session: Session, run: FlowRun) -> str | None:
    """Return what keeps a run of a served deployment waiting: that nobody serves it now. None for all others."""
    from poolform.core.store import queues

    with session.store.read() as tx:
        pool = pools.by_id(tx, run.pool_id)
        if pool is None or not pool.is_served:
            return None
        queue = queues.find(tx, pool.id, run.queue or "")
        if workers.live(tx, pool_id=pool.id) and queue is not None and not queue.paused:
            return None
    return f"Nobody serves {run.deployment} now: the run {run.name} waits until its script is started."


def exit_code(run: FlowRun) -> int:
    """Return the exit code for a run that was watched to its end."""
    return {"completed": 0, "cancelled": 1}.get(run.state, 5)
