"""`poolform worker`: a dispatching process, for one pool or for all."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from poolform.cli.session import Session
from poolform.cli.view import Format, Output, iso, say, show_json, table, when

if TYPE_CHECKING:
    from poolform.core.dispatch.worker import Worker

app = typer.Typer(
    help="Workers: processes that launch runs and look after them.", no_args_is_help=True, add_completion=False
)


@app.command("start")
def start(
    ctx: typer.Context,
    pool: Annotated[str | None, typer.Option("--pool", "-p", help="Only for this work pool.")] = None,
    name: Annotated[str | None, typer.Option("--name", "-n", help="What the worker is called.")] = None,
) -> None:
    """Launch runs and look after them until stopped. Stopping it harms no run: the next worker takes over."""
    from poolform.cli.watching import Printing
    from poolform.core.dispatch.wiring import make_worker
    from poolform.core.store import pools

    session = Session.of(ctx)
    only = None
    if pool is not None:
        with session.store.read() as tx:
            only = pools.get(tx, pool)
    worker = make_worker(session.store, session.plugins, session.blocks, Printing(), pool=only, name=name)
    say(f"Worker {worker.name} started for {f'the work pool {pool}' if pool else 'all work pools'}. Ctrl-C stops it.")
    _until_stopped(worker)
    say("Worker stopped. Jobs that run go on; the next worker takes them over.")


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


def _until_stopped(worker: Worker) -> None:
    """Run the worker in a thread, so that a signal handler never runs in the middle of its work."""
    stopped = threading.Event()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _signum, _frame: stopped.set())
    failures: list[BaseException] = []

    def work() -> None:
        try:
            worker.run()
        except BaseException as exc:  # noqa: BLE001 - raised again by whoever waits
            failures.append(exc)
        finally:
            stopped.set()

    thread = threading.Thread(target=work, name="worker")
    thread.start()
    stopped.wait()
    worker.stop()
    thread.join()
    if failures:
        raise failures[0]
