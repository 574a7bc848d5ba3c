"""Late runs say what they wait for."""

from __future__ import annotations

import re
import time

import pytest

from poolform.core.dispatch.claim import claim
from poolform.core.errors import UsageError
from poolform.core.runs import durations, lateness
from poolform.core.store import deployments, pools, queues, runs, workers


class House:
    def __init__(self, store):
        self.store = store
        with store.write() as tx:
            self.pool = pools.create(tx, name="p", type="process", plugin="poolform", plugin_version="1", state="ready")
            queue = queues.get(tx, self.pool.id)
            self.deployment = deployments.save(
                tx, flow_name="f", name="d", pool_id=self.pool.id, queue_id=queue.id, entrypoint="f.py:f"
            )
            self.queue = queue

    def submit(self, ago=60):
        with self.store.write() as tx:
            return runs.submit(
                tx, pool=self.pool, flow_name="f", deployment=self.deployment, scheduled_at=time.time() - ago
            )

    def work(self):
        with self.store.write() as tx:
            now = tx.now()
            workers.save(tx, workers.Worker("w", "w", None, "host", 1, now, now, now + 60))

    def why(self, run):
        with self.store.read() as tx:
            return lateness.waits_for(tx, runs.get(tx, run.id))


@pytest.fixture
def house(store):
    return House(store)


def test_a_run_is_late_a_while_after_its_time(house):
    late, fresh = house.submit(), house.submit(ago=5)
    now = time.time()
    assert (late.late(now), fresh.late(now)) == (True, False)
    with house.store.read() as tx:
        assert [run.id for run in runs.list_recent(tx, state="late")] == [late.id]
    with house.store.write() as tx:
        claim(tx, house.pool.id, "w", lease=10, most=1)
        assert not runs.get(tx, late.id).late(now)


def test_what_is_stopped_is_named_with_the_way_out(house):
    run = house.submit()
    assert house.why(run) == "no worker is there for the work pool p: poolform worker start --pool p"
    for noun, way, change in (
        (
            "its deployment",
            "deployment resume 'f/d'",
            lambda tx: deployments.update(tx, house.deployment.id, paused=True),
        ),
        ("the work queue default", "work-queue resume", lambda tx: queues.update(tx, house.queue.id, paused=True)),
        ("the work pool p", "work-pool resume p", lambda tx: pools.update(tx, house.pool.id, paused=True)),
    ):
        with house.store.write() as tx:
            change(tx)
        assert re.match(f"{noun} is paused: poolform {way}", house.why(run))
    with house.store.write() as tx:
        pools.update(tx, house.pool.id, state="not-provisioned")
    assert house.why(run) == "the work pool p is not provisioned: poolform work-pool provision-infra p"
    with house.store.write() as tx:
        pools.delete(tx, house.pool.id, with_deployments=True)
    with house.store.read() as tx:
        assert runs.get(tx, run.id).state == "cancelled"


def test_full_limits_are_named(house):
    house.work()
    house.submit()
    with house.store.write() as tx:
        claim(tx, house.pool.id, "w", lease=10, most=1)
    run = house.submit()
    assert house.why(run) == "the workers of the work pool p are busy; runs that are due there: 1"
    with house.store.write() as tx:
        deployments.update(tx, house.deployment.id, concurrency_limit=1)
    assert house.why(run) == "its deployment has all 1 slots taken: poolform work-pool slots p"
    with house.store.write() as tx:
        queues.update(tx, house.queue.id, concurrency_limit=1)
        pools.update(tx, house.pool.id, concurrency_limit=1)
    assert house.why(run).startswith("the work pool p has all 1 slots taken and the work queue default has all 1 ")


def test_what_the_platform_said_is_told(house):
    house.work()
    run = house.submit()
    with house.store.write() as tx:
        runs.reschedule(tx, run.id, attempt=1, at=time.time() - 60, reason="no capacity: no Fargate in eu-1a")
    assert house.why(run) == "no capacity: no Fargate in eu-1a"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("90s", 90), ("1.5h", 5400), (" 30 d ", 30 * 86400), ("8W", 8 * 604800)),
        *(("10 minutes", 600), ("in 2 hours", 7200), ("1 day", 86400), ("30 secs", 30)),
    ],
)
def test_lengths_of_time(text, value):
    assert durations.seconds(text, of="X") == value


@pytest.mark.parametrize("text", ["", "30", "d", "-3d", "1y", "1d2h", "∞d", "in a minute", "3 months", "999999w"])
def test_what_is_no_length_of_time(text):
    with pytest.raises(UsageError, match="X is "):
        durations.seconds(text, of="X")
