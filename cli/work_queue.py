"""`poolform work-queue`: lanes in a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from poolform.cli.completion import pool_names, queue_names
from poolform.cli.session import Session
from poolform.cli.view import Format, Output, fields, say, show_json, table

if TYPE_CHECKING:
    from poolform.core.store.queues import WorkQueue

app = typer.Typer(
    help="Work queues: lanes in a pool, with priorities and limits.", no_args_is_help=True, add_completion=False
)

Name = Annotated[str, typer.Argument(help="Name of the work queue.", show_default=False, autocompletion=queue_names)]
Pool = Annotated[
    str, typer.Option("--pool", "-p", help="Name of its work pool.", show_default=False, autocompletion=pool_names)
]
Priority = Annotated[int, typer.Option("--priority", "-q", min=1, help="1 goes first.")]


@app.command("create")
def create(
    ctx: typer.Context,
    name: Name,
    pool: Pool,
    *,
    priority: Priority = 1,
    limit: Annotated[
        int | None, typer.Option("--concurrency-limit", "--limit", "-l", min=0, help="Most runs at a time.")
    ] = None,
) -> None:
    """Create a work queue in a pool."""
    from poolform.core.store import pools, queues

    with Session.of(ctx).store.write() as tx:
        queues.create(tx, pools.get(tx, pool).id, name, priority=priority, concurrency_limit=limit)
    say(f"Created the work queue {name} in {pool}.")


@app.command("ls")
def ls(
    ctx: typer.Context,
    pool: Annotated[
        str | None, typer.Option("--pool", "-p", help="Only those of this pool.", autocompletion=pool_names)
    ] = None,
    output: Output = Format.text,
) -> None:
    """List work queues, those that go first at the top."""
    from poolform.core.store import pools, queues

    with Session.of(ctx).store.read() as tx:
        names = {found.id: found.name for found in pools.list_all(tx)}
        every = queues.list_all(tx, pools.get(tx, pool).id if pool else None)
    if output is Format.json:
        show_json([_json(queue, names[queue.pool_id]) for queue in every])
        return
    rows = [(names[q.pool_id], q.name, q.priority, q.concurrency_limit, _state(q)) for q in every]
    table(("POOL", "QUEUE", "PRIORITY", "LIMIT", "STATE"), rows, empty="There are no work queues.")


@app.command("inspect")
def inspect(ctx: typer.Context, name: Name, pool: Pool, output: Output = Format.text) -> None:
    """Show a work queue."""
    from poolform.core.store import pools, queues

    with Session.of(ctx).store.read() as tx:
        queue = queues.get(tx, pools.get(tx, pool).id, name)
    values = _json(queue, pool)
    (show_json if output is Format.json else fields)(values)


@app.command("set-priority")
def set_priority(
    ctx: typer.Context, name: Name, priority: Annotated[int, typer.Argument(min=1, help="1 goes first.")], pool: Pool
) -> None:
    """Change which queue goes first."""
    _update(ctx, name, pool, priority=priority)
    say(f"The work queue {name} of {pool} has priority {priority} now.")


@app.command("set-concurrency-limit")
def set_concurrency_limit(
    ctx: typer.Context,
    name: Name,
    limit: Annotated[int, typer.Argument(min=0, help="Most runs at a time.")],
    pool: Pool,
) -> None:
    """Let at most LIMIT runs of a queue be in progress at a time."""
    _update(ctx, name, pool, concurrency_limit=limit)
    say(f"The work queue {name} of {pool} now runs at most {limit} at a time.")


@app.command("clear-concurrency-limit")
def clear_concurrency_limit(ctx: typer.Context, name: Name, pool: Pool) -> None:
    """Let any number of runs of a queue be in progress."""
    _update(ctx, name, pool, concurrency_limit=None)
    say(f"The work queue {name} of {pool} has no limit now.")


@app.command("slots")
def slots(ctx: typer.Context, name: Name, pool: Pool, output: Output = Format.text) -> None:
    """Show which runs take the slots of a queue: since when, and which worker looks after them."""
    from poolform.cli.slots import show_slots
    from poolform.core.store import pools, queues
    from poolform.core.store import slots as stored

    with Session.of(ctx).store.read() as tx:
        found = pools.get(tx, pool)
        queue = queues.get(tx, found.id, name)
        taken = stored.taken(tx, found.id, queue_id=queue.id)
        waiting = stored.waiting(tx, found.id, queue_id=queue.id)
    show_slots(name, queue.concurrency_limit, taken, waiting, output)


@app.command("pause")
def pause(ctx: typer.Context, name: Name, pool: Pool) -> None:
    """Stop launching runs of a queue."""
    _update(ctx, name, pool, paused=True)
    say(f"Paused the work queue {name} of {pool}.")


@app.command("resume")
def resume(ctx: typer.Context, name: Name, pool: Pool) -> None:
    """Launch runs of a paused queue again."""
    _update(ctx, name, pool, paused=False)
    say(f"Resumed the work queue {name} of {pool}.")


@app.command("delete")
def delete(
    ctx: typer.Context,
    name: Name,
    pool: Pool,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a work queue; its waiting runs move to the pool's default queue."""
    from poolform.cli.proposal import confirm
    from poolform.core.store import pools, queues

    session = Session.of(ctx)
    with session.store.read() as tx:
        queue = queues.get(tx, pools.get(tx, pool).id, name)
    confirm(f"Delete the work queue {name} of {pool}?", yes=yes)
    with session.store.write() as tx:
        queues.delete(tx, queue)
    say(f"Deleted the work queue {name} of {pool}.")


def _update(ctx: typer.Context, name: str, pool: str, **changes: Any) -> None:
    from poolform.core.store import pools, queues

    with Session.of(ctx).store.write() as tx:
        queues.update(tx, queues.get(tx, pools.get(tx, pool).id, name).id, **changes)


def _state(queue: WorkQueue) -> str:
    return "paused" if queue.paused else "ready"


def _json(queue: WorkQueue, pool: str) -> dict[str, Any]:
    return {
        "name": queue.name,
        "pool": pool,
        "priority": queue.priority,
        "concurrency_limit": queue.concurrency_limit,
        "state": _state(queue),
        "id": queue.id,
    }
