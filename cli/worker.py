"""`poolform worker`: a dispatching process, for one pool or for all."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack, suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poolform.cli.completion import pool_names
from poolform.cli.session import Session
from poolform.cli.view import Format, Output, iso, say, show_json, table, when
from poolform.core.errors import counted

if TYPE_CHECKING:
    from poolform.core.dispatch.worker import Worker
    from poolform.core.store.pools import WorkPool

_PATIENCE = 3.0  # seconds that a stopping worker waits for its platforms' answers, whatever it hears

app = typer.Typer(
    help="Workers: processes that launch runs and look after them.", no_args_is_help=True, add_completion=False
)


@app.command("start")
def start(
    ctx: typer.Context,
    pool: Annotated[
        str | None, typer.Option("--pool", "-p", help="Only for this work pool.", autocompletion=pool_names)
    ] = None,
    name: Annotated[str | None, typer.Option("--name", "-n", help="What the worker is called.")] = None,
    *,
    limit: Annotated[
        int | None, typer.Option("--limit", "-l", min=1, help="Most runs that it has in progress at a time.")
    ] = None,
    drain: Annotated[
        float,
        typer.Option(
            "--drain",
            metavar="SECONDS",
            min=0,
            help="Once asked to stop, take no more runs and wait so long for its own to end; then hand them over.",
        ),
    ] = 0,
    lease: Annotated[
        float,
        typer.Option(
            "--lease", metavar="SECONDS", min=1, max=86_400, help="How long after its death others take its runs over."
        ),
    ] = 15,
    health_port: Annotated[
        int | None,
        typer.Option("--health-port", min=0, max=65535, help="Answer GET /health there; 0 takes any free port."),
    ] = None,
    health_host: Annotated[
        str, typer.Option("--health-host", help="Address of this machine to answer at; only itself if not given.")
    ] = "127.0.0.1",
) -> None:
    """Launch runs and look after them until stopped. Stopping it harms no run: the next worker takes over.

    Ctrl-C and SIGTERM stop it, at once or after --drain; a second one does so at once, also where a platform does not
    answer.
    """
    from poolform.cli.watching import Printing
    from poolform.core.dispatch import health
    from poolform.core.dispatch.wiring import make_worker
    from poolform.core.runs import durations
    from poolform.core.store import pools

    session = Session.of(ctx)
    only = None
    if pool is not None:
        with session.store.read() as tx:
            only = pools.get(tx, pool)
    retention = session.settings.retention
    keep = durations.seconds(retention, of="POOLFORM_RETENTION") if retention else None
    options: dict[str, Any] = {"pool": only, "name": name, "lease": lease, "limit": limit}
    worker = make_worker(session.store, session.plugins, session.blocks, Printing(), keep=keep, **options)
    with ExitStack() as stack:
        if health_port is not None:
            port = stack.enter_context(health.served(worker, health_host, health_port))
            say(f"Its health is at http://{health_host}:{port}/health")
        what = f"the work pool {pool}" if pool else "all work pools"
        say(f"Worker {worker.name} started for {what}. Ctrl-C stops it.")
        if only is not None:
            _say_what_is_missing(only)
        left = _until_stopped(worker, drain)
    if left:
        say("Worker stopped. Jobs that run go on; the next worker takes them over.")
    else:
        say("Worker stopped. No job of its own is left.")


@app.command("ls")
def ls(ctx: typer.Context, output: Output = Format.text) -> None:
    """List the workers that are alive."""
    from poolform.core.store import pools, workers

    with Session.of(ctx).store.read() as tx:
        names = {pool.id: pool.name for pool in pools.list_all(tx)}
        alive = workers.live(tx)
    if output is Format.json:
        show_json(
            [
                {
                    "name": w.name,
                    "pool": names.get(w.pool_id) if w.pool_id else None,
                    "host": w.host,
                    "pid": w.pid,
                    "started_at": iso(w.started_at),
                    "heartbeat_at": iso(w.heartbeat_at),
                }
                for w in alive
            ]
        )
        return
    rows = [(w.name, names.get(w.pool_id) if w.pool_id else "all", w.host, w.pid, when(w.heartbeat_at)) for w in alive]
    table(("NAME", "POOL", "HOST", "PROCESS", "HEARTBEAT"), rows, empty="No worker is running: poolform worker start")


def _say_what_is_missing(pool: WorkPool) -> None:
    """Say what keeps a pool from running anything, though there is a worker now."""
    from poolform.core.errors import NotReady
    from poolform.core.runs.deployments import check_ready

    try:
        check_ready(pool)
    except NotReady as exc:
        say(f"{exc.message} {exc.hint}", "yellow")


def _until_stopped(worker: Worker, drain: float) -> int:
    """Run the worker until a signal, and then for as long as it drains; return how many runs it hands over.

    It has a thread of its own, so that a signal handler never runs in the middle of its work.
    """
    # A handler may put there whatever it interrupts; one that sets an Event waits for ever for the lock of who waits.
    heard: SimpleQueue[None] = SimpleQueue()

    def hear(_signum: int, _frame: object) -> None:
        heard.put(None)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, hear)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            worker.run()
        except BaseException as exc:  # noqa: BLE001 - raised again by whoever waits
            failures.append(exc)
        finally:
            heard.put(None)
            heard.put(None)

    thread = threading.Thread(target=work, name="worker")
    thread.start()
    heard.get()
    if drain and thread.is_alive():
        worker.drain()
        if held := len(worker.status().held):
            say(f"Takes no more runs, and waits up to {drain:g} s for {counted(held, 'run')}. Ctrl-C stops it now.")
        with suppress(Empty):
            heard.get(timeout=drain)
    left = len(worker.status().held)
    worker.stop()
    thread.join(_PATIENCE)
    if thread.is_alive():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        say("A platform does not answer. Ctrl-C ends the worker all the same: its runs are taken over later.", "yellow")
    thread.join()
    if failures:
        raise failures[0]
    return left
