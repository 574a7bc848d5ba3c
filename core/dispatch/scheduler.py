"""Scheduling: makes the runs that are due, each once, however many workers see that they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolform.core.errors import PoolformError
from poolform.core.pools.catalogue import reason
from poolform.core.runs.deployments import submit
from poolform.core.runs.moments import latest, next_after
from poolform.core.runs.timetables import spec
from poolform.core.store import deployments, pools, schedules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolform.core.dispatch.tasks import Listener
    from poolform.core.store.database import Store, Transaction
    from poolform.core.store.schedules import DeploymentSchedule

_BATCH = 100  # schedules in one transaction
_LATER = 60.0  # seconds before a schedule that this machine cannot read is tried again
TAG = "auto-scheduled"
"""Every run that a schedule made has it, as in Prefect."""


class Scheduler:
    """Makes due runs of all pools, of one, or of some of its queues.

    A run's idempotency key is its schedule and its time, so that nothing can make it twice. Every worker schedules
    what it dispatches; who comes first makes the run and moves the schedule on, in one transaction.
    """

    def __init__(
        self, store: Store[Any], listener: Listener, *, pool_id: str | None, queue_ids: Sequence[str] | None = None
    ) -> None:
        self._store, self._listener = store, listener
        self._pool_id, self._queue_ids = pool_id, queue_ids

    def soonest(self, tx: Transaction) -> float | None:
        """Return when the next run is to be made, None for never. Cheap, and changes nothing."""
        return schedules.soonest(tx, pool_id=self._pool_id, queue_ids=self._queue_ids)

    def make_due(self) -> int:
        """Make all runs that are due and return how many."""
        made = 0
        while True:
            with self._store.write() as tx:
                now = tx.now()
                due = schedules.due(tx, now, pool_id=self._pool_id, queue_ids=self._queue_ids, most=_BATCH)
                problems = [problem for row in due if (problem := self._make(tx, row, now))]
            for problem in problems:
                self._listener.trouble("", problem)
            made += len(due) - len(problems)
            if len(due) < _BATCH:
                return made

    def _make(self, tx: Transaction, row: DeploymentSchedule, now: float) -> str | None:
        """Make a schedule's run and move it on; return what keeps it from that."""
        deployment = deployments.by_id(tx, row.deployment_id)
        pool = pools.by_id(tx, deployment.pool_id) if deployment else None
        assert deployment is not None, "a schedule goes with its deployment"
        assert pool is not None, "a deployment goes with its pool"
        assert row.next_at is not None, "it is due"
        schedule = spec(row)
        try:
            at, then = latest(schedule, row.next_at, now), next_after(schedule, now)
        except Exception as exc:  # noqa: BLE001 - a time zone that is not known here, a rule that its library chokes on
            schedules.update(tx, row.id, next_at=now + _LATER)
            return f"The schedule {' '.join(row.expression.split())} of {deployment.full_name}: {_said(exc)}"
        submit(
            tx,
            pool,
            deployment,
            parameters=row.parameters,
            tags=[TAG],
            scheduled_at=at,
            idempotency_key=f"{row.id} {at:.6f}",
        )
        schedules.update(tx, row.id, next_at=then)
        return None


def _said(exc: Exception) -> str:
    return exc.message if isinstance(exc, PoolformError) else reason(exc)
