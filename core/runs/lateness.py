"""Late runs: those that were due a while ago and still wait; and what they wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolform.core.store import deployments, pools, queues, slots, workers

if TYPE_CHECKING:
    from poolform.core.store.database import Transaction
    from poolform.core.store.deployments import Deployment
    from poolform.core.store.pools import WorkPool
    from poolform.core.store.queues import WorkQueue
    from poolform.core.store.runs import FlowRun


def waits_for(tx: Transaction, run: FlowRun) -> str:
    """Return what keeps a late run waiting, as far as the database knows, and what to do about it where that helps."""
    pool = pools.by_id(tx, run.pool_id)
    busy = (
        ""
        if pool is None
        else (
            f"the workers of the work pool {pool.name} are busy; runs that are due there: {slots.waiting(tx, pool.id)}"
        )
    )
    return kept_by(tx, run) or run.reason or busy


def kept_by(tx: Transaction, run: FlowRun) -> str | None:
    """Return what keeps a run waiting until that changes; None where a worker only has to get to it."""
    pool = pools.by_id(tx, run.pool_id)
    if pool is None:
        return "its work pool was deleted"
    queue = queues.find(tx, pool.id, run.queue) if run.queue else None
    deployment = deployments.by_id(tx, run.deployment_id) if run.deployment_id else None
    return _stopped(pool, queue, deployment) or _unserved(tx, pool) or _full(tx, pool, queue, deployment)


def abandoned(tx: Transaction, run: FlowRun) -> str | None:
    """Return why nobody follows a run that was launched, so that no more is heard of it; None if somebody does."""
    pool = pools.by_id(tx, run.pool_id)
    followed = run.worker_id is not None and (run.lease_expires_at or 0) > tx.now()
    return None if followed or pool is None or run.state == "scheduled" else _unserved(tx, pool)


def _stopped(pool: WorkPool, queue: WorkQueue | None, deployment: Deployment | None) -> str | None:
    if pool.state != "ready":
        return f"the work pool {pool.name} is {pool.state_in_words}: poolform work-pool provision-infra {pool.name}"
    if pool.paused:
        return f"the work pool {pool.name} is paused: poolform work-pool resume {pool.name}"
    if queue is not None and queue.paused and not pool.is_served:
        return f"the work queue {queue.name} is paused: poolform work-queue resume {queue.name} --pool {pool.name}"
    if deployment is not None and deployment.paused:
        return f"its deployment is paused: poolform deployment resume '{deployment.full_name}'"
    return None


def _unserved(tx: Transaction, pool: WorkPool) -> str | None:
    if workers.live(tx, pool_id=pool.id):
        return None
    if pool.is_served:
        return "nobody serves its deployment now: start the script that does"
    return f"no worker is there for the work pool {pool.name}: poolform worker start --pool {pool.name}"


def _full(tx: Transaction, pool: WorkPool, queue: WorkQueue | None, deployment: Deployment | None) -> str | None:
    taken = slots.taken(tx, pool.id)
    limits = [(f"the work pool {pool.name}", pool.concurrency_limit, len(taken))]
    if queue is not None:
        mine = sum(slot.queue == queue.name for slot in taken)
        limits.append((f"the work queue {queue.name}", queue.concurrency_limit, mine))
    if deployment is not None:
        mine = sum(slot.deployment == deployment.full_name for slot in taken)
        limits.append(("its deployment", deployment.concurrency_limit, mine))
    full = [
        f"{what} has all {limit} slots taken" for what, limit, used in limits if limit is not None and used >= limit
    ]
    return f"{' and '.join(full)}: poolform work-pool slots {pool.name}" if full else None
