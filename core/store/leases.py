"""What workers write about the runs that they hold. Every write names its owner: who lost the lease changes nothing.

A run is held while `worker_id` is set: from being claimed until nothing of its job is left on the platform. Past
`lease_expires_at` anybody may take it over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from poolform.core.store import runs
from poolform.core.store.logs import storable
from poolform.core.store.rows import among, assign, encode
from poolform.core.store.runs import HELD, FlowRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolform.core.store.database import Transaction

SEALED = '{"sealed"'
"""How a stored request begins that holds secrets, and so is encrypted."""
_MINE = "id = :id AND worker_id = :worker_id AND attempt = :attempt"
_PROGRESS = (
    "state",
    "reason",
    "handle",
    "submitted_at",
    "started_at",
    "ended_at",
    "exit_code",
    "log_cursor",
    "logs_done",
)
_SAVE = f"UPDATE flow_runs SET {assign(_PROGRESS)} WHERE {_MINE}"  # noqa: S608 - constants


@dataclass(frozen=True)
class Held:
    """A run that was taken over, with the request that its last owner had stored; None where it had not got so far."""

    run: FlowRun
    request: str | None


def take_over(
    tx: Transaction,
    pool_id: str,
    worker_id: str,
    *,
    lease: float,
    most: int,
    queue_ids: Sequence[str] | None = None,
) -> list[Held]:
    """Take up to `most` runs of a pool, or of some of its queues, whose lease has expired, whoever their owner was."""
    now = tx.now()
    queues, values = among("queue_id", queue_ids)
    skip = " FOR UPDATE SKIP LOCKED" if tx.dialect == "postgresql" else ""
    found = tx.execute(
        f"SELECT id, request FROM flow_runs WHERE pool_id = :pool AND {HELD} "  # noqa: S608 - constants
        f"AND lease_expires_at < :now {queues} ORDER BY lease_expires_at LIMIT :most{skip}",
        {"pool": pool_id, "now": now, "most": most, **values},
    )
    for row in found:
        tx.execute(
            "UPDATE flow_runs SET worker_id = :worker, lease_expires_at = :until WHERE id = :id",
            {"worker": worker_id, "until": now + lease, "id": row["id"]},
        )
    return [Held(runs.get(tx, row["id"]), row["request"]) for row in found]


def held_by(tx: Transaction, worker_id: str) -> list[FlowRun]:
    """Return all runs that a worker holds, ended ones that are still cleared away among them."""
    sql = f"SELECT id FROM flow_runs WHERE {HELD} AND worker_id = :worker"  # noqa: S608 - constants
    return [runs.get(tx, row["id"]) for row in tx.execute(sql, {"worker": worker_id})]


def renew(tx: Transaction, worker_id: str, pool_id: str, run_ids: Sequence[str], *, lease: float) -> set[str]:
    """Keep these runs for `lease` seconds from now; return the ids of those that the worker still holds.

    Only those that it names: what it holds without knowing (a claim whose commit was cut off) has to run out.
    """
    until = tx.now() + lease
    tx.execute_many(
        "UPDATE flow_runs SET lease_expires_at = :until WHERE id = :id AND worker_id = :worker",
        [{"until": until, "id": run_id, "worker": worker_id} for run_id in run_ids],
    )
    rows = tx.execute(
        f"SELECT id FROM flow_runs WHERE pool_id = :pool AND {HELD} AND worker_id = :worker",  # noqa: S608 - constants
        {"pool": pool_id, "worker": worker_id},
    )
    return {row["id"] for row in rows} & set(run_ids)


def let_go(tx: Transaction, worker_id: str) -> None:
    """Let all leases of a worker that leaves expire now, so that the next one need not wait."""
    tx.execute(
        f"UPDATE flow_runs SET lease_expires_at = 0 WHERE {HELD} AND worker_id = :worker",  # noqa: S608 - constants
        {"worker": worker_id},
    )


def store_request(tx: Transaction, run: FlowRun, request: str) -> Literal["stored", "cancelled", "lost"]:
    """Store what is about to be launched. After this, and only while the lease lasts, launching is right.

    "cancelled": somebody asked for that in the meantime; nothing was stored.
    """
    stored = tx.change(
        f"UPDATE flow_runs SET request = :request WHERE {_MINE} "  # noqa: S608 - constants
        "AND state = 'pending' AND lease_expires_at > :now AND NOT cancel_requested",
        {**_owner(run), "request": storable(request), "now": tx.now()},
    )
    if stored:
        return "stored"
    return "cancelled" if cancel_requested(tx, run) else "lost"


def sealed_requests(tx: Transaction) -> int:
    """Return how many stored requests hold secrets, and have not led to a job yet: they will have to be opened."""
    sql = f"SELECT count(*) AS n FROM flow_runs WHERE {HELD} AND handle IS NULL AND request LIKE :sealed"  # noqa: S608
    return int(tx.execute(sql, {"sealed": f"{SEALED}%"})[0]["n"])


def save(tx: Transaction, run: FlowRun) -> bool:
    """Store how far a run has come. False: the lease was lost, nothing was stored."""
    values = {column: getattr(run, column) for column in _PROGRESS}
    if values["reason"] is not None:
        values["reason"] = storable(values["reason"])
    return bool(tx.change(_SAVE, {**encode(FlowRun, values), **_owner(run)}))


def release(tx: Transaction, run: FlowRun) -> bool:
    """Note that nothing of an ended run's job is left, and hold it no longer. False: the lease was lost."""
    return bool(
        tx.change(
            "UPDATE flow_runs SET removed = TRUE, worker_id = NULL, lease_expires_at = NULL, request = NULL "  # noqa: S608
            f"WHERE {_MINE}",
            _owner(run),
        )
    )


def put_back(
    tx: Transaction, run: FlowRun, *, attempt: int, at: float, reason: str
) -> Literal["back", "cancelled", "lost"]:
    """Schedule a held run for later, with nothing left of this try but its logs.

    "cancelled": somebody asked for that in the meantime; nothing was changed.
    """
    lock = " FOR UPDATE" if tx.dialect == "postgresql" else ""
    rows = tx.execute(
        f"SELECT cancel_requested FROM flow_runs WHERE {_MINE}{lock}",  # noqa: S608 - constants
        _owner(run),
    )
    if not rows:
        return "lost"
    if rows[0]["cancel_requested"]:
        return "cancelled"
    runs.reschedule(tx, run.id, attempt=attempt, at=at, reason=storable(reason))
    runs.enter(tx, [(run.id, "scheduled", storable(reason))])
    return "back"


def cancel_requested(tx: Transaction, run: FlowRun) -> bool:
    """Say whether somebody asked to cancel a run that is still this owner's."""
    rows = tx.execute(f"SELECT cancel_requested FROM flow_runs WHERE {_MINE}", _owner(run))  # noqa: S608 - constants
    return bool(rows and rows[0]["cancel_requested"])


def to_cancel(tx: Transaction, worker_id: str, pool_id: str) -> set[str]:
    """Return the ids of the active runs that this worker holds in a pool and somebody asked to cancel."""
    rows = tx.execute(
        f"SELECT id FROM flow_runs WHERE pool_id = :pool AND {HELD} AND worker_id = :worker "  # noqa: S608 - constants
        "AND cancel_requested AND state IN ('pending', 'submitted', 'running')",
        {"pool": pool_id, "worker": worker_id},
    )
    return {row["id"] for row in rows}


def _owner(run: FlowRun) -> dict[str, str | int | None]:
    return {"id": run.id, "worker_id": run.worker_id, "attempt": run.attempt}
