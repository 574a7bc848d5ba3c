"""Plugins hear of every state that a run comes into: at least once, in order, whoever dies and whatever fails."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from poolform.core.dispatch import announcing
from poolform.core.dispatch.announcing import Announcer, Ringing
from poolform.core.dispatch.cleaning import Cleaner
from poolform.core.dispatch.tasks import Listener
from poolform.core.plugins import Plugin, Plugins, hookimpl
from poolform.core.store import news, runs

DEAF = Path(__file__).with_name("deaf.py")


class Hearer:
    """A plugin that notes what it hears; `fails` says what it does not take."""

    def __init__(self, fails=lambda run: False):
        self.heard, self.fails, self.asked = [], fails, 0

    @hookimpl
    def poolform_run_changed(self, run):
        self.asked += 1
        if self.fails(run):
            raise ConnectionError("nobody answers")
        self.heard.append((run.id, run.state, run.attempt))

    def states(self, run):
        return [state for run_id, state, _ in self.heard if run_id == run.id]


class Hearing(Listener):
    def __init__(self):
        self.troubles = []

    def trouble(self, pool, message):
        self.troubles.append(message)


def loaded(**named):
    plugins = Plugins()
    for name, plugin in named.items():
        plugins.register(plugin, Plugin(name, name, "1"))
    assert plugins.problems == ()
    return plugins


def work(bench, listener=None, *, lasting=True, **named):
    listener = listener or Hearing()
    announcer = Announcer(bench.store, loaded(**named), listener, lasting=lasting)
    bench.work(companions=[announcer], listener=Ringing(announcer, listener))
    bench.wait_for(lambda: subscribers(bench) >= set(named))
    return listener


@pytest.fixture
def bench(bench, monkeypatch):
    monkeypatch.setattr(announcing, "_LOOK", 0.1)

    def wait_for(said, seconds=15):
        deadline = time.monotonic() + seconds
        while not said():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    bench.wait_for = wait_for
    return bench


def subscribers(bench):
    with bench.store.read() as tx:
        return {row["plugin"] for row in tx.execute("SELECT plugin FROM subscribers")}


def waiting(bench):
    with bench.store.read() as tx:
        return [(row["plugin"], row["state"]) for row in tx.execute("SELECT plugin, state FROM news ORDER BY id")]


def test_every_state_is_heard_in_order_and_once_where_nothing_fails(bench):
    one, other = Hearer(), Hearer()
    work(bench, one=one, other=other)
    made = [bench.submit("test $ATTEMPT = 2", retries=1) for _ in range(10)]
    made = bench.wait(*made)
    bench.wait_for(lambda: waiting(bench) == [])
    for hearer in (one, other):
        for run in made:
            assert hearer.states(run) == bench.states(run)
            assert [attempt for run_id, _, attempt in hearer.heard if run_id == run.id] == sorted(
                attempt for run_id, _, attempt in hearer.heard if run_id == run.id
            )
        assert max(Counter(hearer.heard).values()) == 1


@pytest.mark.slow
def test_what_was_not_taken_is_told_again_and_holds_up_only_its_own_run(bench):
    stubborn = []
    hearer = Hearer(fails=lambda run: run.id in stubborn)
    listener = work(bench, hearer=hearer)
    first = bench.submit("sleep 0.5")
    stubborn.append(first.id)
    second = bench.submit()
    bench.wait(first, second)
    bench.wait_for(lambda: hearer.states(second) == bench.states(second))
    assert hearer.states(first) in ([], ["scheduled"])  # it may have been heard before it was stubborn
    stubborn.clear()
    bench.wait_for(lambda: hearer.states(first) == bench.states(first))
    assert any(
        message.startswith("plugin hearer (hearer 1): poolform_run_changed failed: ConnectionError: nobody answers. ")
        and message.endswith("was not heard; it is told again later.")
        for message in listener.troubles
    )


@pytest.mark.slow
def test_an_outage_is_asked_ever_more_rarely(bench):
    down = [True]
    hearer = Hearer(fails=lambda run: bool(down))
    work(bench, hearer=hearer)
    made = [bench.submit() for _ in range(30)]
    bench.wait(*made)
    time.sleep(2)
    assert hearer.asked <= 25  # 120 states and more are waiting: it is tried five at a time
    down.clear()
    bench.wait_for(lambda: waiting(bench) == [])
    assert all(hearer.states(run) == bench.states(run) for run in made)


def test_what_a_command_line_changes_is_heard_too(bench):
    hearer = Hearer()
    work(bench, hearer=hearer)
    run = bench.submit(scheduled_at=time.time() + 3600)
    bench.cancel(run)
    bench.wait_for(lambda: hearer.states(run) == ["scheduled", "cancelled"])


def test_news_wait_for_the_next_worker(bench):
    down = [True]
    hearer = Hearer(fails=lambda run: bool(down))
    work(bench, hearer=hearer)
    run = bench.wait(bench.submit())
    bench.stop()
    cancelled = bench.submit()
    bench.cancel(cancelled)  # while no worker is there
    down.clear()
    work(bench, hearer=hearer)
    bench.wait_for(lambda: hearer.states(run) == bench.states(run))
    bench.wait_for(lambda: hearer.states(cancelled) == ["scheduled", "cancelled"])


@pytest.mark.slow
def test_a_worker_killed_while_it_tells_is_survived(bench, store_url, tmp_path):
    dying = subprocess.Popen([sys.executable, str(DEAF), store_url, str(tmp_path)])
    bench.wait_for(lambda: subscribers(bench) == {"hearer"})
    run = bench.submit()
    assert dying.wait(20) == -signal.SIGKILL
    hearer = Hearer()
    with bench.store.write() as tx:
        tx.execute("UPDATE subscribers SET until = 1")  # its lease has run out
    work(bench, hearer=hearer)
    bench.wait(run)
    bench.wait_for(lambda: waiting(bench) == [])
    before = (tmp_path / "heard").read_text().split()
    assert (before[-1], "submitted" in hearer.states(run)) == ("submitted", True)  # it died of it, and it is told again
    assert list(dict.fromkeys([*before, *hearer.states(run)])) == bench.states(run)


@pytest.mark.slow
def test_one_worker_at_a_time_tells(bench):
    hearer, lock, most = Hearer(), threading.Lock(), []

    def slow(run):
        most.append(lock.acquire(blocking=False))
        time.sleep(0.01)
        if most[-1]:
            lock.release()
        return False

    hearer.fails = slow
    for _ in range(3):
        work(bench, hearer=hearer)
    made = [bench.submit() for _ in range(20)]
    bench.wait(*made)
    bench.wait_for(lambda: waiting(bench) == [])
    bench.stop()
    assert all(most)
    assert all(hearer.states(run) == bench.states(run) for run in made)


def test_who_dispatches_one_run_only_leaves_no_subscription(bench):
    hearer = Hearer()
    work(bench, hearer=hearer, lasting=False)
    run = bench.wait(bench.submit())
    bench.stop()
    assert hearer.states(run)[-1] == "completed"
    assert (subscribers(bench), waiting(bench)) == (set(), [])


def test_nothing_is_kept_where_nobody_listens(bench):
    bench.work()
    bench.wait(bench.submit())
    assert waiting(bench) == []


def test_news_are_given_up_after_days_and_plugins_that_nobody_loads_are_forgotten(bench):
    listener = work(bench, hearer=Hearer(fails=lambda run: True))
    run = bench.submit(scheduled_at=time.time() + 3600)
    with bench.store.write() as tx:
        tx.execute("UPDATE news SET at = at - :long", {"long": news.KEEP})
    bench.wait_for(lambda: waiting(bench) == [])
    assert any(message.endswith("is scheduled was not heard; it is given up.") for message in listener.troubles)
    bench.stop()
    bench.cancel(run)
    assert waiting(bench) == [("hearer", "cancelled")]
    with bench.store.write() as tx:
        tx.execute("UPDATE subscribers SET seen_at = seen_at - :long", {"long": news.KEEP + 60})
    bench.work(companions=[Cleaner(bench.store, Listener(), keep=None)])
    bench.wait_for(lambda: (subscribers(bench), waiting(bench)) == (set(), []))


def test_a_deleted_run_has_no_news(bench):
    with bench.store.write() as tx:
        news.subscribe(tx, "hearer")
    run = bench.submit(scheduled_at=time.time() + 3600)
    bench.cancel(run)
    assert len(waiting(bench)) == 2
    with bench.store.write() as tx:
        runs.delete(tx, run.id)
    assert waiting(bench) == []
