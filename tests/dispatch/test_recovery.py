"""Workers that are killed: no run is lost, and none is started twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from dispatch_stand_in import Notifying, build_job

from poolform.core.dispatch.claim import claim
from poolform.core.runs.launchers import Job, Unknowable
from poolform.core.store import leases, logs, runs, workers

MORTAL = Path(__file__).with_name("mortal.py")


def start(url, folder, *how):
    return subprocess.Popen([sys.executable, str(MORTAL), url, str(folder), *how])


def appending(tmp_path, then="echo hello"):
    """A script that leaves a line in a file for each time that it is started."""
    return f"echo $KEY >> {tmp_path / 'launched'}; {then}"


def launched(tmp_path):
    path = tmp_path / "launched"
    return Counter(path.read_text().split()) if path.exists() else Counter()


STEPS = [(method, when) for method in ("build", "launch", "poll", "logs", "remove") for when in ("before", "after")]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "when"), STEPS)
def test_a_worker_killed_at_any_step_is_survived(bench, store_url, tmp_path, method, when):
    run = bench.submit(appending(tmp_path))
    assert start(store_url, tmp_path, method, when).wait(20) == -signal.SIGKILL
    never = (method, when) in {("build", "before"), ("build", "after"), ("launch", "before")}
    # A job that was started just before the worker's death may not have written its line yet.
    deadline = time.monotonic() + 10
    while not never and not launched(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert launched(tmp_path) == ({} if never else {run.key: 1})
    bench.work(lease=1.0)
    run = bench.wait(run)
    assert (run.state, run.exit_code, run.removed) == ("completed", 0, True)
    assert launched(tmp_path) == {run.key: 1}
    with bench.store.read() as tx:
        assert [row.line for row in logs.of_run(tx, run.id)] == ["hello"]


@pytest.mark.slow
def test_a_worker_killed_before_a_retry_is_scheduled(bench, store_url, tmp_path):
    script = appending(tmp_path, "test $ATTEMPT = 2")
    run = bench.submit(script, retries=1)
    assert start(store_url, tmp_path, "remove", "after").wait(20) == -signal.SIGKILL
    bench.work(lease=1.0)
    run = bench.wait(run)
    assert (run.state, run.attempt) == ("completed", 2)
    assert launched(tmp_path) == {f"{run.id}.1": 1, f"{run.id}.2": 1}


@pytest.mark.slow
def test_a_reason_that_was_read_is_not_lost_with_its_reader(bench, store_url, tmp_path):
    run = bench.submit("""echo 'poolform: {"event":"failed","reason":"ValueError: boom"}'; sleep 1; exit 1""")
    victim = start(store_url, tmp_path)
    deadline = time.monotonic() + 10
    while not (bookmark := bench.run(run).log_cursor) or not bookmark["last"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    victim.kill()
    victim.wait()
    bench.work(lease=1.0)
    assert bench.wait(run).reason == "ValueError: boom"


@pytest.mark.slow
def test_a_cancellation_survives_the_worker(bench, store_url, tmp_path):
    run = bench.submit("sleep 60")
    victim = start(store_url, tmp_path)
    bench.wait(run, state="running")
    victim.kill()
    victim.wait()
    bench.cancel(run)
    bench.work(lease=1.0)
    assert bench.wait(run).state == "cancelled"


# -- a launch that may have happened -----------------------------------------------------------------------------------


def interrupted(bench, run, *, ago=0.0):
    """Leave a run as a worker does that died between storing the request and storing the handle."""

    with bench.store.write() as tx:
        (held,) = claim(tx, bench.pool.id, "dead", lease=60, most=1).runs
        request = build_job(bench.pool, None, held).to_json()
        assert leases.store_request(tx, held, request) == "stored"
        tx.execute("UPDATE flow_runs SET lease_expires_at = 0, claimed_at = claimed_at - :ago", {"ago": ago})
    return request


class Watched(Notifying):
    """Notes what it was asked to launch."""

    def __init__(self, folder):
        super().__init__(folder)
        self.requests = []

    def launch(self, job):
        self.requests.append(job.to_json())
        return super().launch(job)


def test_the_stored_request_is_replayed_byte_for_byte(bench, tmp_path):
    run = bench.submit(appending(tmp_path))
    request = interrupted(bench, run)
    bench.change_pool(variables={"changed": "since"})
    platform = Watched(tmp_path / "jobs")
    bench.work(platform)
    assert bench.wait(run).state == "completed"
    assert platform.requests == [request]


def test_a_job_that_was_launched_is_found_and_not_launched_again(bench, tmp_path):
    run = bench.submit(appending(tmp_path))
    request = interrupted(bench, run)
    platform = Watched(tmp_path / "jobs")

    platform.launch(Job.from_json(request))
    platform.requests.clear()
    deadline = time.monotonic() + 5
    while platform.find(run.key) is None:
        assert time.monotonic() < deadline
    bench.work(platform)
    assert bench.wait(run).state == "completed"
    assert platform.requests == []
    assert launched(tmp_path) == {run.key: 1}


def test_what_cannot_be_known_is_never_launched_again(bench, tmp_path):
    class Forgetful(Watched):
        def find(self, key):
            raise Unknowable

    run = bench.submit(appending(tmp_path))
    interrupted(bench, run)
    platform = Forgetful(tmp_path / "jobs")
    bench.work(platform)
    run = bench.wait(run)
    assert run.state == "crashed"
    assert run.reason.startswith("launch uncertain: ")
    assert platform.requests == []


def test_an_answer_older_than_the_platforms_memory_is_no_answer(bench, tmp_path):
    class Brief(Watched):
        remembers = timedelta(hours=1)

    old, new = bench.submit(scheduled_at=1), bench.submit(scheduled_at=2)
    interrupted(bench, old, ago=3700)
    interrupted(bench, new)
    platform = Brief(tmp_path / "jobs")
    bench.work(platform)
    old, new = bench.wait(old, new)
    assert (old.state, new.state) == ("crashed", "completed")
    assert old.reason.startswith("launch uncertain: ")
    assert len(platform.requests) == 1


def test_a_cancelled_run_that_was_never_launched_never_is(bench, tmp_path):
    run = bench.submit(appending(tmp_path))
    interrupted(bench, run)
    bench.cancel(run)
    platform = Watched(tmp_path / "jobs")
    bench.work(platform)
    run = bench.wait(run)
    assert (run.state, run.reason) == ("cancelled", "cancelled before it was launched")
    assert platform.requests == []


def test_who_lost_the_lease_changes_nothing(bench):

    run = bench.submit()
    with bench.store.write() as tx:
        (mine,) = claim(tx, bench.pool.id, "slow", lease=-1, most=1).runs
        assert leases.store_request(tx, mine, "{}") == "lost"  # it has run out, though nobody has taken it yet
        (theirs,) = leases.take_over(tx, bench.pool.id, "quick", lease=60, most=10)
        assert leases.store_request(tx, mine, "{}") == "lost"
        assert leases.save(tx, mine) is False
        assert leases.release(tx, mine) is False
        assert leases.put_back(tx, mine, attempt=1, at=0, reason="") == "lost"
        assert leases.renew(tx, "slow", bench.pool.id, [run.id], lease=60) == set()
        assert leases.store_request(tx, theirs.run, "{}") == "stored"
    assert bench.run(run).worker_id == "quick"


@pytest.mark.slow
def test_a_worker_that_stood_still_does_not_launch_what_somebody_else_has(bench, store_url, tmp_path):
    """Stopped (SIGSTOP) for longer than its lease, in the middle of launching a batch."""
    made = [bench.submit(appending(tmp_path, "sleep 0.01")) for _ in range(60)]
    sleeper = start(store_url, tmp_path)
    deadline = time.monotonic() + 10
    while not launched(tmp_path):
        assert time.monotonic() < deadline
    os.kill(sleeper.pid, signal.SIGSTOP)
    time.sleep(1.2)
    bench.work(lease=1.0)
    bench.wait(*made)
    os.kill(sleeper.pid, signal.SIGCONT)
    time.sleep(1)
    sleeper.terminate()
    assert sleeper.wait(20) == 0
    assert launched(tmp_path) == {run.key: 1 for run in made}


# -- everything at once ------------------------------------------------------------------------------------------------

SUBMITTER = """
import sys
from poolform.core.store.database import open_store
from poolform.core.store import pools, runs
url, script, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open_store(url) as store:
    for _ in range(count):
        with store.write() as tx:
            runs.submit(tx, pool=pools.get(tx, "lab"), flow_name="etl", job_variables={"script": script})
"""


@pytest.mark.slow
def test_many_submitters_and_a_worker_killed_every_second(bench, store_url, tmp_path):
    each = 50 if bench.store.dialect == "sqlite" else 20  # there is time for one thousand only
    submitters = [
        subprocess.Popen(
            [sys.executable, "-c", SUBMITTER, store_url, appending(tmp_path, "true"), str(each)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(20)
    ]
    crew = [start(store_url, tmp_path) for _ in range(2)]
    deadline = time.monotonic() + 150
    kills = 0
    while True:
        with bench.store.read() as tx:
            left = tx.execute("SELECT count(*) AS n FROM flow_runs WHERE worker_id IS NOT NULL OR state = 'scheduled'")[
                0
            ]["n"]
        if left == 0 and all(process.poll() is not None for process in submitters):
            break
        assert time.monotonic() < deadline, f"{left} runs left after {kills} kills"
        time.sleep(1)
        with bench.store.read() as tx:
            pids = {worker.pid for worker in workers.live(tx)}
        victim = random.randrange(2)
        if crew[victim].pid not in pids:
            continue  # on a busy machine it may still be starting; killing those only would prove nothing
        crew[victim].kill()
        crew[victim].wait()
        kills += 1
        crew[victim] = start(store_url, tmp_path)
    for process in crew:
        process.terminate()
    assert {process.wait(20) for process in crew} <= {0, -signal.SIGTERM}  # the youngest may not listen yet
    assert [process.communicate()[1] for process in submitters] == [""] * 20  # "database is locked" would be here
    with bench.store.read() as tx:
        every = runs.list_recent(tx, limit=2000)
    assert Counter(run.state for run in every) == {"completed": 20 * each}
    assert launched(tmp_path) == {run.key: 1 for run in every}
    assert kills >= 2
