"""Schedules make runs: each once, on time, the latest of those that were missed."""

from __future__ import annotations

import resource
import time
from itertools import pairwise

import pytest

from poolform.core.dispatch.scheduler import Scheduler
from poolform.core.dispatch.tasks import Listener
from poolform.core.runs import timetables
from poolform.core.runs.schedules import Cron, Interval, Schedule
from poolform.core.store import deployments, pools, runs, schedules


def schedule(bench, deployment, wanted, **changes):
    with bench.store.write() as tx:
        row = timetables.add(tx, deployment, wanted)
        if changes:
            schedules.update(tx, row.id, **changes)
    return row


def made(bench, deployment):
    with bench.store.read() as tx:
        return sorted(runs.list_recent(tx, deployment_id=deployment.id), key=lambda run: run.scheduled_at)


def scheduler(bench, **more):
    return Scheduler(bench.store, Listener(), pool_id=None, **more)


def next_at(bench, deployment):
    with bench.store.read() as tx:
        return [row.next_at for row in schedules.of_deployment(tx, deployment.id)]


@pytest.mark.slow
def test_a_due_run_starts_within_a_fifth_of_a_second(bench):
    deployment = bench.deploy(job_variables={"script": "true"})
    bench.work()
    time.sleep(0.5)
    schedule(bench, deployment, Interval(1))
    deadline = time.monotonic() + 20
    while len(made(bench, deployment)) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    late = sorted(run.claimed_at - run.scheduled_at for run in made(bench, deployment) if run.claimed_at)
    assert late[0] >= 0
    assert late[1] < 0.2, late  # all but the machine's own hiccups


@pytest.mark.slow
def test_many_workers_make_each_run_once(bench):
    deployment = bench.deploy()
    for _ in range(3):
        bench.work()
    for second in range(3):
        schedule(bench, deployment, Schedule("interval", "1", anchor=second / 4))
    time.sleep(3.2)
    bench.stop()
    found = made(bench, deployment)
    keys = [run.idempotency_key for run in found]
    assert len(keys) == len(set(keys))
    times = [run.scheduled_at for run in found]
    assert len(times) == len(set(times)) >= 7
    for offset in (0, 0.25, 0.5):
        mine = [at for at in times if at % 1 == offset]
        assert [later - at for at, later in pairwise(mine)] == [1.0] * (len(mine) - 1)


def test_of_the_times_that_were_missed_the_latest_is_made_up_for(bench):
    deployment = bench.deploy()
    now = bench.store.now()
    schedule(bench, deployment, Cron("0 * * * *"), next_at=now // 3600 * 3600 - 48 * 3600)
    assert scheduler(bench).make_due() == 1
    assert [run.scheduled_at for run in made(bench, deployment)] == [now // 3600 * 3600]
    assert next_at(bench, deployment) == [now // 3600 * 3600 + 3600]
    assert scheduler(bench).make_due() == 0


def test_a_run_has_the_schedules_parameters_and_a_tag(bench):
    deployment = bench.deploy(parameters={"a": 1, "b": 1}, tags=["mine"])
    schedule(bench, deployment, Interval(3600, parameters={"b": 2}), next_at=1.0)
    scheduler(bench).make_due()
    (run,) = made(bench, deployment)
    assert run.parameters == {"a": 1, "b": 2}  # the deployment's too, as they were
    assert run.tags == ["auto-scheduled", "mine"]


def test_nothing_is_made_while_it_could_not_run_and_one_run_after(bench):
    deployment = bench.deploy()
    schedule(bench, deployment, Interval(3600), next_at=1.0)
    bench.change_pool(paused=True)
    assert scheduler(bench).make_due() == 0
    bench.change_pool(paused=False)
    assert scheduler(bench).make_due() == 1


def test_what_a_pause_leaves_out_is_not_made_up_for(bench):
    deployment = bench.deploy()
    row = schedule(bench, deployment, Interval(3600), next_at=1.0)
    with bench.store.write() as tx:
        paused = timetables.set_paused(tx, deployment, paused=True)
    assert next_at(bench, deployment) == [None]
    assert scheduler(bench).make_due() == 0
    with bench.store.write() as tx:
        resumed = timetables.set_paused(tx, paused, paused=False)
        (row,) = schedules.of_deployment(tx, deployment.id)
        timetables.set_active(tx, resumed, row, active=False)
        (row,) = schedules.of_deployment(tx, deployment.id)
        timetables.set_active(tx, resumed, row, active=True)
    assert scheduler(bench).make_due() == 0
    assert next_at(bench, deployment)[0] > bench.store.now()


def test_a_worker_of_one_pool_leaves_the_schedules_of_others(bench):
    deployment = bench.deploy()
    schedule(bench, deployment, Interval(3600), next_at=1.0)
    other = bench.make_pool("other")
    assert Scheduler(bench.store, Listener(), pool_id=other.id).make_due() == 0
    assert Scheduler(bench.store, Listener(), pool_id=bench.pool.id, queue_ids=["none"]).make_due() == 0
    assert Scheduler(bench.store, Listener(), pool_id=bench.pool.id, queue_ids=[deployment.queue_id]).make_due() == 1


def test_the_pool_of_served_deployments_is_left_to_their_process(bench):
    with bench.store.write() as tx:
        served = pools.update(tx, bench.pool.id, type="served")
    deployment = bench.deploy()
    schedule(bench, deployment, Interval(3600), next_at=1.0)
    assert scheduler(bench).make_due() == 0
    assert Scheduler(bench.store, Listener(), pool_id=served.id).make_due() == 1


def test_a_schedule_that_this_machine_cannot_read_keeps_no_other_from_its_run(bench):
    deployment = bench.deploy()
    heard = []

    class Hearing(Listener):
        def trouble(self, pool, message):
            heard.append(message)

    good = schedule(bench, deployment, Interval(3600), next_at=2.0)
    with bench.store.write() as tx:
        schedules.add(tx, deployment.id, kind="cron", expression="0 1 * * *", timezone="Mars/Olympus", next_at=1.0)
        schedules.add(tx, deployment.id, kind="interval", expression="soon", timezone="UTC", next_at=1.5)
    assert Scheduler(bench.store, Hearing(), pool_id=None).make_due() == 1
    assert [run.idempotency_key.split()[0] for run in made(bench, deployment)] == [good.id]
    assert "'Mars/Olympus'" in heard[0]
    assert "etl/nightly" in heard[0]
    assert "The schedule soon of etl/nightly: ValueError" in heard[1]


def test_deploying_again_keeps_what_is_paused_and_what_is_overdue(bench):
    deployment = bench.deploy()
    hourly, daily = Interval(3600, slug="often"), Cron("0 1 * * *")

    def state():
        with bench.store.read() as tx:
            return {
                row.expression: (row.id, row.active, row.next_at) for row in schedules.of_deployment(tx, deployment.id)
            }

    with bench.store.write() as tx:
        timetables.replace(tx, deployment, [hourly, daily])
        rows = {row.expression: row for row in schedules.of_deployment(tx, deployment.id)}
        timetables.set_active(tx, deployment, rows["3600"], active=False)
        schedules.update(tx, rows["0 1 * * *"].id, next_at=5.0)
    before = state()
    with bench.store.write() as tx:
        timetables.replace(tx, deployment, [daily, hourly])
    assert state() == before
    with bench.store.write() as tx:
        timetables.replace(tx, deployment, [Interval(60, slug="often"), daily])
    assert state()["60"] == (before["3600"][0], False, None)
    with bench.store.write() as tx:
        timetables.replace(tx, deployment, [Interval(60, slug="often", active=True)])
    assert list(state()) == ["60"]
    assert state()["60"][1] is True
    with bench.store.write() as tx:
        timetables.replace(tx, deployment, [])
    assert state() == {}


def test_schedules_go_with_their_deployment(bench):
    deployment = bench.deploy()
    schedule(bench, deployment, Interval(3600), next_at=1.0)
    with bench.store.write() as tx:
        deployments.delete(tx, deployment.id)
    assert scheduler(bench).make_due() == 0


@pytest.mark.slow
def test_a_thousand_deployments_with_nothing_due_cost_next_to_nothing(bench):
    with bench.store.write() as tx:
        for number in range(1000):
            deployment = deployments.save(
                tx, flow_name="etl", name=f"n{number}", pool_id=bench.pool.id, entrypoint="f.py:etl",
                queue_id=tx.execute("SELECT id FROM work_queues")[0]["id"],
            )  # fmt: skip
            timetables.add(tx, deployment, Cron("0 1 1 1 *"))
    bench.work(lease=15.0)
    time.sleep(1)
    before = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    started = time.monotonic()
    time.sleep(6)
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - before
    assert used / (time.monotonic() - started) < 0.02
