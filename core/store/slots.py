"""Slots: the places of pools' and queues' limits, and the runs that take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolform.core.store.rows import Record, read
from poolform.core.store.runs import HELD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolform.core.store.database import Transaction
    from poolform.core.store.runs import RunState


@dataclass(frozen=True)
class Slot(Record):
    """A taken place: by which run, since when, and the worker that looks after it.

    `worker` is None for one that has left, or has died and let its own lease pass; the run is taken over, at the
    latest, when `lease_expires_at` has passed.
    """

    run_id: str
    name: str
    deployment: str | None
    queue: str | None
    state: RunState
    since: float
    worker: str | None
    lease_expires_at: float


def taken(tx: Transaction, pool_id: str, *, queue_id: str | None = None) -> Sequence[Slot]:
    """Return who takes a place in a pool, or in one of its queues; the longest first."""
    where = "AND r.queue_id = :queue" if queue_id is not None else ""
    rows = tx.execute(
        "SELECT r.id AS run_id, r.name, d.flow_name || '/' || d.name AS deployment, q.name AS queue, r.state, "  # noqa: S608
        "r.claimed_at AS since, w.name AS worker, r.lease_expires_at FROM flow_runs r "
        "LEFT JOIN deployments d ON d.id = r.deployment_id LEFT JOIN work_queues q ON q.id = r.queue_id "
        "LEFT JOIN workers w ON w.id = r.worker_id AND w.expires_at > :now "
        f"WHERE r.pool_id = :pool AND {HELD} "
        f"AND r.state IN ('pending', 'submitted', 'running') {where} "
        "ORDER BY r.claimed_at, r.scheduled_at, r.created_at",
        {"pool": pool_id, "now": tx.now()} | ({"queue": queue_id} if where else {}),
    )
    return [read(Slot, row) for row in rows]


def waiting(tx: Transaction, pool_id: str, *, queue_id: str | None = None) -> int:
    """Return how many runs are due in a pool, or in one of its queues, and have no place yet."""
    where = "AND id = :queue" if queue_id is not None else ""
    rows = tx.execute(
        "SELECT count(*) AS n FROM flow_runs WHERE state = 'scheduled' AND scheduled_at <= :now "  # noqa: S608
        f"AND queue_id IN (SELECT id FROM work_queues WHERE pool_id = :pool {where})",
        {"pool": pool_id, "now": tx.now()} | ({"queue": queue_id} if where else {}),
    )
    return int(rows[0]["n"])
