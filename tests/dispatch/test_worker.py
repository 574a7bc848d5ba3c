"""Runs from submitted to cleared away, by a worker with a platform that starts real processes."""

from __future__ import annotations

import json
import os
import resource
import threading
import time

import pytest
from dispatch_stand_in import Notifying, Platform, build_job

from poolform.core.dispatch import following
from poolform.core.dispatch.worker import Worker
from poolform.core.errors import PoolformError
from poolform.core.runs.launchers import JobStatus, LaunchRefused, LogPage, NoCapacity, Unavailable
from poolform.core.store import logs, runs, workers

STARTED = """echo 'poolform: {"event":"started"}'; """
FAILED = """{ echo 'poolform: {"event":"failed","reason":"ValueError: boom"}'; exit 1; }"""


def lines(bench, run):
    with bench.store.read() as tx:
        return [(row.attempt, row.line) for row in logs.of_run(tx, run.id)]


def test_a_run_completes_and_leaves_nothing_behind(bench):
    bench.work()
    run = bench.wait(bench.submit(STARTED + 'echo hello; echo \'poolform: {"event":"completed"}\''))
    assert (run.state, run.reason, run.exit_code) == ("completed", None, 0)
    assert bench.states(run) == ["scheduled", "pending", "submitted", "running", "completed"]
    assert run.created_at <= run.claimed_at <= run.submitted_at <= run.started_at <= run.ended_at
    assert (run.removed, run.logs_done, run.worker_id, run.lease_expires_at) == (True, True, None, None)
    assert lines(bench, run) == [(1, "hello")]
    assert list(bench.platform.folder.iterdir()) == []
    with bench.store.read() as tx:
        assert tx.execute("SELECT request FROM flow_runs")[0]["request"] is None


def test_a_polled_platform_does_as_well(bench):
    bench.work(Platform(bench.folder / "jobs"))
    run = bench.wait(bench.submit("echo hello"))
    assert (run.state, lines(bench, run)) == ("completed", [(1, "hello")])


def test_a_failure_has_its_reason(bench):
    bench.work()
    run = bench.wait(bench.submit(STARTED + FAILED))
    assert (run.state, run.reason, run.exit_code) == ("failed", "ValueError: boom", 1)


def test_retries_are_new_attempts_of_the_same_run(bench):
    bench.work()
    run = bench.wait(
        bench.submit("echo attempt $ATTEMPT; test $ATTEMPT = 3 || " + FAILED, retries=2, retry_delay_seconds=0.05)
    )
    assert (run.state, run.attempt) == ("completed", 3)
    assert lines(bench, run) == [(1, "attempt 1"), (2, "attempt 2"), (3, "attempt 3")]
    assert bench.states(run).count("scheduled") == 3
    assert "failed" not in bench.states(run)
    with bench.store.read() as tx:
        reasons = [change.reason for change in runs.states(tx, run.id) if change.state == "scheduled"]
    assert reasons[1] == "attempt 1 failed: ValueError: boom; this is retry 1 of 2"


def test_retries_run_out_and_crashes_are_not_retried(bench):
    bench.work()
    failed, crashed = bench.wait(bench.submit(FAILED, retries=1), bench.submit("exit 137", retries=5))
    assert (failed.state, failed.attempt) == ("failed", 2)
    assert (crashed.state, crashed.attempt) == ("crashed", 1)


def test_cancelling_reaches_the_job(bench):
    bench.work()
    run = bench.submit(STARTED + "sleep 60")
    bench.wait(run, state="running")
    bench.cancel(run)
    started = time.monotonic()
    run = bench.wait(run)
    assert (run.state, run.reason) == ("cancelled", "cancelled")
    assert time.monotonic() - started < 1


def test_a_run_that_waits_is_cancelled_without_being_launched(bench):
    run = bench.submit("echo never", scheduled_at=time.time() + 0.3)
    bench.work()
    assert bench.cancel(run).state == "cancelled"
    time.sleep(0.5)
    assert bench.run(run).handle is None


def test_the_timeout_is_kept_from_outside_too(bench, monkeypatch):
    monkeypatch.setattr(following, "TIMEOUT_GRACE", 0.2)
    bench.work()
    run = bench.wait(bench.submit(STARTED + "sleep 60", timeout_seconds=0.2))
    assert (run.state, run.reason) == ("failed", "timed out after 0.2 s")


def test_a_scheduled_run_starts_on_time(bench):
    bench.work()
    at = time.time() + 0.5
    run = bench.wait(bench.submit(scheduled_at=at))
    assert at <= run.claimed_at < at + 0.1


@pytest.mark.slow
def test_logs_arrive_while_the_job_runs(bench):
    bench.work()
    run = bench.submit("echo early; sleep 3; echo late")
    deadline = time.monotonic() + 2
    while not lines(bench, run):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert lines(bench, run) == [(1, "early")]
    bench.wait(run)
    assert lines(bench, run) == [(1, "early"), (1, "late")]


@pytest.mark.slow
def test_a_long_log_is_kept_whole(bench):
    bench.work()
    run = bench.wait(bench.submit("seq 1 200000; printf 'a\\0b\\377c'"), seconds=60)
    with bench.store.read() as tx:
        kept = [row.line for row in logs.of_run(tx, run.id, limit=10**6)]
    assert kept[:-1] == [str(n) for n in range(1, 200001)]
    assert kept[-1] == "a\ufffdb\ufffdc"


# -- what a launcher or a job builder may raise ------------------------------------------------------------------------


class Moody(Notifying):
    """Raises what it is told to, so many times, then works."""

    def __init__(self, folder, **moods):
        super().__init__(folder)
        self.moods = {method: [error] * times for method, (error, times) in moods.items()}
        self.launched = []

    def mood(self, method):
        if self.moods.get(method):
            raise self.moods[method].pop()

    def launch(self, job):
        self.mood("launch")
        handle = super().launch(job)
        self.launched.append(job.key)
        self.mood("after_launch")
        return handle

    def poll(self, handles):
        self.mood("poll")
        return super().poll(handles)

    def logs(self, handle, cursor):
        self.mood("logs")
        return super().logs(handle, cursor)

    def remove(self, handle):
        self.mood("remove")
        super().remove(handle)


@pytest.mark.parametrize("method", ["launch", "after_launch", "poll", "logs", "remove"])
def test_an_unavailable_platform_is_asked_again_and_nothing_is_lost(bench, method):
    platform = Moody(bench.folder / "jobs", **{method: (Unavailable("throttled"), 2)})
    bench.work(platform)
    run = bench.wait(bench.submit("echo hello"))
    assert (run.state, lines(bench, run)) == ("completed", [(1, "hello")])
    assert platform.launched == [run.key]
    assert any(message.startswith("throttled; asking again in") for message in bench.troubles)


def test_no_capacity_puts_the_run_back(bench):
    bench.work(Moody(bench.folder / "jobs", launch=(NoCapacity("no Fargate in eu-1a"), 1)))
    run = bench.submit()
    bench.wait(run, state="scheduled")
    run = bench.wait(run)
    assert (run.state, run.attempt) == ("completed", 1)
    with bench.store.read() as tx:
        reasons = [change.reason for change in runs.states(tx, run.id)]
    assert "no capacity: no Fargate in eu-1a" in reasons


class Wide(Platform):
    """A platform that is slow to launch, and can launch several at once."""

    threads = 4

    def __init__(self, folder, wrong=None):
        super().__init__(folder)
        self.at_once, self.most, self.launches, self.wrong = 0, 0, [], wrong or {}
        self.lock = threading.Lock()

    def launch(self, job):
        with self.lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            self.launches.append(job.key)
        time.sleep(0.2)
        with self.lock:
            self.at_once -= 1
        if error := self.wrong.pop(job.name, None):
            raise error
        return super().launch(job)


def test_jobs_are_launched_by_as_many_threads_as_the_launcher_allows(bench):
    platform = Wide(bench.folder / "jobs")
    submitted = [bench.submit() for _ in range(8)]
    bench.work(platform)
    assert {run.state for run in bench.wait(*submitted)} == {"completed"}
    assert platform.most == 4
    assert sorted(platform.launches) == sorted(run.key for run in submitted)


def test_of_jobs_launched_at_once_each_has_its_own_fate(bench):
    wrong = {
        "refused": LaunchRefused("no"),
        "away": Unavailable("the network is down"),
        "full": NoCapacity("full"),
        "broken": TypeError("x"),
    }
    platform = Wide(bench.folder / "jobs", wrong)
    submitted = [bench.submit(name=name) for name in ("one", "refused", "away", "two", "full", "broken", "three")]
    bench.work(platform)
    ended = {run.name: run for run in bench.wait(*submitted)}
    crashed = {name for name, run in ended.items() if run.state == "crashed"}
    assert crashed == {"refused", "broken"}
    assert {run.state for name, run in ended.items() if name not in crashed} == {"completed"}
    assert "network is down" in bench.troubles[0]


def test_a_refused_launch_is_a_crash_that_says_why(bench):
    bench.work(Moody(bench.folder / "jobs", launch=(LaunchRefused("image not found"), 1)))
    run = bench.wait(bench.submit())
    assert (run.state, run.reason) == ("crashed", "image not found")


@pytest.mark.parametrize("error", [TypeError("oops"), SystemExit("oops"), KeyboardInterrupt("oops")])
def test_a_launcher_that_breaks_its_contract_crashes_one_run_only(bench, error):
    bench.work(Moody(bench.folder / "jobs", launch=(error, 1)))
    first = bench.wait(bench.submit())
    second = bench.wait(bench.submit())
    assert (first.state, first.reason) == (
        "crashed",
        f"launch uncertain: the launcher of the plugin poolform 1 raised {type(error).__name__}: oops",
    )
    assert second.state == "completed"


@pytest.mark.parametrize("method", ["poll", "logs", "remove"])
def test_a_launcher_that_exits_is_asked_again_and_named(bench, method):
    bench.work(Moody(bench.folder / "jobs", **{method: (SystemExit(1), 1)}))
    run = bench.wait(bench.submit("echo hello"))
    assert (run.state, lines(bench, run)) == ("completed", [(1, "hello")])
    said = "the launcher of the plugin poolform 1 raised SystemExit: 1; asking again in"
    assert any(message.startswith(said) for message in bench.troubles)


def test_a_launcher_that_exits_when_it_is_let_go_or_asked_for_news_harms_nobody(bench):
    class Sulking(Notifying):
        def fileno(self):
            raise SystemExit(2)

        def close(self):
            raise SystemExit(3)

    bench.work(Sulking(bench.folder / "jobs"))
    assert bench.wait(bench.submit()).state == "completed"
    bench.stop()
    assert bench.troubles == [
        "its launcher cannot say when jobs end (SystemExit: 2), so it is asked every few seconds",
        "closing its launcher failed: SystemExit: 3",
    ]
    with bench.store.read() as tx:
        assert workers.live(tx) == []


def test_a_job_started_for_all_that_its_launcher_raised_is_followed(bench):
    bench.work(Moody(bench.folder / "jobs", after_launch=(TypeError("oops"), 1)))
    run = bench.submit("sleep 0.3; echo hello")
    run = bench.wait(run)
    # The stand-in's wrapper may not have said `started` by the time it is asked; then nobody can know.
    assert (run.state, run.reason) in [
        ("completed", None),
        ("crashed", "launch uncertain: the launcher of the plugin poolform 1 raised TypeError: oops"),
    ]


def test_what_a_launcher_raised_is_said_though_it_says_that_it_launched(bench):
    class Halfway(Notifying):
        """Its `find` sees a job as soon as `launch` began, which then raised: a folder is there, and nothing runs."""

        def launch(self, job):
            raise KeyError("memory_mb")

        def find(self, key):
            return key

        def poll(self, handles):
            return {handle: JobStatus("starting") for handle in handles}

        def logs(self, handle, cursor):
            return LogPage((), cursor, done=False)

    bench.work(Halfway(bench.folder / "jobs"))
    run_id = bench.submit("true")
    run = bench.wait(run_id, state="submitted")
    said = "the launcher of the plugin poolform 1 raised KeyError: 'memory_mb', and says that it launched"
    assert run.reason == f"{said} the job"
    assert f"{said} {run.name}." in bench.troubles


def test_a_job_that_is_gone_is_a_crash(bench):
    class Forgetful(Notifying):
        def poll(self, handles):
            return {}

        def logs(self, handle, cursor):
            return super().logs(self.folder / "gone", cursor)

    bench.work(Forgetful(bench.folder / "jobs"))
    run = bench.wait(bench.submit("sleep 1"))
    assert (run.state, run.reason) == ("crashed", following.GONE)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PoolformError("the pool has no image"), "the pool has no image"),
        (KeyError("image"), "its job could not be made: KeyError: 'image'"),
    ],
)
def test_a_job_that_cannot_be_built_is_a_crash(bench, error, reason):

    def build(pool, deployment, run):
        if run.flow_name == "etl" and run.job_variables["script"] == "bad":
            raise error
        return build_job(pool, deployment, run)

    bench.work(build_job=build)
    bad, good = bench.wait(bench.submit("bad"), bench.submit("true"))
    assert (bad.state, bad.reason, bad.handle) == ("crashed", reason, None)
    assert good.state == "completed"


def test_a_payload_over_the_limit_is_refused_with_both_numbers(bench):
    class Small(Notifying):
        payload_limit = 1000

    bench.work(Small(bench.folder / "jobs"))
    run = bench.wait(bench.submit("#" * 2000))
    assert run.state == "crashed"
    assert run.reason.startswith("its command and environment take 2,")
    assert run.reason.endswith("and process takes at most 1,000")


# -- secrets -----------------------------------------------------------------------------------------------------------


class Rot13:
    """Stands for encryption: what it makes does not hold the text."""

    def seal(self, text):
        return text[::-1].encode().hex()

    def unseal(self, token):
        return bytes.fromhex(token).decode()[::-1]


class Plain(Notifying):
    secrets = "plain"


def test_secrets_are_stored_encrypted_and_reach_the_job(bench):
    class Peeking(Plain):
        def launch(self, job):
            with bench.store.read() as tx:
                self.stored = tx.execute("SELECT request FROM flow_runs")[0]["request"]
            return super().launch(job)

    platform = Peeking(bench.folder / "jobs")
    bench.work(platform, seal=Rot13())
    run = bench.wait(bench.submit("test $TOKEN = geheim", secrets={"TOKEN": "geheim"}))
    assert run.state == "completed"
    assert "geheim" not in platform.stored
    assert list(json.loads(platform.stored)) == ["sealed"]


@pytest.mark.parametrize(
    ("platform", "seal", "reason"),
    [
        (Notifying, Rot13(), "process has no way to hand secrets to a job: TOKEN"),
        (Plain, None, "its job has secrets, and this worker has no key to store them encrypted"),
    ],
)
def test_secrets_that_cannot_be_kept_are_refused(bench, platform, seal, reason):
    bench.work(platform(bench.folder / "jobs"), seal=seal)
    run = bench.wait(bench.submit(secrets={"TOKEN": "geheim"}))
    assert (run.state, run.reason) == ("crashed", reason)


# -- workers -----------------------------------------------------------------------------------------------------------


def test_a_worker_is_seen_while_it_lives(bench):
    worker = bench.work()
    deadline = time.monotonic() + 5
    while True:
        with bench.store.read() as tx:
            live = workers.live(tx, pool_id=bench.pool.id)
        if live or time.monotonic() > deadline:
            break
    assert [(found.id, found.pid, found.pool_id) for found in live] == [(worker.id, os.getpid(), None)]
    bench.stop()
    with bench.store.read() as tx:
        assert workers.live(tx) == []


def test_a_worker_for_one_pool_leaves_the_others_alone(bench):
    other = bench.make_pool("other")
    bench.work(pool=other)
    mine, theirs = bench.submit(pool=other), bench.submit()
    assert bench.wait(mine).state == "completed"
    assert bench.run(theirs).state == "scheduled"


def test_a_worker_runs_until_told(bench):

    run, other = bench.submit("echo hello"), bench.submit()
    worker = Worker(bench.store, lambda pool: bench.platform, build_job, pool=bench.pool, only=run.id)
    worker.run(until=lambda: (found := bench.run(run)).ended and found.worker_id is None)
    assert bench.run(run).state == "completed"
    assert bench.run(other).state == "scheduled"


def test_jobs_go_on_when_a_worker_stops_and_the_next_one_takes_them_over_at_once(bench):
    bench.work(lease=60)
    run = bench.submit(STARTED + "echo one; sleep 1; echo two")
    bench.wait(run, state="running")
    bench.stop()
    bench.work(lease=60)
    run = bench.wait(run, seconds=5)
    assert (run.state, lines(bench, run)) == ("completed", [(1, "one"), (1, "two")])


def test_a_pool_whose_launcher_cannot_be_made_waits_without_harm(bench):
    broken = [PoolformError("the credentials cannot be read.")]

    def launchers(pool):
        if broken:
            raise broken.pop()
        return bench.platform

    bench.work(launchers=launchers)
    assert bench.wait(bench.submit()).state == "completed"
    assert bench.troubles[0].startswith("the credentials cannot be read. Trying again in")


@pytest.mark.slow
def test_new_work_is_noticed_within_30_ms_and_an_idle_worker_rests(bench):
    bench.work()
    bench.wait(bench.submit())
    time.sleep(0.3)
    before = resource.getrusage(resource.RUSAGE_SELF)
    time.sleep(2)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 2 < 0.02
    noticed = []
    for _ in range(9):
        run = bench.wait(bench.submit())
        noticed.append(run.claimed_at - run.created_at)
        time.sleep(0.05)
    assert sorted(noticed)[4] < 0.03


def test_a_run_in_progress_outlives_a_pool_that_no_launcher_can_be_made_for(bench):
    def launchers(pool):
        if pool.variables:
            raise PoolformError("the credentials cannot be read.")
        return bench.platform

    bench.work(launchers=launchers)
    run = bench.submit(STARTED + "sleep 0.5; echo hello")
    bench.wait(run, state="running")
    bench.change_pool(variables={"changed": True})
    waiting = bench.submit()
    run = bench.wait(run)
    assert (run.state, lines(bench, run)) == ("completed", [(1, "hello")])
    assert bench.run(waiting).state == "scheduled"
    assert len(bench.troubles) == 1, "said once, however often it was tried"
    bench.change_pool(variables={})
    assert bench.wait(waiting).state == "completed"


def test_a_run_in_progress_ends_though_its_pool_is_changed_meanwhile(bench):
    """On a platform that has to be asked: a new launcher's jobs are not new, and nothing else would ask about them."""
    bench.change_pool(concurrency_limit=1)
    bench.work(launchers=lambda pool: Platform(bench.folder / "jobs"))
    run = bench.submit(STARTED + "sleep 1")
    bench.wait(run, state="running")
    time.sleep(0.3)  # it has been polled by now
    bench.change_pool(name="renamed")
    waiting = bench.submit()  # has the supervisor look at the pool anew, and no place
    assert [ended.state for ended in bench.wait(run, waiting)] == ["completed", "completed"]


def test_threads_that_leave_take_their_connections_with_them(bench):
    """A supervisor's is closed with it; the store keeps none for threads that are gone."""
    bench.work()
    bench.wait(bench.submit())
    bench.stop()
    assert len(bench.store._sessions) <= 2  # this thread's and the worker's own
