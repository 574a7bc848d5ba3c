"""Schedules of deployments, and which of them are due."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from poolform.core.errors import NotFound, UsageError, nearest
from poolform.core.store.names import new_id
from poolform.core.store.rows import Record, among, assign, encode, insert, only, read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolform.core.store.database import Transaction


@dataclass(frozen=True)
class DeploymentSchedule(Record):
    """One schedule of a deployment; kind to slug are those of poolform.core.runs.schedules.Schedule.

    `next_at` is when it is due next, in the past where nobody was there to see to it; None where nothing is to come:
    it is inactive, its deployment is paused, or there is no further time.
    """

    JSON = frozenset({"parameters"})
    FLAGS = frozenset({"active"})

    id: str
    deployment_id: str
    kind: Any
    expression: str
    timezone: str
    anchor: float | None
    active: bool
    parameters: dict[str, Any]
    next_at: float | None
    slug: str | None


_COLUMNS = tuple(field.name for field in fields(DeploymentSchedule))
_CHANGEABLE = frozenset(_COLUMNS) - {"id", "deployment_id"}
# What is due only counts where a run of it could start: else it would pile up, and one catches up for all that were
# missed anyway.
_LIVE = (
    "FROM schedules s JOIN deployments d ON d.id = s.deployment_id JOIN work_queues q ON q.id = d.queue_id "
    "JOIN work_pools p ON p.id = d.pool_id "
    "WHERE s.active AND s.next_at IS NOT NULL AND NOT d.paused AND NOT q.paused AND NOT p.paused AND p.state = 'ready'"
)


def add(tx: Transaction, deployment_id: str, **values: Any) -> DeploymentSchedule:
    """Store one more schedule of a deployment; `values` are further columns."""
    only(_CHANGEABLE, values)
    row = {**dict.fromkeys(_COLUMNS), "active": True, "parameters": {}, **values}
    row |= {"id": new_id(), "deployment_id": deployment_id}
    tx.execute(insert("schedules", _COLUMNS), encode(DeploymentSchedule, row))
    return DeploymentSchedule(**row)


def update(tx: Transaction, schedule_id: str, **changes: Any) -> None:
    """Change some columns of a schedule."""
    only(_CHANGEABLE, changes)
    values = encode(DeploymentSchedule, changes)
    tx.execute(f"UPDATE schedules SET {assign(values)} WHERE id = :id", {**values, "id": schedule_id})  # noqa: S608


def delete(tx: Transaction, schedule_id: str) -> None:
    """Delete a schedule; runs that it has made stay."""
    tx.execute("DELETE FROM schedules WHERE id = :id", {"id": schedule_id})


def of_deployment(tx: Transaction, deployment_id: str) -> list[DeploymentSchedule]:
    """Return a deployment's schedules, in the order of their ids."""
    rows = tx.execute("SELECT * FROM schedules WHERE deployment_id = :id ORDER BY id", {"id": deployment_id})
    return [read(DeploymentSchedule, row) for row in rows]


def get(tx: Transaction, deployment_id: str, slug_or_id: str) -> DeploymentSchedule:
    """Return the schedule with this slug, or with the only id that starts so. Raises NotFound, UsageError."""
    known = of_deployment(tx, deployment_id)
    found = [one for one in known if one.slug == slug_or_id]
    found = found or [one for one in known if len(slug_or_id) >= 4 and one.id.startswith(slug_or_id.lower())]
    if not found:
        names = [one.slug or one.id[:12] for one in known]
        raise NotFound(f"The deployment has no schedule {slug_or_id}.", hint=nearest(slug_or_id, names))
    if len(found) > 1:
        raise UsageError(f"Several schedules have ids that start with {slug_or_id}.", hint="Write more of it.")
    return found[0]


def to_come(tx: Transaction, *, pool_id: str) -> list[DeploymentSchedule]:
    """Return the schedules of a pool of which anything is to come."""
    sql = (
        "SELECT s.* FROM schedules s JOIN deployments d ON d.id = s.deployment_id "
        "WHERE d.pool_id = :pool AND s.active AND s.next_at IS NOT NULL ORDER BY s.next_at, s.id"
    )
    return [read(DeploymentSchedule, row) for row in tx.execute(sql, {"pool": pool_id})]


def soonest(tx: Transaction, *, pool_id: str | None = None, queue_ids: Sequence[str] | None = None) -> float | None:
    """Return when the next schedule is due, of all, of a pool, or of some of its queues; None for never."""
    where, values = _of(pool_id, queue_ids)
    # Not min(): this stops at the first one on the index that counts.
    sql = f"SELECT s.next_at {_LIVE} {where} ORDER BY s.next_at LIMIT 1"
    rows = tx.execute(sql, values)
    return rows[0]["next_at"] if rows else None


def due(
    tx: Transaction,
    now: float,
    *,
    pool_id: str | None = None,
    queue_ids: Sequence[str] | None = None,
    most: int = 100,
) -> list[DeploymentSchedule]:
    """Return up to `most` schedules that are due, longest first; until the transaction ends, they are the caller's."""
    where, values = _of(pool_id, queue_ids)
    skip = " FOR UPDATE OF s SKIP LOCKED" if tx.dialect == "postgresql" else ""
    sql = f"SELECT s.* {_LIVE} AND s.next_at <= :now {where} ORDER BY s.next_at LIMIT :most{skip}"
    rows = tx.execute(sql, {**values, "now": now, "most": most})
    return [read(DeploymentSchedule, row) for row in rows]


def _of(pool_id: str | None, queue_ids: Sequence[str] | None) -> tuple[str, dict[str, Any]]:
    """Return a condition and its values. Served deployments are their own process's business, never all workers'."""
    where, values = ("AND d.pool_id = :pool", {"pool": pool_id}) if pool_id else ("AND p.type <> 'served'", {})
    queues, more = among("d.queue_id", queue_ids)
    return f"{where} {queues}", {**values, **more}
