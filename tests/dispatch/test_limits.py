"""Limits hold whatever happens, and whatever happens frees the slot: checked from what the jobs themselves write."""

from __future__ import annotations

import threading
import time

import pytest
from dispatch_stand_in import Notifying, build_job

from poolform.core.dispatch import following
from poolform.core.dispatch.claim import claim
from poolform.core.errors import PoolformError
from poolform.core.runs.launchers import LaunchRefused, NoCapacity
from poolform.core.store import pools, runs, slots, workers
from poolform.core.store.database import open_store

STARTED = """echo 'poolform: {"event":"started"}'; """


class Trace:
    """What jobs wrote: `start NAME` and `end NAME`, in the order in which it happened."""

    def __init__(self, folder):
        self.path = folder / "trace"

    def script(self, name, then="sleep 0.05"):
        traps = f"trap 'echo end {name} >> {self.path}' EXIT; trap 'exit 143' TERM"
        return f"{STARTED}echo start {name} >> {self.path}; {traps}; {then}"

    @property
    def events(self):
        return [tuple(line.split()) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    @property
    def started(self):
        return [name for event, name in self.events if event == "start"]

    @property
    def most_at_once(self):
        most = now = 0
        for event, _ in self.events:
            now += 1 if event == "start" else -1
            most = max(most, now)
        return most


@pytest.fixture
def trace(tmp_path):
    return Trace(tmp_path)


class Refusing(Notifying):
    """Refuses the first launch with what it is given."""

    def __init__(self, folder, error):
        super().__init__(folder)
        self.error = error

    def launch(self, job):
        error, self.error = self.error, None
        if error is not None:
            raise error
        return super().launch(job)


class Losing(Notifying):
    """Its first job is gone without a trace."""

    def __init__(self, folder):
        super().__init__(folder)
        self.lost = None

    def poll(self, handles):
        self.lost = self.lost or next(iter(handles), None)
        return {handle: status for handle, status in super().poll(handles).items() if handle != self.lost}

    def logs(self, handle, cursor):
        page = super().logs(handle, cursor)
        return page if handle != self.lost else type(page)((), cursor, done=True)


def broken_once():
    broken = [PoolformError("there is no such image")]

    def build(pool, deployment, run):
        if broken:
            raise broken.pop()
        return build_job(pool, deployment, run)

    return build


ENDINGS = {
    # how: (state in which the first run has let its slot go, its script, more of it, how the worker is made)
    "completed": ("completed", "true", {}, {}),
    "failed": ("failed", "exit 1", {}, {}),
    "crashed": ("crashed", "exit 70", {}, {}),
    "killed": ("crashed", "kill -9 $$", {}, {}),
    "timed out": ("failed", "sleep 9 & wait", {"timeout_seconds": 0.2}, {}),
    "cancelled": ("cancelled", "sleep 9 & wait", {}, {}),
    "waits for its retry": ("scheduled", "exit 1", {"retries": 1, "retry_delay_seconds": 3600}, {}),
    "refused": ("crashed", "true", {}, {"platform": lambda folder: Refusing(folder, LaunchRefused("no such image"))}),
    "mistake": ("crashed", "true", {}, {"platform": lambda folder: Refusing(folder, TypeError("oops"))}),
    "no capacity": ("completed", "true", {}, {"platform": lambda folder: Refusing(folder, NoCapacity("full"))}),
    "not built": ("crashed", "true", {}, {"build_job": broken_once}),
    "gone": ("crashed", "sleep 0.2", {}, {"platform": Losing}),
}


@pytest.mark.parametrize("how", ENDINGS)
def test_every_ending_frees_the_slot(bench, trace, monkeypatch, how):
    monkeypatch.setattr(following, "TIMEOUT_GRACE", 0.2)
    state, script, more, made = ENDINGS[how]
    narrow = bench.make_queue("narrow", concurrency_limit=1)
    bench.change_pool(concurrency_limit=1)
    deployment = bench.deploy(concurrency_limit=1)
    first = bench.submit(trace.script("first", script), deployment=deployment, queue_id=narrow.id, **more)
    platform = made["platform"](bench.folder / "jobs") if "platform" in made else None
    bench.work(platform, **({"build_job": made["build_job"]()} if "build_job" in made else {}))
    if how == "cancelled":
        bench.wait(first, state="running")
        bench.cancel(first)
    if how != "no capacity":  # which is tried again by itself
        bench.wait(first, state=state)
    second = bench.submit(trace.script("second"), deployment=deployment, queue_id=narrow.id)
    assert bench.wait(second).state == "completed"
    bench.wait(first, state=state)
    bench.stop()
    if how not in ("gone", "killed"):  # these jobs cannot say that they ended
        assert trace.most_at_once == 1
    with bench.store.read() as tx:
        assert slots.taken(tx, bench.pool.id) == []


def test_a_dead_worker_s_slot_is_taken_over_with_its_run(bench, trace):
    bench.change_pool(concurrency_limit=1)
    first = bench.submit(trace.script("first"))
    second = bench.submit(trace.script("second"))
    with bench.store.write() as tx:
        assert [run.id for run in claim(tx, bench.pool.id, "dead", lease=0.5, most=5).runs] == [first.id]
    with bench.store.read() as tx:
        (slot,) = slots.taken(tx, bench.pool.id)
        assert (slot.run_id, slot.state, slot.worker) == (first.id, "pending", None)
        assert slots.waiting(tx, bench.pool.id) == 1
    bench.work()
    bench.wait(first, second)
    assert trace.started == ["first", "second"]
    assert trace.most_at_once == 1


@pytest.mark.parametrize("alive", [True, False])
def test_a_killed_worker_is_gone_from_its_slot(bench, alive):
    bench.submit()
    with bench.store.write() as tx:
        now = tx.now()
        workers.save(tx, workers.Worker("w", "mine", None, "here", 1, now - 9, now - 9, now + (9 if alive else -1)))
        claim(tx, bench.pool.id, "w", lease=10, most=1)
    with bench.store.read() as tx:
        (slot,) = slots.taken(tx, bench.pool.id)
    assert slot.worker == ("mine" if alive else None)


def test_order_is_strict_under_contention(bench, store_url, trace):
    """Four workers, one slot: by priority, then by the time due, then as they were submitted."""
    bench.change_pool(concurrency_limit=1, paused=True)
    lanes = [bench.make_queue(f"lane-{n}", priority=n) for n in (3, 2, 1)]
    wanted = []
    for lane in lanes:
        names = [f"{lane.name}.{due}.{n}" for due in (2, 1) for n in range(3)]
        for name in names:
            bench.submit(trace.script(name, "true"), queue_id=lane.id, scheduled_at=float(name.split(".")[1]))
        wanted = [*sorted(names), *wanted]
    stores = [open_store(store_url) for _ in range(4)]
    for store in stores:
        bench.store, kept = store, bench.store
        bench.work()
        bench.store = kept
    bench.change_pool(paused=False)
    deadline = time.monotonic() + 30
    while len(trace.events) < 2 * len(wanted):
        assert time.monotonic() < deadline, trace.events
        time.sleep(0.05)
    bench.stop()
    for store in stores:
        store.close()
    assert trace.started == wanted
    assert trace.most_at_once == 1


def test_a_full_deployment_cancels_what_is_new_however_many_claim(bench, store_url):
    narrow = bench.deploy("narrow", concurrency_limit=2, collision="cancel-new")
    made = [bench.submit(deployment=narrow, scheduled_at=n) for n in range(12)]
    got = []

    def worker(name):
        with open_store(store_url) as store, store.write() as tx:
            got.append(claim(tx, bench.pool.id, name, lease=10, most=1))

    threads = [threading.Thread(target=worker, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(run.id for one in got for run in one.runs) == sorted(run.id for run in made[:2])
    assert sorted(run for one in got for run in one.cancelled) == sorted(run.id for run in made[2:])
    with bench.store.read() as tx:
        states = [change.reason for change in runs.states(tx, made[5].id)]
    assert states[-1] == "its deployment's limit of 2 runs was reached"


def test_what_waits_for_a_full_deployment_is_launched_in_order(bench, trace):
    narrow = bench.deploy("narrow", concurrency_limit=2)
    names = [f"{n:02}" for n in range(8)]
    made = [bench.submit(trace.script(name), deployment=narrow) for name in names]
    bench.work()
    bench.wait(*made)
    assert sorted(trace.started) == names
    assert trace.most_at_once <= 2
    with bench.store.read() as tx:
        found = [runs.get(tx, run.id) for run in made]
    assert [run.id for run in sorted(found, key=lambda run: (run.claimed_at, run.scheduled_at))] == [
        run.id for run in made
    ]


def test_slots_are_told_apart_by_queue(bench):
    side = bench.make_queue("side", concurrency_limit=1)
    bench.submit(queue_id=side.id, scheduled_at=1)
    bench.submit(queue_id=side.id, scheduled_at=2)
    bench.submit(scheduled_at=3)
    with bench.store.write() as tx:
        claim(tx, bench.pool.id, "w", lease=10, most=5)
    with bench.store.read() as tx:
        pool = pools.by_id(tx, bench.pool.id)
        assert [slot.queue for slot in slots.taken(tx, pool.id)] == ["side", "default"]
        assert [slot.queue for slot in slots.taken(tx, pool.id, queue_id=side.id)] == ["side"]
        assert (slots.waiting(tx, pool.id), slots.waiting(tx, pool.id, queue_id=side.id)) == (1, 1)
