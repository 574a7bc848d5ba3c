"""Workers: who dispatches now."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from poolform.core.store.rows import Record, assign, insert, read

if TYPE_CHECKING:
    from poolform.core.store.database import Transaction


@dataclass(frozen=True)
class Worker(Record):
    """A dispatching process, for one pool or (`pool_id` None) for all. Past `expires_at` it counts as dead."""

    id: str
    name: str
    pool_id: str | None
    host: str
    pid: int
    started_at: float
    heartbeat_at: float
    expires_at: float


_COLUMNS = tuple(field.name for field in fields(Worker))
_SAVE = f"{insert('workers', _COLUMNS)} ON CONFLICT (id) DO UPDATE SET {assign(('heartbeat_at', 'expires_at'))}"


def save(tx: Transaction, worker: Worker) -> None:
    """Store a worker, or its newer heartbeat."""
    tx.execute(_SAVE, asdict(worker))


def live(tx: Transaction, *, pool_id: str | None = None) -> list[Worker]:
    """Return the workers that are alive, or those of them that dispatch for one pool."""
    where = "AND (pool_id IS NULL OR pool_id = :pool)" if pool_id is not None else ""
    rows = tx.execute(
        f"SELECT * FROM workers WHERE expires_at > :now {where} ORDER BY started_at",  # noqa: S608
        {"now": tx.now()} | ({"pool": pool_id} if where else {}),
    )
    return [read(Worker, row) for row in rows]


def delete(tx: Transaction, worker_id: str) -> None:
    """Forget a worker that leaves, and those that died a day ago or earlier."""
    tx.execute(
        "DELETE FROM workers WHERE id = :id OR expires_at < :old", {"id": worker_id, "old": tx.now() - 24 * 3600}
    )
