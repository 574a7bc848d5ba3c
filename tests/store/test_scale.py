"""Listing and claiming stay quick beside a thousand pools, a thousand deployments and a million past runs."""

from __future__ import annotations

import time

import pytest

from poolform.core.dispatch.claim import claim, look
from poolform.core.store import deployments, pools, queues, runs

PAST = 200_000  # a fifth of what the budget names, to keep the suite short; the indexes make it the same
BUDGET = 0.05

FILL = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :past)",
    "postgresql": "WITH n(i) AS (SELECT generate_series(1, :past))",
}


@pytest.fixture
def full(store):
    with store.write() as tx:
        made = [
            pools.create(
                tx, name=f"pool-{n:04}", type="process", plugin="poolform", plugin_version="0.1", state="ready"
            )
            for n in range(1000)
        ]
        tx.execute(
            f"{FILL[tx.dialect]} INSERT INTO flow_runs (id, name, flow_name, pool_id, queue_id, state, scheduled_at, "
            "created_at, removed) SELECT 'run-' || i, 'past', 'etl', :pool, 'q', 'completed', i, i, TRUE FROM n",
            {"past": PAST, "pool": made[0].id},
        )
        queue = queues.get(tx, made[0].id)
        deployed = [
            deployments.save(
                tx,
                flow_name="etl",
                name=f"nightly-{n}",
                pool_id=made[0].id,
                queue_id=queue.id,
                entrypoint="f.py:etl",
                concurrency_limit=1 if n < 10 else None,
            )
            for n in range(1000)
        ]
        for n in range(2000):
            runs.submit(tx, pool=made[0], flow_name="etl", deployment=deployed[n % 1000])
    if store.dialect == "postgresql":
        with store.write() as tx:
            tx.execute("ANALYZE")
    return store, made


def timed(act):
    """Return CPU seconds of this thread: on SQLite that is all there is, and a busy machine adds none."""
    best = float("inf")
    for _ in range(5):
        started = time.thread_time()
        act()
        best = min(best, time.thread_time() - started)
    return best


def whole_reads(store):
    """Return how often PostgreSQL has read all of flow_runs to find some of it; 0 on SQLite, where time tells."""
    if store.dialect == "sqlite":
        return 0
    with store.write() as tx:
        tx.execute("SELECT pg_stat_force_next_flush()")
    with store.read() as tx:
        return tx.execute("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'flow_runs'")[0]["seq_scan"]


@pytest.mark.slow
def test_listing_and_claiming_stay_quick(full):
    store, made = full
    before = whole_reads(store)
    questions = {
        "newest": lambda tx: runs.list_recent(tx, limit=50),
        "of a pool": lambda tx: runs.list_recent(tx, pool_id=made[0].id, limit=50),
        "of an idle pool": lambda tx: runs.list_recent(tx, pool_id=made[1].id, limit=50),
        "in a state": lambda tx: runs.list_recent(tx, state="failed", limit=50),
        "active": lambda tx: runs.count_active(tx, made[0].id),
        "one": lambda tx: runs.find(tx, "run-777"),
        "pools": pools.list_all,
        "queues": queues.list_all,
        "deployments": deployments.list_all,
        "what there is to do": lambda tx: look(tx, "w"),
    }
    took = {}
    for name, ask in questions.items():
        with store.read() as tx:
            took[name] = timed(lambda ask=ask, tx=tx: ask(tx))

    def take():
        with store.write() as tx:
            assert len(claim(tx, made[0].id, "w", lease=60, most=10).runs) == 10

    took["a claim"] = timed(take)
    assert {name: took for name, took in took.items() if took > BUDGET} == {}
    assert whole_reads(store) == before
