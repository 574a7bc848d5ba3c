"""Claiming: which runs a worker takes next, in one transaction."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from poolform.core.errors import counted
from poolform.core.store import runs
from poolform.core.store.rows import among, read
from poolform.core.store.runs import FlowRun

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from poolform.core.store.database import Row, Transaction


_SERVED = "coalesce((SELECT id FROM work_pools WHERE type = 'served'), '')"
"""The id of the pool of served deployments, which no worker but theirs sees to."""


@dataclass(frozen=True)
class Claim:
    """What a claim did: runs that are now the worker's, and ids of runs cancelled for want of a place ("cancel-new").

    `full`: the pool, or some queue or deployment, has no place left, so that more may be due than can be taken.
    """

    runs: Sequence[FlowRun]
    cancelled: Sequence[str] = ()
    full: bool = False


@dataclass
class _Room:
    """How many more runs fit into the pool, each limited queue and each limited deployment."""

    pool: int
    queues: dict[str, int]
    deployments: dict[str, int]

    def take(self, run: FlowRun) -> bool:
        """Take a place for `run` if there is one."""
        places = [
            (limits, key)
            for limits, key in ((self.queues, run.queue_id), (self.deployments, run.deployment_id))
            if key in limits
        ]
        if self.pool < 1 or any(limits[key] < 1 for limits, key in places if key):
            return False
        self.pool -= 1
        for limits, key in places:
            if key:
                limits[key] -= 1
        return True

    @property
    def full(self) -> bool:
        """Say whether something has no place left."""
        return any(left < 1 for left in (self.pool, *self.queues.values(), *self.deployments.values()))

    def full_deployments(self) -> list[str]:
        """Return the ids of the deployments that have no place left."""
        return [key for key, left in self.deployments.items() if left < 1]


def claim(
    tx: Transaction,
    pool_id: str,
    worker_id: str,
    *,
    lease: float,
    most: int,
    only: str | None = None,
    queue_ids: Collection[str] | None = None,
) -> Claim:
    """Take up to `most` due runs of a ready, unpaused pool: by queue priority, then by time, within all limits.

    `only` is the id of the one run to take, `queue_ids` are the queues to take from, where not all. A deployment's
    limit counts its runs in this pool.
    """
    now = tx.now()
    pool = tx.execute("SELECT state, paused, concurrency_limit FROM work_pools WHERE id = :pool", {"pool": pool_id})
    if not pool or pool[0]["state"] != "ready" or pool[0]["paused"]:
        return Claim(())
    queues = tx.execute(
        "SELECT id, priority, concurrency_limit FROM work_queues WHERE pool_id = :pool AND NOT paused "
        "ORDER BY priority, id",
        {"pool": pool_id},
    )
    limited = tx.execute(
        "SELECT id, concurrency_limit, collision FROM deployments "
        "WHERE pool_id = :pool AND concurrency_limit IS NOT NULL",
        {"pool": pool_id},
    )
    room = _room(tx, pool_id, pool[0], queues, limited, most)
    claimed: list[FlowRun] = []
    for _, group in groupby(queues, key=lambda queue: queue["priority"]):
        lanes = [queue["id"] for queue in group if queue_ids is None or queue["id"] in queue_ids]
        while new := _next(tx, lanes, room, now, only):
            claimed += _hold(tx, new, worker_id, now + lease)
    cancelled: list[str] = []
    for deployment in limited:
        if deployment["collision"] == "cancel-new" and room.deployments[deployment["id"]] < 1:
            cancelled += _cancel_due(tx, deployment, now)
    return Claim(claimed, cancelled, room.full)


def _room(tx: Transaction, pool_id: str, pool: Row, queues: Sequence[Row], limited: Sequence[Row], most: int) -> _Room:
    limits = [row["concurrency_limit"] for row in (pool, *queues, *limited)]
    if all(limit is None for limit in limits):
        return _Room(most, {}, {})
    if tx.dialect == "postgresql":
        # Two workers that count at once would both find the last place free, so those who count take turns.
        tx.execute("SELECT 1 FROM work_pools WHERE id = :pool FOR NO KEY UPDATE", {"pool": pool_id})
    active = tx.execute(
        "SELECT queue_id, deployment_id, count(*) AS n FROM flow_runs "  # noqa: S608 - constants
        f"WHERE pool_id = :pool AND {runs.HELD} "
        "AND state IN ('pending', 'submitted', 'running') GROUP BY queue_id, deployment_id",
        {"pool": pool_id},
    )
    by_queue: Counter[str] = Counter()
    by_deployment: Counter[str] = Counter()
    for row in active:
        by_queue[row["queue_id"]] += row["n"]
        by_deployment[row["deployment_id"]] += row["n"]
    limit = pool["concurrency_limit"]
    return _Room(
        most if limit is None else min(most, limit - by_queue.total()),
        {q["id"]: q["concurrency_limit"] - by_queue[q["id"]] for q in queues if q["concurrency_limit"] is not None},
        {d["id"]: d["concurrency_limit"] - by_deployment[d["id"]] for d in limited},
    )


def _next(tx: Transaction, lanes: Collection[str], room: _Room, now: float, only: str | None) -> list[FlowRun]:
    """Return due runs of queues of equal priority that have a place, oldest first; none when there are no more."""
    while room.pool > 0:
        full = room.full_deployments()
        due = sorted(
            (
                run
                for lane in lanes
                if room.queues.get(lane, 1) > 0
                for run in _due(tx, lane, full, now, room.pool, only)
            ),
            key=lambda run: (run.scheduled_at, run.created_at, run.id),
        )
        placed = [run for run in due if room.take(run)]
        if placed or not due:
            return placed
        # None of these had a place, because a deployment is full; others may be due behind them.
        if room.full_deployments() == full:
            return []
    return []


def _due(tx: Transaction, queue_id: str, full: Sequence[str], now: float, most: int, only: str | None) -> list[FlowRun]:
    conditions = ["r.queue_id = :queue", "r.state = 'scheduled'", "r.scheduled_at <= :now", "d.paused IS NOT TRUE"]
    values: dict[str, Any] = {"queue": queue_id, "now": now, "most": most}
    if full:
        values |= {f"full_{n}": deployment for n, deployment in enumerate(full)}
        names = ", ".join(f":full_{n}" for n in range(len(full)))
        conditions.append(f"(r.deployment_id IS NULL OR r.deployment_id NOT IN ({names}))")
    if only is not None:
        values["only"] = only
        conditions.append("r.id = :only")
    skip = " FOR UPDATE OF r SKIP LOCKED" if tx.dialect == "postgresql" else ""
    sql = (
        f"{runs.SELECT} WHERE {' AND '.join(conditions)} ORDER BY r.scheduled_at, r.created_at, r.id LIMIT :most{skip}"
    )
    return [read(FlowRun, row) for row in tx.execute(sql, values)]


def _hold(tx: Transaction, due: Sequence[FlowRun], worker_id: str, until: float) -> list[FlowRun]:
    now = tx.now()
    tx.execute_many(
        "UPDATE flow_runs SET state = 'pending', reason = NULL, worker_id = :worker, lease_expires_at = :until, "
        "claimed_at = :now WHERE id = :id",
        [{"id": run.id, "worker": worker_id, "until": until, "now": now} for run in due],
    )
    runs.enter(tx, [(run.id, "pending", None) for run in due])
    return [
        replace(run, state="pending", reason=None, worker_id=worker_id, lease_expires_at=until, claimed_at=now)
        for run in due
    ]


def _cancel_due(tx: Transaction, deployment: Row, now: float) -> list[str]:
    """Cancel what is due of a full deployment whose new runs are not to wait; a retry is not new."""
    limit = deployment["concurrency_limit"]
    reason = f"its deployment's limit of {counted(limit, 'run')} was reached"
    rows = tx.execute(
        "UPDATE flow_runs SET state = 'cancelled', reason = :reason, ended_at = :now WHERE deployment_id = :deployment "
        "AND state = 'scheduled' AND scheduled_at <= :now AND attempt = 1 RETURNING id",
        {"reason": reason, "now": now, "deployment": deployment["id"]},
    )
    cancelled = [row["id"] for row in rows]
    runs.enter(tx, [(run_id, "cancelled", reason) for run_id in cancelled])
    return cancelled


@dataclass(frozen=True)
class Outlook:
    """Which pools a worker should see to: `due` have runs to claim, `attend` runs to take over or to cancel.

    `next_at` is when the next run that now waits will be due, None where none does.
    """

    due: frozenset[str]
    attend: frozenset[str]
    next_at: float | None


def look(
    tx: Transaction, worker_id: str, pool_id: str | None = None, queue_ids: Collection[str] | None = None
) -> Outlook:
    """Look what there is to do: in all pools, in one, or in some of its queues. Cheap, and changes nothing.

    The pool of served deployments is left out of all: their own process sees to them.
    """
    now = tx.now()
    # `IN` would read the table of pools for each held run; this asks it once.
    one = "AND {0} = :pool" if pool_id is not None else f"AND {{0}} <> {_SERVED}"
    values = {"pool": pool_id} if pool_id is not None else {}
    queues, some = among("q.id", queue_ids)
    held_queues, _ = among("queue_id", queue_ids)
    waiting = tx.execute(
        "SELECT q.pool_id, (SELECT min(r.scheduled_at) FROM flow_runs r "  # noqa: S608 - constants
        "WHERE r.queue_id = q.id AND r.state = 'scheduled') AS next_at "
        "FROM work_queues q JOIN work_pools p ON p.id = q.pool_id "
        f"WHERE p.state = 'ready' AND NOT p.paused AND NOT q.paused {one.format('q.pool_id')} {queues}",
        {**values, **some},
    )
    held = tx.execute(
        f"SELECT DISTINCT pool_id FROM flow_runs WHERE {runs.HELD} "  # noqa: S608 - constants
        "AND (lease_expires_at < :now OR (worker_id = :worker AND cancel_requested "
        f"AND state IN ('pending', 'submitted', 'running'))) {one.format('pool_id')} {held_queues}",
        {"now": now, "worker": worker_id, **values, **some},
    )
    later = [row["next_at"] for row in waiting if row["next_at"] is not None and row["next_at"] > now]
    return Outlook(
        frozenset(row["pool_id"] for row in waiting if row["next_at"] is not None and row["next_at"] <= now),
        frozenset(row["pool_id"] for row in held),
        min(later, default=None),
    )
