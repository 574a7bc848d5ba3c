"""Work queues: lanes in a pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from poolform.core.errors import AlreadyExists, NotFound, NotReady, UsageError, counted, nearest
from poolform.core.store.names import new_id
from poolform.core.store.rows import Record, assign, only, read

if TYPE_CHECKING:
    from poolform.core.store.database import Transaction

DEFAULT = "default"


@dataclass(frozen=True)
class WorkQueue(Record):
    """A lane in a pool. `priority` 1 goes first; `concurrency_limit` None is no limit."""

    FLAGS = frozenset({"paused"})

    id: str
    pool_id: str
    name: str
    priority: int
    concurrency_limit: int | None
    paused: bool


def create(
    tx: Transaction, pool_id: str, name: str, *, priority: int = 1, concurrency_limit: int | None = None
) -> WorkQueue:
    """Store a new queue. Raises AlreadyExists."""
    rows = tx.execute(
        "INSERT INTO work_queues (id, pool_id, name, priority, concurrency_limit, paused) "
        "VALUES (:id, :pool, :name, :priority, :limit, FALSE) ON CONFLICT DO NOTHING RETURNING *",
        {"id": new_id(), "pool": pool_id, "name": name, "priority": priority, "limit": concurrency_limit},
    )
    if not rows:
        raise _taken(tx, pool_id, name)
    return read(WorkQueue, rows[0])


def find(tx: Transaction, pool_id: str, name: str = DEFAULT) -> WorkQueue | None:
    """Return the queue of this name in the pool, or None."""
    rows = tx.execute(
        "SELECT * FROM work_queues WHERE pool_id = :pool AND name = :name", {"pool": pool_id, "name": name}
    )
    return read(WorkQueue, rows[0]) if rows else None


def get(tx: Transaction, pool_id: str, name: str = DEFAULT) -> WorkQueue:
    """Return the queue of this name in the pool. Raises NotFound with the nearest names."""
    queue = find(tx, pool_id, name)
    if queue is None:
        pool_name, known = _pool_name(tx, pool_id), [queue.name for queue in list_all(tx, pool_id)]
        raise NotFound(
            f"The work pool {pool_name} has no work queue named {name}.",
            hint=f"{nearest(name, known)} Or make it: poolform work-queue create {name} --pool {pool_name}",
        )
    return queue


def _taken(tx: Transaction, pool_id: str, name: str) -> AlreadyExists:
    text = f"The work pool {_pool_name(tx, pool_id)} has a work queue named {name} already."
    return AlreadyExists(text, hint="Take another name.")


def _pool_name(tx: Transaction, pool_id: str) -> str:
    rows = tx.execute("SELECT name FROM work_pools WHERE id = :id", {"id": pool_id})
    return str(rows[0]["name"]) if rows else pool_id


def list_all(tx: Transaction, pool_id: str | None = None) -> list[WorkQueue]:
    """Return the queues of one pool, or of all, first come those that go first."""
    where = "WHERE pool_id = :pool" if pool_id is not None else ""
    rows = tx.execute(
        f"SELECT * FROM work_queues {where} ORDER BY pool_id, priority, name",  # noqa: S608
        {"pool": pool_id} if where else {},
    )
    return [read(WorkQueue, row) for row in rows]


def update(tx: Transaction, queue_id: str, **changes: Any) -> WorkQueue:
    """Change name, priority, concurrency_limit or paused, and return the queue. Raises NotFound, AlreadyExists."""
    only({"name", "priority", "concurrency_limit", "paused"}, changes)
    rows = tx.execute("SELECT * FROM work_queues WHERE id = :id", {"id": queue_id})
    if not rows:
        raise NotFound("The work queue is gone: somebody deleted it.")
    queue = read(WorkQueue, rows[0])
    if changes.get("name", queue.name) != queue.name:
        if queue.name == DEFAULT:
            raise UsageError("The default work queue keeps its name.")
        if find(tx, queue.pool_id, changes["name"]):
            raise _taken(tx, queue.pool_id, changes["name"])
    if not changes:
        return queue
    sql = f"UPDATE work_queues SET {assign(changes)} WHERE id = :id RETURNING *"  # noqa: S608
    return read(WorkQueue, tx.execute(sql, {**changes, "id": queue_id})[0])


def delete(tx: Transaction, queue: WorkQueue) -> None:
    """Delete a queue; its waiting runs move to the default one. Raises UsageError, NotReady."""
    if queue.name == DEFAULT:
        raise UsageError("The default work queue cannot be deleted.", hint="Pause it instead.")
    used = tx.execute("SELECT count(*) AS n FROM deployments WHERE queue_id = :queue", {"queue": queue.id})[0]["n"]
    if used:
        raise NotReady(
            f"Work queue {queue.name} is used by {counted(used, 'deployment')}.",
            hint=f"Deploy {'it' if used == 1 else 'them'} to another queue first.",
        )
    default = get(tx, queue.pool_id)
    tx.execute(
        "UPDATE flow_runs SET queue_id = :default "
        "WHERE pool_id = :pool AND queue_id = :queue AND (state = 'scheduled' OR worker_id IS NOT NULL)",
        {"default": default.id, "pool": queue.pool_id, "queue": queue.id},
    )
    tx.execute("DELETE FROM work_queues WHERE id = :id", {"id": queue.id})
