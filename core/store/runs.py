"""Flow runs as people see them: submitted, listed, watched, cancelled, retried. What workers do is in leases.py."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from poolform.core.errors import NotFound, NotReady, UsageError
from poolform.core.store.names import new_id, run_name
from poolform.core.store.queues import DEFAULT
from poolform.core.store.rows import Record, encode, insert, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from poolform.core.store.database import Transaction
    from poolform.core.store.deployments import Deployment
    from poolform.core.store.pools import WorkPool

RunState = Literal["scheduled", "pending", "submitted", "running", "completed", "failed", "crashed", "cancelled"]

ENDED: frozenset[str] = frozenset({"completed", "failed", "crashed", "cancelled"})
ACTIVE: tuple[str, ...] = ("pending", "submitted", "running")
"""States in which a run takes a place of its pool's, queue's and deployment's limits."""

LATE_AFTER = 15.0
"""Seconds after its time at which a run that still waits is late. Prefect's default, too."""

HELD = "worker_id IS NOT NULL AND lease_expires_at >= 0"
"""Runs that somebody holds, in SQL. The second half is true of each; it makes SQLite choose the small partial index."""


@dataclass(frozen=True)
class FlowRun(Record):
    """One execution of a flow; the same run through all its attempts, of which the times are the last one's.

    `worker_id` and `lease_expires_at` say who supervises it. `handle` names its job on the platform, `log_cursor` is
    the supervisor's bookmark in its log, and `removed` says that nothing of it is left there. `deployment`, `pool` and
    `queue` are names, None for what is gone by now.
    """

    JSON = frozenset({"parameters", "job_variables", "tags", "log_cursor"})
    FLAGS = frozenset({"cancel_requested", "logs_done", "removed"})

    id: str
    name: str
    deployment_id: str | None
    flow_name: str
    pool_id: str
    queue_id: str
    state: RunState
    reason: str | None
    attempt: int
    parameters: dict[str, Any]
    job_variables: dict[str, Any]
    tags: list[str]
    scheduled_at: float
    created_at: float
    claimed_at: float | None
    submitted_at: float | None
    started_at: float | None
    ended_at: float | None
    worker_id: str | None
    lease_expires_at: float | None
    handle: str | None
    cancel_requested: bool
    exit_code: int | None
    log_cursor: Any
    logs_done: bool
    removed: bool
    timeout_seconds: float | None
    retries: int
    retry_delay_seconds: float
    idempotency_key: str | None
    deployment: str | None
    pool: str | None
    queue: str | None

    @property
    def key(self) -> str:
        """Return RUN_ID.ATTEMPT, by which the platform starts a job at most once."""
        return f"{self.id}.{self.attempt}"

    @property
    def ended(self) -> bool:
        """Say whether nothing more will happen to it."""
        return self.state in ENDED

    def late(self, now: float) -> bool:
        """Say whether it was due a while ago (15 s), and still waits."""
        return self.state == "scheduled" and self.scheduled_at < now - LATE_AFTER


@dataclass(frozen=True)
class StateChange(Record):
    """One state that a run entered."""

    seq: int
    state: RunState
    at: float
    reason: str | None


_NAMES = ("deployment", "pool", "queue")
COLUMNS = tuple(field.name for field in fields(FlowRun) if field.name not in _NAMES)
SELECT = (
    f"SELECT {', '.join(f'r.{column}' for column in COLUMNS)}, "  # noqa: S608
    "d.flow_name || '/' || d.name AS deployment, p.name AS pool, q.name AS queue FROM flow_runs r "
    "LEFT JOIN deployments d ON d.id = r.deployment_id "
    "LEFT JOIN work_pools p ON p.id = r.pool_id LEFT JOIN work_queues q ON q.id = r.queue_id "
)
_INSERT = f"{insert('flow_runs', COLUMNS)} ON CONFLICT (deployment_id, idempotency_key) DO NOTHING"
_ENTER = (
    "INSERT INTO flow_run_states (run_id, seq, state, at, reason) "
    "SELECT :run, coalesce(max(seq), 0) + 1, :state, :at, :reason FROM flow_run_states WHERE run_id = :run"
)
_TELL = (
    "INSERT INTO news (plugin, run_id, attempt, state, reason, at) "
    "SELECT s.plugin, r.id, r.attempt, :state, :reason, :at FROM subscribers s JOIN flow_runs r ON r.id = :run"
)


def submit(
    tx: Transaction,
    *,
    pool: WorkPool,
    flow_name: str,
    deployment: Deployment | None = None,
    queue_id: str | None = None,
    name: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    job_variables: Mapping[str, Any] | None = None,
    tags: Iterable[str] = (),
    scheduled_at: float | None = None,
    timeout_seconds: float | None = None,
    retries: int = 0,
    retry_delay_seconds: float = 0,
    idempotency_key: str | None = None,
) -> FlowRun:
    """Store a new run, due at `scheduled_at` (now where None), and return it.

    With an idempotency key that this deployment has seen, nothing is stored and the earlier run is returned.
    """
    now = tx.now()
    run_id = new_id()
    values = dict.fromkeys(COLUMNS) | {
        "id": run_id,
        "name": name or run_name(),
        "deployment_id": deployment.id if deployment else None,
        "flow_name": flow_name,
        "pool_id": pool.id,
        "queue_id": queue_id or (deployment.queue_id if deployment else _default_queue(tx, pool)),
        "state": "scheduled",
        "attempt": 1,
        "parameters": dict(parameters or {}),
        "job_variables": dict(job_variables or {}),
        "tags": list(tags),
        "scheduled_at": now if scheduled_at is None else scheduled_at,
        "created_at": now,
        "cancel_requested": False,
        "logs_done": False,
        "removed": False,
        "timeout_seconds": timeout_seconds,
        "retries": retries,
        "retry_delay_seconds": retry_delay_seconds,
        "idempotency_key": idempotency_key,
    }
    if not tx.change(_INSERT, encode(FlowRun, values)):
        assert deployment is not None, "only a deployment's key can have been seen"
        earlier = tx.execute(
            f"{SELECT} WHERE r.deployment_id = :deployment AND r.idempotency_key = :key",
            {"deployment": deployment.id, "key": idempotency_key},
        )
        return read(FlowRun, earlier[0])
    enter(tx, [(run_id, "scheduled", None)])
    return get(tx, run_id)


def enter(tx: Transaction, changes: Sequence[tuple[str, str, str | None]]) -> None:
    """Remember states that runs just entered: (run id, state, reason)."""
    now = tx.now()
    enter_at(tx, [(run, state, now, reason) for run, state, reason in changes])


def enter_at(tx: Transaction, changes: Sequence[tuple[str, str, float, str | None]]) -> None:
    """Remember states that runs entered: (run id, state, when, reason); and that plugins are to hear of them."""
    if not changes:
        return
    values = [{"run": run, "state": state, "at": at, "reason": reason} for run, state, at, reason in changes]
    tx.execute_many(_ENTER, values)
    if tx.execute("SELECT 1 AS one FROM subscribers LIMIT 1"):
        tx.execute_many(_TELL, values)


def find(tx: Transaction, run_id: str) -> FlowRun | None:
    """Return the run with exactly this id, or None."""
    rows = tx.execute(f"{SELECT} WHERE r.id = :id", {"id": run_id})
    return read(FlowRun, rows[0]) if rows else None


def get(tx: Transaction, wanted: str) -> FlowRun:
    """Return the run with this id, with the only id that starts so (four characters or more), or the only one so named.

    Raises NotFound, UsageError when several are meant.
    """
    run = find(tx, wanted)
    if run is not None:
        return run
    start = wanted.lower()
    if len(start) >= 4 and not start.strip("0123456789abcdef"):
        rows = tx.execute(
            f"{SELECT} WHERE r.id >= :start AND r.id < :end ORDER BY r.id LIMIT 2", {"start": start, "end": start + "g"}
        )
        if len(rows) > 1:
            raise UsageError(f"Several flow runs have ids that start with {start}.", hint="Write more of it.")
        if rows:
            return read(FlowRun, rows[0])
    rows = tx.execute(f"{SELECT} WHERE r.name = :name ORDER BY r.created_at DESC, r.id LIMIT 4", {"name": wanted})
    if len(rows) > 1:
        some = ", ".join(read(FlowRun, row).id[:12] for row in rows[:3]) + (", …" if len(rows) > 3 else "")
        raise UsageError(f"Several flow runs are called {wanted}.", hint=f"Say which by its id: {some}")
    if rows:
        return read(FlowRun, rows[0])
    raise NotFound(f"There is no flow run {wanted}.", hint="See poolform flow-run ls.")


def list_recent(
    tx: Transaction,
    *,
    limit: int = 50,
    state: RunState | Literal["late"] | None = None,
    deployment_id: str | None = None,
    pool_id: str | None = None,
    before: float | None = None,
) -> list[FlowRun]:
    """Return the newest runs, newest first, that fit all of what is given; `before` is a created_at to go on from."""
    wanted = {"state": "scheduled" if state == "late" else state, "deployment_id": deployment_id, "pool_id": pool_id}
    values: dict[str, Any] = {column: value for column, value in wanted.items() if value is not None}
    conditions = [f"r.{column} = :{column}" for column in values]
    if before is not None:
        values["before"] = before
        conditions.append("r.created_at < :before")
    if state == "late":
        values["late"] = tx.now() - LATE_AFTER
        conditions.append("r.scheduled_at < :late")
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    rows = tx.execute(f"{SELECT} {where} ORDER BY r.created_at DESC LIMIT :limit", {**values, "limit": limit})
    return [read(FlowRun, row) for row in rows]


def due(tx: Transaction, pool_id: str, *, until: float, limit: int) -> list[FlowRun]:
    """Return the waiting runs of a pool that are due by then, soonest first."""
    sql = (
        f"{SELECT} WHERE r.pool_id = :pool AND r.state = 'scheduled' AND r.scheduled_at <= :until "
        "ORDER BY r.scheduled_at, r.created_at, r.id LIMIT :limit"
    )
    return [read(FlowRun, row) for row in tx.execute(sql, {"pool": pool_id, "until": until, "limit": limit})]


def unfinished(tx: Transaction, pool_id: str) -> tuple[int, int]:
    """Return how many runs of a pool are in progress, and how many wait to be launched."""
    rows = tx.execute(
        "SELECT state, count(*) AS n FROM flow_runs WHERE pool_id = :pool "
        "AND state IN ('scheduled', 'pending', 'submitted', 'running') GROUP BY state",
        {"pool": pool_id},
    )
    number = {row["state"]: int(row["n"]) for row in rows}
    waiting = number.pop("scheduled", 0)
    return sum(number.values()), waiting


def states(tx: Transaction, run_id: str, *, after: int = 0) -> list[StateChange]:
    """Return the states that a run entered after the one numbered `after`, oldest first."""
    rows = tx.execute(
        "SELECT seq, state, at, reason FROM flow_run_states WHERE run_id = :run AND seq > :after ORDER BY seq",
        {"run": run_id, "after": after},
    )
    return [read(StateChange, row) for row in rows]


def count_active(tx: Transaction, pool_id: str) -> int:
    """Return how many runs take a place in the pool now."""
    sql = (
        f"SELECT count(*) AS n FROM flow_runs WHERE pool_id = :pool AND {HELD} "  # noqa: S608 - constants
        "AND state IN ('pending', 'submitted', 'running')"
    )
    return int(tx.execute(sql, {"pool": pool_id})[0]["n"])


def cancel(tx: Transaction, run_id: str, *, reason: str = "cancelled before it was launched") -> FlowRun:
    """Cancel a run: at once when it was not claimed yet, else by asking the worker that supervises it.

    An ended run is returned as it is. Raises NotFound.
    """
    state = _held(tx, run_id)
    if state == "scheduled":
        tx.execute(
            "UPDATE flow_runs SET state = 'cancelled', cancel_requested = TRUE, reason = :reason, ended_at = :now "
            "WHERE id = :id",
            {"id": run_id, "reason": reason, "now": tx.now()},
        )
        enter(tx, [(run_id, "cancelled", reason)])
    elif state in ACTIVE:
        tx.execute("UPDATE flow_runs SET cancel_requested = TRUE WHERE id = :id", {"id": run_id})
    return get(tx, run_id)


def cancel_scheduled(
    tx: Transaction, *, reason: str, pool_id: str | None = None, deployment_id: str | None = None
) -> int:
    """Cancel all runs of a pool or a deployment that nobody claimed yet; return how many."""
    column, value = ("pool_id", pool_id) if pool_id is not None else ("deployment_id", deployment_id)
    rows = tx.execute(
        "UPDATE flow_runs SET state = 'cancelled', reason = :reason, ended_at = :now "  # noqa: S608
        f"WHERE state = 'scheduled' AND {column} = :value RETURNING id",
        {"reason": reason, "now": tx.now(), "value": value},
    )
    enter(tx, [(row["id"], "cancelled", reason) for row in rows])
    return len(rows)


def cancel_active(tx: Transaction, *, pool_id: str) -> int:
    """Ask the workers that supervise runs of a pool to cancel them, however many there are; return how many."""
    return tx.change(
        "UPDATE flow_runs SET cancel_requested = TRUE "
        "WHERE pool_id = :pool AND state IN ('pending', 'submitted', 'running')",
        {"pool": pool_id},
    )


def abandon(tx: Transaction, *, pool_id: str, reason: str) -> int:
    """End what is in progress in a pool whose infrastructure is gone, as cancelled; return how many runs that were.

    Whoever supervises one of them loses it: there is nothing left to look after.
    """
    gone = "removed = TRUE, logs_done = TRUE, worker_id = NULL, lease_expires_at = NULL, request = NULL"
    rows = tx.execute(
        f"UPDATE flow_runs SET state = 'cancelled', cancel_requested = TRUE, reason = :reason, ended_at = :now, {gone} "  # noqa: S608
        f"WHERE pool_id = :pool AND {HELD} AND state IN ('pending', 'submitted', 'running') RETURNING id",
        {"pool": pool_id, "reason": reason, "now": tx.now()},
    )
    enter(tx, [(row["id"], "cancelled", reason) for row in rows])
    tx.execute(f"UPDATE flow_runs SET {gone} WHERE pool_id = :pool AND {HELD}", {"pool": pool_id})  # noqa: S608
    return len(rows)


def retry(tx: Transaction, run_id: str) -> FlowRun:
    """Schedule an ended run once more, as its next attempt. Raises NotFound, NotReady while it has not ended."""
    state = _held(tx, run_id)
    run = get(tx, run_id)
    if state not in ENDED:
        raise NotReady(f"Flow run {run.name} is {state}; only an ended run can be retried.")
    if run.worker_id is not None:
        raise NotReady(
            f"What the last attempt of flow run {run.name} left is still being cleared away.", hint="Try again shortly."
        )
    reschedule(tx, run_id, attempt=run.attempt + 1, at=tx.now())
    enter(tx, [(run_id, "scheduled", "retried")])
    return get(tx, run_id)


def reschedule(tx: Transaction, run_id: str, *, attempt: int, at: float, reason: str | None = None) -> None:
    """Put a run back to be claimed at `at`, with nothing left of the attempt before but its logs."""
    tx.execute(
        "UPDATE flow_runs SET state = 'scheduled', attempt = :attempt, scheduled_at = :at, reason = :reason, "
        "claimed_at = NULL, submitted_at = NULL, started_at = NULL, ended_at = NULL, worker_id = NULL, "
        "lease_expires_at = NULL, handle = NULL, request = NULL, cancel_requested = FALSE, exit_code = NULL, "
        "log_cursor = NULL, logs_done = FALSE, removed = FALSE WHERE id = :id",
        {"id": run_id, "attempt": attempt, "at": at, "reason": reason},
    )


def delete(tx: Transaction, run_id: str) -> None:
    """Delete a run with its logs. Raises NotFound, NotReady while something of it may still be on the platform."""
    _held(tx, run_id)
    run = get(tx, run_id)
    if run.worker_id is not None:
        raise NotReady(
            f"Flow run {run.name} is {run.state}.", hint=f"Cancel it first: poolform flow-run cancel {run.id}"
        )
    tx.execute("DELETE FROM flow_runs WHERE id = :id", {"id": run_id})


def _held(tx: Transaction, run_id: str) -> str:
    """Return a run's state, which stays so until the transaction ends. Raises NotFound."""
    lock = " FOR UPDATE" if tx.dialect == "postgresql" else ""
    rows = tx.execute(f"SELECT state FROM flow_runs WHERE id = :id{lock}", {"id": run_id})  # noqa: S608
    if not rows:
        raise NotFound(f"There is no flow run {run_id}.", hint="See poolform flow-run ls.")
    return str(rows[0]["state"])


def _default_queue(tx: Transaction, pool: WorkPool) -> str:
    rows = tx.execute(
        "SELECT id FROM work_queues WHERE pool_id = :pool AND name = :name", {"pool": pool.id, "name": DEFAULT}
    )
    if not rows:
        raise NotFound(f"Work pool {pool.name} is gone: somebody deleted it.", hint="See poolform work-pool ls.")
    return str(rows[0]["id"])
