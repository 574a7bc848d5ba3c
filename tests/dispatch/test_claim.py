"""Which runs are claimed, in which order, within which limits."""

from __future__ import annotations

import threading
import time

from poolform.core.dispatch.claim import claim, look
from poolform.core.store import deployments, queues, runs
from poolform.core.store.database import open_store


def take(bench, most=10, worker="w", **more):
    with bench.store.write() as tx:
        return [run.id for run in claim(tx, bench.pool.id, worker, lease=10, most=most, **more).runs]


def ids(*wanted):
    return [run.id for run in wanted]


def test_runs_are_taken_by_priority_then_time(bench):
    low, high = bench.make_queue("low", priority=5), bench.make_queue("high", priority=1)
    last = bench.submit(queue_id=low.id, scheduled_at=1)
    second = bench.submit(queue_id=high.id, scheduled_at=20)
    first = bench.submit(scheduled_at=10)  # the default queue has priority 1, too
    bench.submit(scheduled_at=time.time() + 3600)
    assert take(bench, most=2) == ids(first, second)
    assert take(bench) == ids(last)
    assert take(bench) == []
    held = bench.run(first)
    assert (held.state, held.worker_id) == ("pending", "w")
    assert held.lease_expires_at > time.time()


def test_only_the_wanted_run_is_taken(bench):
    bench.submit()
    wanted = bench.submit()
    assert take(bench, only=wanted.id) == ids(wanted)


def test_a_pools_limit(bench):
    bench.change_pool(concurrency_limit=2)
    made = [bench.submit(scheduled_at=n) for n in range(3)]
    assert take(bench) == ids(*made[:2])
    assert take(bench) == []
    bench.change_pool(concurrency_limit=1)  # fewer than run now
    assert take(bench) == []


def test_a_queues_limit_lets_other_queues_pass(bench):
    narrow = bench.make_queue("narrow", priority=1, concurrency_limit=1)
    made = [bench.submit(queue_id=narrow.id, scheduled_at=n) for n in range(5)]
    other = bench.submit(scheduled_at=100)
    assert take(bench, most=2) == ids(made[0], other)
    assert take(bench) == []


def test_a_deployments_limit_lets_others_pass(bench):
    narrow, wide = bench.deploy("narrow", concurrency_limit=1), bench.deploy("wide")
    made = [bench.submit(deployment=narrow, scheduled_at=n) for n in range(5)]
    others = [bench.submit(deployment=wide, scheduled_at=100 + n) for n in range(2)]
    assert take(bench, most=3) == ids(made[0], *others)
    assert take(bench) == []


def test_a_full_deployment_may_cancel_what_is_new(bench):
    narrow = bench.deploy("narrow", concurrency_limit=1, collision="cancel-new")
    first, second = bench.submit(deployment=narrow, scheduled_at=1), bench.submit(deployment=narrow, scheduled_at=2)
    later = bench.submit(deployment=narrow, scheduled_at=time.time() + 60)
    assert take(bench) == ids(first)
    assert (bench.run(second).state, bench.run(later).state) == ("cancelled", "scheduled")
    assert bench.run(second).reason == "its deployment's limit of 1 run was reached"


def test_what_is_paused_or_not_ready_is_left_alone(bench):
    deployment, queue = bench.deploy(), bench.make_queue("paused")
    bench.submit(deployment=deployment)
    bench.submit(queue_id=queue.id)
    other = bench.submit(scheduled_at=time.time() + 0.01)
    with bench.store.write() as tx:
        deployments.update(tx, deployment.id, paused=True)
        queues.update(tx, queue.id, paused=True)
    time.sleep(0.02)
    for changes in ({"paused": True}, {"paused": False, "state": "provisioning"}):
        bench.change_pool(**changes)
        assert take(bench) == []
        with bench.store.read() as tx:
            assert look(tx, "w").due == frozenset()
    bench.change_pool(state="ready")
    assert take(bench) == ids(other)


def test_a_look_says_where_there_is_work_and_when_there_will_be(bench):
    idle = bench.make_pool("idle")
    with bench.store.read() as tx:
        assert (look(tx, "w").due, look(tx, "w").next_at) == (frozenset(), None)
    bench.submit(pool=idle, scheduled_at=time.time() + 100)
    run = bench.submit()
    with bench.store.read() as tx:
        seen = look(tx, "w")
        assert (seen.due, seen.attend) == ({bench.pool.id}, frozenset())
        assert 90 < seen.next_at - time.time() <= 100
        assert look(tx, "w", idle.id).due == frozenset()
    take(bench)
    bench.cancel(run)
    with bench.store.read() as tx:
        assert look(tx, "w").attend == {bench.pool.id}
        assert look(tx, "somebody else").attend == frozenset()
    with bench.store.write() as tx:
        tx.execute("UPDATE flow_runs SET lease_expires_at = 1 WHERE id = :id", {"id": run.id})
    with bench.store.read() as tx:
        assert look(tx, "somebody else").attend == {bench.pool.id}


def test_two_workers_never_take_one_run_nor_pass_a_limit(bench, store_url):
    bench.change_pool(concurrency_limit=30)
    for _ in range(60):
        bench.submit()
    taken = {}

    def worker(name):
        with open_store(store_url) as store:
            for _ in range(20):
                with store.write() as tx:
                    got = claim(tx, bench.pool.id, name, lease=10, most=3)
                taken.setdefault(name, []).extend(run.id for run in got.runs)

    threads = [threading.Thread(target=worker, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    every = [run for got in taken.values() for run in got]
    assert len(every) == len(set(every)) == 30
    with bench.store.read() as tx:
        assert runs.count_active(tx, bench.pool.id) == 30
