"""What `prune` deletes: past runs, the oldest first, in transactions that stay short."""

from __future__ import annotations

import pytest

from poolform.core.store import logs, pools, retention, runs


@pytest.fixture
def pool(store):
    with store.write() as tx:
        return pools.create(tx, name="p", type="process", plugin="poolform", plugin_version="1", state="ready")


def past(store, pool, ended_at, *, lines=0, **columns):
    columns = {"state": "completed", "created_at": (ended_at or 2) - 1, "ended_at": ended_at, **columns}
    with store.write() as tx:
        run = runs.submit(tx, pool=pool, flow_name="f")
        tx.execute(
            f"UPDATE flow_runs SET {', '.join(f'{name} = :{name}' for name in columns)} WHERE id = :id",
            {**columns, "id": run.id},
        )
        logs.append(tx, [logs.LogRow(run.id, 1, seq + 1, 1.0, "x") for seq in range(lines)])
    return run.id


def left(store):
    with store.read() as tx:
        return {row["id"] for row in tx.execute("SELECT id FROM flow_runs")}


def prune(store, before, **limits):
    with store.write() as tx:
        return retention.prune(tx, before, **limits)


def test_only_what_ended_before_is_deleted(store, pool):
    for state in ("completed", "failed", "crashed", "cancelled"):
        past(store, pool, 100, state=state)
    kept = {
        past(store, pool, 300),
        past(store, pool, 300, created_at=1),  # it took long
        past(store, pool, 100, worker_id="w", lease_expires_at=1),  # still cleared away
        past(store, pool, None, created_at=1, state="scheduled"),
        past(store, pool, None, created_at=1, state="running"),
    }
    with store.read() as tx:
        assert retention.count(tx, 200) == 4
    assert prune(store, 200) == retention.Pruned(4, more=False)
    assert left(store) == kept


def test_a_batch_is_short_and_begins_with_the_oldest(store, pool):
    made = [past(store, pool, 10 + n) for n in range(5)]
    assert prune(store, 200, most_runs=2) == retention.Pruned(2, more=True)
    assert left(store) == set(made[2:])
    assert prune(store, 200, most_runs=2) == retention.Pruned(2, more=True)
    assert prune(store, 200, most_runs=2) == retention.Pruned(1, more=False)


def test_a_long_log_goes_in_several(store, pool):
    long, short = past(store, pool, 10, lines=25), past(store, pool, 11, lines=3)
    assert prune(store, 200, most_lines=10) == retention.Pruned(0, more=True)
    assert left(store) == {long, short}
    assert prune(store, 200, most_lines=10) == retention.Pruned(0, more=True)
    assert prune(store, 200, most_lines=10) == retention.Pruned(2, more=False)
