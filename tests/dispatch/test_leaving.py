"""How a worker leaves, how it says that it is well, and what it does beside dispatching."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request

import pytest
from dispatch_stand_in import Notifying, build_job

from poolform.core.dispatch import health
from poolform.core.dispatch.cleaning import Cleaner
from poolform.core.dispatch.companions import Companion
from poolform.core.dispatch.tasks import Listener
from poolform.core.dispatch.worker import Worker
from poolform.core.errors import UsageError
from poolform.core.runs.launchers import Unavailable
from poolform.core.store import logs, runs, workers

STARTED = """echo 'poolform: {"event":"started"}'; """


def alive(bench):
    with bench.store.read() as tx:
        return [worker.id for worker in workers.live(tx)]


def eventually(said, seconds=10):
    deadline = time.monotonic() + seconds
    while not said():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ended(bench):
    ((_, thread),) = bench.workers
    return not thread.is_alive()


def test_a_draining_worker_takes_nothing_more_and_leaves_when_its_runs_have_ended(bench):
    worker = bench.work()
    mine = bench.submit(STARTED + "sleep 1; echo done")
    bench.wait(mine, state="running")
    worker.drain()
    waiting = bench.submit()
    eventually(lambda: alive(bench) == [])  # nobody counts on it
    assert worker.status().draining
    time.sleep(0.3)
    assert not ended(bench)
    assert bench.run(waiting).state == "scheduled"
    assert bench.wait(mine).state == "completed"
    eventually(lambda: ended(bench))
    assert bench.run(waiting).state == "scheduled"


def test_a_draining_worker_still_cancels_and_puts_back_retries(bench):
    worker = bench.work()
    cancelled, failing = bench.submit(STARTED + "sleep 30"), bench.submit(STARTED + "sleep 0.5; exit 1", retries=1)
    bench.wait(cancelled, failing, state="running")
    worker.drain()
    bench.cancel(cancelled)
    assert bench.wait(cancelled).state == "cancelled"
    eventually(lambda: ended(bench))
    again = bench.run(failing)
    assert (again.state, again.attempt, again.worker_id) == ("scheduled", 2, None)


def test_what_is_not_drained_in_time_is_handed_over_at_once(bench):
    worker = bench.work(lease=60)
    run = bench.submit(STARTED + "sleep 1; echo done")
    bench.wait(run, state="running")
    worker.drain()
    bench.stop()
    assert bench.run(run).state == "running"
    bench.work(lease=60)
    assert bench.wait(run, seconds=5).state == "completed"


def test_an_idle_worker_that_drains_leaves_at_once(bench):
    worker = bench.work()
    eventually(lambda: alive(bench) == [worker.id])
    worker.drain()
    eventually(lambda: ended(bench), seconds=2)


# -- health ------------------------------------------------------------------------------------------------------------


def ask(port, path="/health"):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as exc:
        return exc.code, json.load(exc)


def test_health_says_what_a_worker_does(bench):
    worker = bench.work(name="w")
    run = bench.submit(STARTED + "sleep 0.7")
    with health.served(worker, "127.0.0.1", 0) as port:
        bench.wait(run, state="running")
        code, body = ask(port)
        assert code == 200
        assert 0 <= body.pop("last_poll_seconds_ago") < 10
        wanted = {"live": True, "status": "working", "worker": "w", "store": "reachable"}
        assert body == {**wanted, "held": 1, "runs": [run.id], "stuck_pools": []}
        worker.drain()
        assert ask(port)[1]["status"] == "draining"
        bench.wait(run)
        assert ask(port)[1]["held"] == 0
        assert ask(port, "/elsewhere")[0] == 404


def test_a_worker_that_stands_still_is_not_well(bench, monkeypatch):
    monkeypatch.setattr(health, "STALLED", 0.5)
    halted, go_on = threading.Event(), threading.Event()

    def until():
        if halted.is_set():
            go_on.wait(10)
        return False

    worker = Worker(bench.store, lambda pool: bench.platform, build_job, lease=1.0)
    thread = threading.Thread(target=worker.run, args=(until,))
    thread.start()
    with health.served(worker, "127.0.0.1", 0) as port:
        assert ask(port)[0] == 200
        halted.set()
        bench.submit()  # wakes it
        eventually(lambda: ask(port)[0] == 503)
        assert ask(port)[1]["status"] == "stalled"
        go_on.set()
        eventually(lambda: ask(port)[0] == 200)
    worker.stop()
    thread.join(10)


def test_a_port_that_is_taken_is_a_sentence(bench):
    worker = bench.work()
    with (
        health.served(worker, "127.0.0.1", 0) as port,
        pytest.raises(UsageError, match=rf"cannot be at 127\.0\.0\.1:{port}: Address already in use"),
        health.served(worker, "127.0.0.1", port),
    ):
        pass


# -- a cloud that is down ----------------------------------------------------------------------------------------------


class Down(Notifying):
    """Cannot be reached for as long as `down` is set; notes when it was asked."""

    def __init__(self, folder):
        super().__init__(folder)
        self.down, self.asked = True, []

    def launch(self, job):
        self.ask()
        return super().launch(job)

    def find(self, key):
        self.ask()
        return super().find(key)

    def ask(self):
        self.asked.append(time.monotonic())
        if self.down:
            raise Unavailable("connection refused")


@pytest.mark.slow
def test_a_cloud_that_is_down_is_asked_ever_more_rarely_and_holds_up_nobody_else(bench):
    other = bench.make_pool("other")
    down = Down(bench.folder / "down")
    bench.work(launchers=lambda pool: down if pool.id == bench.pool.id else bench.platform)
    made = [bench.submit(f"echo $KEY >> {bench.folder / 'launched'}") for _ in range(20)]
    eventually(lambda: len(down.asked) >= 3, seconds=15)
    elsewhere = bench.submit(pool=other)
    assert bench.wait(elsewhere, seconds=3).state == "completed"
    pauses = [later - earlier for earlier, later in zip(down.asked, down.asked[1:], strict=False)]
    assert pauses[0] > 0.2
    assert pauses[1] > pauses[0] * 0.9
    assert len(down.asked) <= 5  # for twenty runs: the pool waits, not each of them
    down.down = False
    found = bench.wait(*made, seconds=30)
    assert {run.state for run in found} == {"completed"}
    assert sorted((bench.folder / "launched").read_text().split()) == sorted(run.key for run in found)


# -- retention ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_worker_deletes_what_is_past_its_retention_and_nothing_else(bench):
    now = time.time()
    cleaner = Cleaner(bench.store, Listener(), keep=3600, every=0.2)
    old = [bench.submit() for _ in range(110)]
    recent, waiting = bench.submit(), bench.submit(scheduled_at=now + 3600)
    bench.work()
    bench.wait(*old, recent, seconds=60)
    bench.stop()
    with bench.store.write() as tx:
        tx.execute("UPDATE flow_runs SET created_at = 1, ended_at = 2 WHERE state = 'completed'")
        tx.execute("UPDATE flow_runs SET created_at = 1 WHERE state = 'scheduled'")
        tx.execute("UPDATE flow_runs SET ended_at = :now WHERE id = :id", {"now": now, "id": recent.id})
        logs.append(tx, [logs.LogRow(old[7].id, 1, seq, now, "a line") for seq in range(2, 12_002)])
    bench.work(companions=[cleaner])

    def left():
        with bench.store.read() as tx:
            return {run.id for run in runs.list_recent(tx, limit=1000)}

    eventually(lambda: left() == {recent.id, waiting.id}, seconds=20)
    with bench.store.read() as tx:
        assert tx.execute("SELECT count(*) AS n FROM logs")[0]["n"] == 0
        rows = tx.execute("SELECT DISTINCT run_id FROM flow_run_states")
    assert {row["run_id"] for row in rows} == {recent.id, waiting.id}


def test_what_goes_on_beside_dispatching_goes_on_after_a_fault(bench):
    class Faulty(Companion):
        turns = 0

        def turn(self):
            self.turns += 1
            if self.turns == 1:
                raise ValueError("oops")
            return 60.0

    troubles = []

    class Hearing(Listener):
        def trouble(self, pool, message):
            troubles.append(message)

    companion = Faulty(bench.store, Hearing(), "cleaning")
    companion.start()
    eventually(lambda: companion.turns == 2)
    companion.stop()
    assert troubles[0].startswith("cleaning failed: ValueError: oops; again in")
