"""Deployments: a flow, where its code is, which pool and queue."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from poolform.core.errors import NotFound, UsageError, nearest
from poolform.core.store.names import new_id
from poolform.core.store.rows import Record, assign, encode, insert, only, read

if TYPE_CHECKING:
    from poolform.core.store.database import Transaction

Collision = Literal["enqueue", "cancel-new"]


@dataclass(frozen=True)
class Deployment(Record):
    """A deployment. `options` holds the flow's own (retries, retry_delay_seconds, timeout_seconds, log_prints, …).

    `collision` says what becomes of a run that is due while `concurrency_limit` runs are in progress: it waits, or it
    is cancelled. `project` names the project file that it was applied from. `pool` and `queue` are the names of what
    `pool_id` and `queue_id` point at.
    """

    JSON = frozenset({"source", "parameters", "parameter_schema", "job_variables", "options", "tags"})
    FLAGS = frozenset({"paused"})

    id: str
    flow_name: str
    name: str
    pool_id: str
    queue_id: str
    entrypoint: str
    source: dict[str, Any]
    parameters: dict[str, Any]
    parameter_schema: dict[str, Any]
    job_variables: dict[str, Any]
    options: dict[str, Any]
    tags: list[str]
    version: str | None
    description: str | None
    paused: bool
    concurrency_limit: int | None
    collision: Collision
    created_at: float
    updated_at: float
    project: str | None
    pool: str
    queue: str

    @property
    def full_name(self) -> str:
        """Return FLOW/NAME, as people call it."""
        return f"{self.flow_name}/{self.name}"


_COLUMNS = tuple(field.name for field in fields(Deployment) if field.name not in ("pool", "queue"))
_CHANGEABLE = frozenset(_COLUMNS) - {"id", "flow_name", "name", "created_at", "updated_at"}
_SELECT = (
    "SELECT d.*, p.name AS pool, q.name AS queue FROM deployments d "
    "JOIN work_pools p ON p.id = d.pool_id JOIN work_queues q ON q.id = d.queue_id "
)
_EMPTY: dict[str, Any] = {
    "source": {},
    "parameters": {},
    "parameter_schema": {},
    "job_variables": {},
    "options": {},
    "tags": [],
    "paused": False,
    "collision": "enqueue",
}


def save(
    tx: Transaction, *, flow_name: str, name: str, pool_id: str, queue_id: str, entrypoint: str, **more: Any
) -> Deployment:
    """Store a deployment, in place of one of the same flow and name, whose id it keeps.

    `more` are further columns of Deployment; those not given become empty; a paused deployment stays paused.
    """
    only(_CHANGEABLE, more)
    now = tx.now()
    values = {
        **dict.fromkeys(_COLUMNS),
        **_EMPTY,
        **more,
        "id": new_id(),
        "flow_name": flow_name,
        "name": name,
        "pool_id": pool_id,
        "queue_id": queue_id,
        "entrypoint": entrypoint,
        "created_at": now,
        "updated_at": now,
    }
    kept = {"id", "flow_name", "name", "created_at"} | ({"paused"} - set(more))
    replaced = ", ".join(f"{column} = excluded.{column}" for column in _COLUMNS if column not in kept)
    tx.execute(
        f"{insert('deployments', _COLUMNS)} ON CONFLICT (flow_name, name) DO UPDATE SET {replaced}",
        encode(Deployment, values),
    )
    return get(tx, f"{flow_name}/{name}")


def find(tx: Transaction, full_name: str) -> Deployment | None:
    """Return the deployment called FLOW/NAME, or None."""
    flow_name, _, name = full_name.rpartition("/")
    rows = tx.execute(f"{_SELECT} WHERE d.flow_name = :flow AND d.name = :name", {"flow": flow_name, "name": name})
    return read(Deployment, rows[0]) if rows else None


def get(tx: Transaction, full_name: str) -> Deployment:
    """Return the deployment called FLOW/NAME. Raises NotFound with the nearest names."""
    deployment = find(tx, full_name)
    if deployment is None:
        known = [f"{row['flow_name']}/{row['name']}" for row in tx.execute("SELECT flow_name, name FROM deployments")]
        hint = (
            nearest(full_name, known) if known else "There are none yet: poolform deploy FILE.py:FLOW --name N --pool P"
        )
        if "/" not in full_name:
            hint = f"A deployment is named FLOW/NAME. {hint}"
        raise NotFound(f"There is no deployment {full_name}.", hint=hint)
    return deployment


def by_id(tx: Transaction, deployment_id: str) -> Deployment | None:
    """Return the deployment with this id, or None."""
    rows = tx.execute(f"{_SELECT} WHERE d.id = :id", {"id": deployment_id})
    return read(Deployment, rows[0]) if rows else None


def list_all(tx: Transaction, *, pool_id: str | None = None) -> list[Deployment]:
    """Return all deployments by flow and name, or those of one pool."""
    where = "WHERE d.pool_id = :pool" if pool_id is not None else ""
    rows = tx.execute(f"{_SELECT} {where} ORDER BY d.flow_name, d.name", {"pool": pool_id} if where else {})
    return [read(Deployment, row) for row in rows]


def update(tx: Transaction, deployment_id: str, **changes: Any) -> Deployment:
    """Change some columns of a deployment and return it. Raises NotFound."""
    only(_CHANGEABLE, changes)
    if changes.get("collision", "enqueue") not in ("enqueue", "cancel-new"):
        raise UsageError(f"A collision strategy is enqueue or cancel-new, not {changes['collision']}.")
    values = encode(Deployment, {**changes, "updated_at": tx.now()})
    sql = f"UPDATE deployments SET {assign(values)} WHERE id = :id"  # noqa: S608
    tx.execute(sql, {**values, "id": deployment_id})
    deployment = by_id(tx, deployment_id)
    if deployment is None:
        raise NotFound("The deployment is gone: somebody deleted it.", hint="See poolform deployment ls.")
    return deployment


def delete(tx: Transaction, deployment_id: str) -> None:
    """Delete a deployment with its schedules; waiting runs are cancelled, runs in progress and past ones stay."""
    from poolform.core.store.runs import cancel_scheduled

    cancel_scheduled(tx, deployment_id=deployment_id, reason="its deployment was deleted")
    tx.execute("DELETE FROM deployments WHERE id = :id", {"id": deployment_id})
