"""What becomes of a pool's runs when its infrastructure goes."""

from __future__ import annotations

from types import SimpleNamespace

from poolform.core.pools.connecting import disconnect
from poolform.core.store import pools, runs

NEWER = 10_050  # runs, all ended


def test_a_run_in_progress_is_cancelled_however_many_newer_ones_there_are(store):
    with store.write() as tx:
        pool = pools.create(tx, name="p", type="mortal", plugin="mortal", plugin_version="1", state="ready")
        other = pools.create(tx, name="q", type="mortal", plugin="mortal", plugin_version="1", state="ready")
        old, elsewhere = (runs.submit(tx, pool=each, flow_name="etl") for each in (pool, other))
        tx.execute("UPDATE flow_runs SET state = 'running', worker_id = 'w'")
        ended = runs.submit(tx, pool=pool, flow_name="etl")
        tx.execute("UPDATE flow_runs SET state = 'completed' WHERE id = :id", {"id": ended.id})
        (row,) = tx.execute("SELECT * FROM flow_runs WHERE id = :id", {"id": ended.id})
        copied = ", ".join(name for name in dict(row) if name not in ("id", "created_at"))
        tx.execute(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :newer) "
            f"INSERT INTO flow_runs (id, created_at, {copied}) "
            f"SELECT 'newer' || n, created_at + n, {copied} FROM flow_runs, numbers WHERE id = :id",
            {"id": ended.id, "newer": NEWER},
        )
        waiting = runs.submit(tx, pool=pool, flow_name="etl")
    disconnect(SimpleNamespace(store=store), SimpleNamespace(registered=None), pool)
    with store.read() as tx:
        assert runs.get(tx, old.id).cancel_requested
        assert not runs.get(tx, elsewhere.id).cancel_requested
        assert not runs.get(tx, "newer1").cancel_requested
        assert runs.get(tx, waiting.id).state == "cancelled"
