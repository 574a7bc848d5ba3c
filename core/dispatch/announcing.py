"""Announcing: plugins hear of every state that a run comes into, at least once and in order, whatever dies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolform.core.clock import clock
from poolform.core.dispatch.companions import Companion
from poolform.core.dispatch.tasks import Backoff, Listener
from poolform.core.errors import PluginError
from poolform.core.store import news
from poolform.core.store.names import new_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolform.core.plugins import Plugins
    from poolform.core.pools.catalogue import Plugin
    from poolform.core.store.database import Store
    from poolform.core.store.news import News
    from poolform.core.store.runs import FlowRun

HOOK = "poolform_run_changed"
_LOOK = 2.0  # seconds between two looks for news that nobody rang for: what a command line did, or another worker
_LEASE = 20.0  # seconds that a worker tells a plugin's news, unless it goes on
_PASS = 8.0  # seconds after which it says that it goes on
_MOST = 200  # news that are read at a time
_ENOUGH = 5  # runs whose news a plugin did not take, after which it is left alone for a while
_LONGEST = 300.0  # seconds between two tries at most
_SEEN = 3600.0  # seconds after which it is said again that a plugin listens
_FAREWELL = 5.0  # seconds at the end for what is left


class Announcer(Companion):
    """Tells plugins their news. What one does not take (it raises) is told again later, and after days given up.

    A run's later news wait for its earlier ones; other runs' do not. `lasting`: news is kept for the plugins while no
    worker that has loaded them is there.
    """

    def __init__(self, store: Store[Any], plugins: Plugins, listener: Listener, *, lasting: bool = True) -> None:
        super().__init__(store, listener, "announcing")
        self._plugins, self._owner = plugins, new_id()
        self._lasting = lasting
        self._hearing = {about: Backoff(_LONGEST) for about in plugins.hearing(HOOK)}
        self._new: list[str] = []
        self._seen = clock()

    def start(self) -> None:
        """Begin; what happens from now on is heard. Raises StoreError."""
        self._new = self._subscribe()
        super().start()

    def turn(self) -> float:
        """Tell what there is to tell."""
        if clock() - self._seen > _SEEN:
            self._subscribe()
        pauses = [self._tell(about, backoff, _PASS) for about, backoff in self._hearing.items()]
        return min([_LOOK, *pauses])

    def finish(self) -> None:
        """Tell what is left, as far as there is time; the next worker tells the rest."""
        for about, backoff in self._hearing.items():
            self._tell(about, backoff, _FAREWELL)
        with self.store.write(notify=False) as tx:
            news.disown(tx, self._owner)
            for name in () if self._lasting else self._new:
                news.unsubscribe(tx, name)

    def _subscribe(self) -> list[str]:
        """Say that the plugins listen, and return those that are new."""
        with self.store.write(notify=False) as tx:
            new = [about.name for about in self._hearing if news.subscribe(tx, about.name)]
        self._seen = clock()
        return new

    def _tell(self, about: Plugin, backoff: Backoff, seconds: float) -> float:
        """Tell a plugin some of its news; return in how many seconds to go on."""
        if backoff.waiting:
            return max(0.05, backoff.until - clock())
        with self.store.read() as tx:
            if not news.waiting(tx, about.name):
                return _LOOK
        with self.store.write(notify=False) as tx:
            if not news.own(tx, about.name, self._owner, lease=_LEASE):
                return _LOOK
            found, now = news.oldest(tx, about.name, most=_MOST), tx.now()
        failed = self._pass(about, found, clock() + seconds, now)
        if failed:
            backoff.fail()
        elif found:
            backoff.succeed()
        return 0.0 if len(found) == _MOST and not failed else _LOOK

    def _pass(self, about: Plugin, found: Sequence[tuple[News, FlowRun]], until: float, now: float) -> bool:
        """Tell these, one after the other; say whether the plugin did not take some."""
        done: list[int] = []
        failed: set[str] = set()
        saved = clock()
        try:
            for one, run in found:
                if one.run_id in failed:
                    continue
                if len(failed) == _ENOUGH or clock() > until:
                    break
                try:
                    self._plugins.ask(about, HOOK, run=run)
                except PluginError as exc:
                    given_up = now - one.at > news.KEEP
                    if given_up or not failed:
                        self._complain(run, exc, given_up=given_up)
                    if not given_up:
                        failed.add(one.run_id)
                        continue
                done.append(one.id)
                if clock() - saved > 0.25:
                    self._save(done)
                    done, saved = [], clock()
        finally:
            self._save(done)
        return bool(failed)

    def _complain(self, run: FlowRun, exc: PluginError, *, given_up: bool) -> None:
        """Say what a plugin did not take."""
        then = "it is given up" if given_up else "it is told again later"
        self.listener.trouble(run.pool or "", f"{exc.message} That {run.name} is {run.state} was not heard; {then}.")

    def _save(self, done: Sequence[int]) -> None:
        if done:
            with self.store.write(notify=False) as tx:
                news.told(tx, done)


class Ringing(Listener):
    """Has news told at once, and passes all on to another listener."""

    def __init__(self, announcer: Announcer, then: Listener) -> None:
        self._announcer, self._then = announcer, then

    def run_changed(self, run: FlowRun) -> None:
        """Ring."""
        self._announcer.ring()
        self._then.run_changed(run)

    def printed(self, run: FlowRun, lines: Sequence[str]) -> None:
        """Pass it on."""
        self._then.printed(run, lines)

    def trouble(self, pool: str, message: str) -> None:
        """Pass it on."""
        self._then.trouble(pool, message)
