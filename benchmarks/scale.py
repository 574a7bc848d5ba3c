"""How listing and claiming grow: a thousand pools, a thousand deployments, and a thousand to a million past runs.

`python benchmarks/scale.py [--most N]`. Medians of what the store does; a statement, its rows read into records.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import postgresql
from harness import verdict

from poolform.core.dispatch.claim import claim, look
from poolform.core.store import deployments, pools, queues, runs, slots
from poolform.core.store.database import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from poolform.core.store.database import Store, Transaction
    from poolform.core.store.pools import WorkPool

BUDGET_MS = 50.0
FILL = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i < :last)",
    "postgresql": "WITH n(i) AS (SELECT generate_series(CAST(:first AS int), CAST(:last AS int)))",
}


def main() -> None:
    """Measure on both databases and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=1_000_000)
    options = parser.parse_args()
    server = postgresql.start()
    try:
        measure("PostgreSQL", f"{server['url']}/postgres", options.most)
    finally:
        postgresql.stop(server)
    with tempfile.TemporaryDirectory() as folder:
        measure("SQLite", f"sqlite:///{folder}/store.db", options.most)


def measure(name: str, url: str, most: int) -> None:
    """Fill a database, a decade at a time, and print a table."""
    print(f"\n{name}: 1,000 pools, 1,000 deployments; median ms by the number of past runs", flush=True)
    with open_store(url) as store:
        made = prepare(store)
        found: dict[str, list[float]] = {}
        filled, decade, columns = 0, 1000, []
        while decade <= most:
            fill(store, filled + 1, decade)
            filled = decade
            columns.append(f"{decade:,}")
            for what, milliseconds in questions(store, made):
                found.setdefault(what, []).append(milliseconds)
            decade *= 10
    print(f"  {'':<34}{''.join(f'{column:>12}' for column in columns)}")
    for what, medians in found.items():
        print(f"  {what:<34}{''.join(f'{median:>12.2f}' for median in medians)}")
    print(f"  {verdict('slowest', max(medians[-1] for medians in found.values()), BUDGET_MS, unit=' ms')}", flush=True)


def prepare(store: Store[Any]) -> list[WorkPool]:
    """Make the pools and deployments, one in a hundred with a limit."""
    with store.write() as tx:
        made = [
            pools.create(tx, name=f"pool-{n:04}", type="process", plugin="bench", plugin_version="0", state="ready")
            for n in range(1000)
        ]
        for n, pool in enumerate(made):
            queue = queues.get(tx, pool.id)
            place = {"pool_id": pool.id, "queue_id": queue.id, "entrypoint": "f.py:etl"}
            deployments.save(tx, flow_name="etl", name=f"d-{n}", concurrency_limit=5 if n % 100 == 0 else None, **place)
    return made


def fill(store: Store[Any], first: int, last: int) -> None:
    """Add past runs, of all pools alike."""
    with store.write() as tx:
        number = "lpad((i % 1000)::text, 4, '0')" if tx.dialect == "postgresql" else "printf('%04d', i % 1000)"
        tx.execute(
            f"{FILL[tx.dialect]} INSERT INTO flow_runs (id, name, deployment_id, flow_name, pool_id, queue_id, state, "
            "scheduled_at, created_at, started_at, ended_at, removed) SELECT 'run-' || i, 'past', d.id, 'etl', p.id, "
            "d.queue_id, CASE i % 20 WHEN 0 THEN 'failed' ELSE 'completed' END, i, i, i, i + 1, TRUE FROM n "
            f"JOIN work_pools p ON p.name = 'pool-' || {number} JOIN deployments d ON d.pool_id = p.id",
            {"first": first, "last": last},
        )
    if store.dialect == "postgresql":
        with store.write() as tx:
            tx.execute("ANALYZE")


def questions(store: Store[Any], made: list[WorkPool]) -> Iterator[tuple[str, float]]:
    """Ask what people and workers ask, and time it."""
    pool, limited = made[5], made[0]
    asked: dict[str, Callable[[Transaction], object]] = {
        "flow-run ls": lambda tx: runs.list_recent(tx, limit=20),
        "flow-run ls --pool": lambda tx: runs.list_recent(tx, limit=20, pool_id=pool.id),
        "flow-run ls --state failed": lambda tx: runs.list_recent(tx, limit=20, state="failed"),
        "flow-run ls --state late": lambda tx: runs.list_recent(tx, limit=20, state="late"),
        "work-pool ls": pools.list_all,
        "work-pool slots": lambda tx: slots.taken(tx, pool.id),
        "deployment ls": deployments.list_all,
        "a worker's look": lambda tx: look(tx, "w"),
    }
    for what, ask in asked.items():
        yield what, median(lambda ask=ask: reading(store, ask))  # type: ignore[misc]
    for what, where in (("claim of 10", pool), ("claim of 5, within limits", limited)):
        taken = [claiming(store, where) for _ in range(15)]
        yield what, statistics.median(taken) * 1000


def reading(store: Store[Any], ask: Callable[[Transaction], object]) -> None:
    """Ask in a transaction of its own."""
    with store.read() as tx:
        ask(tx)


def claiming(store: Store[Any], pool: WorkPool) -> float:
    """Submit some runs and claim them; return how many seconds the claim took. They leave at once."""
    with store.write() as tx:
        deployment = deployments.list_all(tx, pool_id=pool.id)[0]
        for _ in range(10):
            runs.submit(tx, pool=pool, flow_name="etl", deployment=deployment)
    started = time.perf_counter()
    with store.write() as tx:
        got = claim(tx, pool.id, "w", lease=60, most=10).runs
    took = time.perf_counter() - started
    assert len(got) == (5 if deployment.concurrency_limit else 10)
    with store.write() as tx:
        tx.execute("DELETE FROM flow_runs WHERE state IN ('scheduled', 'pending')")
    return took


def median(act: Callable[[], object]) -> float:
    """Return the median of some calls, in milliseconds."""
    seconds = []
    for _ in range(15):
        started = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds) * 1000


if __name__ == "__main__":
    main()
