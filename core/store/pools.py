"""Work pools: their record, and the module as last applied."""

# ruff: noqa: A002 - arguments are called as the columns are
from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from poolform.core.errors import AlreadyExists, Busy, NotFound, NotReady, counted, nearest
from poolform.core.store.names import new_id, new_pool_id
from poolform.core.store.rows import Record, assign, dump, encode, insert, only, read

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from poolform.core.store.database import Transaction

PoolState = Literal["not-provisioned", "provisioning", "ready", "deprovisioning"]


SERVED = "served"
"""Name and type of the pool of served deployments."""


@dataclass(frozen=True)
class WorkPool(Record):
    """A named place to run jobs. JSON columns are plain values here; times are seconds since the epoch.

    `error` says why the last step failed, None where it did not. `identity` is who provisioned it (principal, account,
    region). `credential_block` is the name of the block that its launcher authenticates with.
    """

    JSON = frozenset({"variables", "base_job_template", "connection", "identity", "backend"})
    FLAGS = frozenset({"paused"})

    id: str
    name: str
    type: str
    plugin: str
    plugin_version: str
    contract: int
    revision: int
    state: PoolState
    error: str | None
    paused: bool
    concurrency_limit: int | None
    variables: dict[str, Any]
    base_job_template: dict[str, Any]
    connection: dict[str, Any] | None
    identity: dict[str, Any] | None
    backend: dict[str, Any] | None
    engine_product: str | None
    engine_version: str | None
    credential_block: str | None
    image_namespace: str | None
    created_at: float
    updated_at: float

    @property
    def is_served(self) -> bool:
        """Say whether this is the pool of served deployments, which scripts run and no worker does."""
        return self.type == SERVED

    @property
    def state_in_words(self) -> str:
        """Return its state as a sentence has it: "not provisioned"."""
        return self.state.replace("-", " ")


@dataclass(frozen=True)
class PoolModule(Record):
    """A pool's module as last applied: path → text of every file, and Terraform's lock file."""

    JSON = frozenset({"files"})

    pool_id: str
    files: dict[str, str]
    lock_file: str | None
    digest: str
    applied_at: float


_COLUMNS = tuple(field.name for field in fields(WorkPool))
_CHANGEABLE = frozenset(_COLUMNS) - {"id", "created_at", "updated_at"}


def create(
    tx: Transaction,
    *,
    name: str,
    type: str,
    plugin: str,
    plugin_version: str,
    id: str | None = None,
    contract: int = 1,
    revision: int = 1,
    **more: Any,
) -> WorkPool:
    """Store a new pool and its default queue. `more` are further columns of WorkPool. Raises AlreadyExists."""
    only(_CHANGEABLE, more)
    now = tx.now()
    empty = {"variables": {}, "base_job_template": {}, "state": "not-provisioned", "paused": False}
    values = {
        **dict.fromkeys(_COLUMNS),
        **empty,
        **more,
        "id": id or new_pool_id(),
        "name": name,
        "type": type,
        "plugin": plugin,
        "plugin_version": plugin_version,
        "contract": contract,
        "revision": revision,
        "created_at": now,
        "updated_at": now,
    }
    sql = f"{insert('work_pools', _COLUMNS)} ON CONFLICT DO NOTHING RETURNING *"
    rows = tx.execute(sql, encode(WorkPool, values))
    if not rows:
        raise AlreadyExists(
            f"A work pool named {name} exists already.",
            hint=f"Take another name, or look at it: poolform work-pool inspect {name}",
        )
    pool = read(WorkPool, rows[0])
    tx.execute(
        "INSERT INTO work_queues (id, pool_id, name, priority, paused) VALUES (:id, :pool, 'default', 1, FALSE)",
        {"id": new_id(), "pool": pool.id},
    )
    return pool


def find(tx: Transaction, name: str) -> WorkPool | None:
    """Return the pool of this name, or None."""
    rows = tx.execute("SELECT * FROM work_pools WHERE name = :name", {"name": name})
    return read(WorkPool, rows[0]) if rows else None


def get(tx: Transaction, name: str) -> WorkPool:
    """Return the pool of this name. Raises NotFound with the nearest names."""
    pool = find(tx, name)
    if pool is None:
        known = [row["name"] for row in tx.execute("SELECT name FROM work_pools")]
        hint = nearest(name, known) if known else "There are none yet: poolform work-pool create NAME --type process"
        raise NotFound(f"There is no work pool named {name}.", hint=hint)
    return pool


def by_id(tx: Transaction, pool_id: str) -> WorkPool | None:
    """Return the pool with this id, or None."""
    rows = tx.execute("SELECT * FROM work_pools WHERE id = :id", {"id": pool_id})
    return read(WorkPool, rows[0]) if rows else None


def list_all(tx: Transaction, *, type: str | None = None) -> list[WorkPool]:
    """Return all pools by name, or those of one type."""
    where = "WHERE type = :type" if type is not None else ""
    rows = tx.execute(f"SELECT * FROM work_pools {where} ORDER BY name", {"type": type} if where else {})  # noqa: S608
    return [read(WorkPool, row) for row in rows]


def update(tx: Transaction, pool_id: str, *, expect: Collection[PoolState] | None = None, **changes: Any) -> WorkPool:
    """Change some columns of a pool and return it as it is now.

    With `expect`, only while its state is one of these: the check and the change are one step, so of two people who
    start something only one succeeds. Raises Busy for the other, NotFound for a pool that is gone, AlreadyExists when
    the new name is taken.
    """
    only(_CHANGEABLE, changes)
    # One transaction at a time may look at a pool and change it: the row is held before its state is read.
    lock = " FOR UPDATE" if tx.dialect == "postgresql" else ""
    rows = tx.execute(f"SELECT name, state FROM work_pools WHERE id = :id{lock}", {"id": pool_id})  # noqa: S608
    if not rows:
        raise NotFound("The work pool is gone: somebody deleted it.", hint="See poolform work-pool ls.")
    if expect is not None and rows[0]["state"] not in expect:
        raise Busy(
            f"Work pool {rows[0]['name']} is {rows[0]['state']} now, and this is for one that is "
            f"{' or '.join(sorted(expect)).replace('-', ' ')}.",
            hint="Somebody else may be working on it. See poolform work-pool inspect and history, then try again.",
        )
    if "name" in changes and changes["name"] != rows[0]["name"] and find(tx, changes["name"]):
        raise AlreadyExists(f"A work pool named {changes['name']} exists already.", hint="Take another name.")
    values = encode(WorkPool, {**changes, "updated_at": tx.now()})
    sql = f"UPDATE work_pools SET {assign(values)} WHERE id = :id RETURNING *"  # noqa: S608
    return read(WorkPool, tx.execute(sql, {**values, "id": pool_id})[0])


def delete(tx: Transaction, pool_id: str, *, with_deployments: bool = False) -> None:
    """Delete a pool with its queues and module; its past runs and history stay, its waiting runs are cancelled.

    Raises NotReady while it has infrastructure or runs in progress, or deployments unless they are to go with it.
    """
    from poolform.core.store.runs import HELD, cancel_scheduled  # here: listing pools has no use for runs

    pool = by_id(tx, pool_id)
    if pool is None:
        return
    if pool.state != "not-provisioned":
        raise NotReady(
            f"Work pool {pool.name} still has infrastructure (it is {pool.state_in_words}).",
            hint=f"Destroy that first: poolform work-pool deprovision {pool.name}",
        )
    sql = f"SELECT count(*) AS n FROM flow_runs WHERE pool_id = :pool AND {HELD}"  # noqa: S608 - constants
    held = tx.execute(sql, {"pool": pool_id})[0]["n"]
    if held:
        raise NotReady(
            f"Work pool {pool.name} has {counted(held, 'run')} in progress.",
            hint=f"Wait for {'it or cancel it' if held == 1 else 'them or cancel them'}: "
            f"poolform flow-run ls --pool {pool.name}",
        )
    deployed = [
        f"{row['flow_name']}/{row['name']}"
        for row in tx.execute(
            "SELECT flow_name, name FROM deployments WHERE pool_id = :pool ORDER BY flow_name, name", {"pool": pool_id}
        )
    ]
    if deployed and not with_deployments:
        raise NotReady(
            f"Work pool {pool.name} is used by {counted(len(deployed), 'deployment')}: "
            f"{', '.join(deployed[:5])}{', …' if len(deployed) > 5 else ''}.",
            hint=f"Deploy {'it' if len(deployed) == 1 else 'them'} to another pool first, or delete "
            f"{'it' if len(deployed) == 1 else 'them'} too: "
            f"poolform work-pool delete {pool.name} --with-deployments",
        )
    cancel_scheduled(tx, pool_id=pool_id, reason=f"work pool {pool.name} was deleted")
    tx.execute("DELETE FROM work_pools WHERE id = :id", {"id": pool_id})


def save_module(
    tx: Transaction, pool_id: str, files: Mapping[str, str], *, lock_file: str | None, digest: str
) -> PoolModule:
    """Store the module that was just applied, in place of the one before."""
    module = PoolModule(pool_id, dict(files), lock_file, digest, tx.now())
    tx.execute(
        "INSERT INTO pool_modules (pool_id, files, lock_file, digest, applied_at) "
        "VALUES (:pool, :files, :lock_file, :digest, :at) ON CONFLICT (pool_id) DO UPDATE SET files = excluded.files, "
        "lock_file = excluded.lock_file, digest = excluded.digest, applied_at = excluded.applied_at",
        {
            "pool": pool_id,
            "files": dump(module.files),
            "lock_file": lock_file,
            "digest": digest,
            "at": module.applied_at,
        },
    )
    return module


def get_module(tx: Transaction, pool_id: str) -> PoolModule | None:
    """Return the module as last applied, or None where none ever was."""
    rows = tx.execute("SELECT * FROM pool_modules WHERE pool_id = :pool", {"pool": pool_id})
    return read(PoolModule, rows[0]) if rows else None


def delete_module(tx: Transaction, pool_id: str) -> None:
    """Forget the module, once what it described is destroyed."""
    tx.execute("DELETE FROM pool_modules WHERE pool_id = :pool", {"pool": pool_id})
