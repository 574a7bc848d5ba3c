"""What a worker needs from the rest of the house: launchers of pools, jobs of runs, a seal for stored secrets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from poolform.core.dispatch.announcing import HOOK, Announcer, Ringing
from poolform.core.dispatch.cleaning import Cleaner
from poolform.core.dispatch.worker import Worker
from poolform.core.errors import NotReady, PluginError
from poolform.core.pools.records import connection_of, credential_of, type_of
from poolform.core.runs.bootstrap import runtime_command
from poolform.core.runs.jobs import build_job
from poolform.core.runs.launchers import Launcher
from poolform.core.runs.supply import Suppliers

if TYPE_CHECKING:
    from collections.abc import Callable

    from poolform.core.blocks import Blocks
    from poolform.core.dispatch.companions import Companion
    from poolform.core.dispatch.tasks import Listener
    from poolform.core.plugins import Plugins
    from poolform.core.pools.catalogue import Registered
    from poolform.core.runs.launchers import Job
    from poolform.core.store.database import Store
    from poolform.core.store.deployments import Deployment
    from poolform.core.store.pools import WorkPool
    from poolform.core.store.runs import FlowRun


class Wiring:
    """Makes launchers and jobs for a worker out of plugins and blocks."""

    def __init__(self, plugins: Plugins, blocks: Blocks) -> None:
        self._plugins = plugins
        self._blocks = blocks
        self._suppliers = Suppliers(plugins, blocks)
        self._launchers: dict[str, Launcher] = {}

    def launcher(self, pool: WorkPool) -> Launcher:
        """Return the launcher of a pool.

        Raises NotFound without its plugin, NotReady without its infrastructure, PluginError where the plugin fails.
        """
        registered = type_of(self._plugins, pool)
        connection = connection_of(pool)
        if connection is None:
            raise NotReady(
                f"The work pool {pool.name} is {pool.state_in_words}, so nothing can run there.",
                hint=f"Provision it: poolform work-pool provision-infra {pool.name}",
            )
        credential = credential_of(pool, self._blocks)
        with registered.acting("launcher"):
            try:
                launcher = registered.pool_type.launcher(connection, credential)
            except TypeError as exc:
                if (unfinished := _unfinished(registered, exc)) is None:
                    raise
                raise unfinished from exc
        if not isinstance(launcher, Launcher):
            text = f"launcher of the pool type {pool.type} returned {launcher!r}, which is not a Launcher."
            raise PluginError(registered.plugin.label, text, hint="Derive its class from poolform.Launcher.")
        self._launchers[pool.id] = launcher
        return launcher

    def job(self, pool: WorkPool, deployment: Deployment | None, run: FlowRun) -> Job:
        """Return the job of a run, with what it needs to fetch its code.

        Raises NotReady when its deployment is gone, InvalidValues as `build_job` does, NotFound for a source's block.
        """
        if deployment is None:
            raise NotReady(f"The deployment of the run {run.name} was deleted, so nothing says where its code is.")
        supply = self._suppliers.supply(deployment.source)
        runtime = runtime_command(self._launchers[pool.id], supply.type)
        return supply.given_to(build_job(pool, deployment, run, runtime=runtime))


def _unfinished(registered: Registered, exc: TypeError) -> PluginError | None:
    """Return the error for a launcher class that lacks methods, which Python says in another way in each version."""
    found = re.search(r"abstract class '?(\w+)'? with", str(exc))
    classes = [Launcher]
    for cls in classes:
        classes += cls.__subclasses__()
        if found and cls.__name__ == found[1] and (missing := sorted(cls.__abstractmethods__)):
            lacks = f"does not have {', '.join(missing[:-1])}{' and ' if missing[1:] else ''}{missing[-1]}"
            name = f"{cls.__module__}.{cls.__qualname__}"
            return PluginError(
                registered.plugin.label,
                f"{name}, the launcher of the pool type {registered.pool_type.slug}, {lacks}.",
                hint=f"Write {'it' if len(missing) == 1 else 'them'}, as poolform.Launcher promises; "
                f"`poolform plugin check {registered.plugin.name}` tries what is there.",
            )
    return None


def make_worker(
    store: Store[Any],
    plugins: Plugins,
    blocks: Blocks,
    listener: Listener,
    *,
    keep: float | None = None,
    wiring: Wiring | None = None,
    launchers: Callable[[WorkPool], Launcher] | None = None,
    **options: Any,
) -> Worker:
    """Return a worker that launches with plugins' launchers; `options` are those of Worker.

    `keep` is how many seconds past runs are kept; for ever where None. `wiring` and `launchers` are for who has them.
    """
    wiring = wiring or Wiring(plugins, blocks)
    companions: list[Companion] = [Cleaner(store, listener, keep=keep)]
    if plugins.hearing(HOOK):
        lasting = options.get("only") is None  # who dispatches one run only is soon gone
        companions.append(announcer := Announcer(store, plugins, listener, lasting=lasting))
        listener = Ringing(announcer, listener)
    launchers = launchers or wiring.launcher
    return Worker(store, launchers, wiring.job, listener=listener, seal=blocks, companions=companions, **options)
