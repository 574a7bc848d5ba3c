"""`poolform work-pool`: pools and their records.

What touches infrastructure is in work_pool_infra.py, what only looks at it in work_pool_look.py, pool types are in
work_pool_types.py.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poolform.cli import work_pool_infra, work_pool_look, work_pool_types
from poolform.cli.completion import pool_types
from poolform.cli.session import Session
from poolform.cli.view import Format, Output, fields, iso, say, show, show_json, table, terminal_width, when
from poolform.cli.work_pool_options import JobTemplate, Limit, Name, as_json
from poolform.cli.work_pool_types import described

if TYPE_CHECKING:
    from poolform.core.store.pools import WorkPool

_ERROR_WIDTH = 120

app = work_pool_infra.app  # its verbs come first: a pool's way begins with them
app.add_typer(work_pool_look.app)
app.add_typer(work_pool_types.app)


@app.command("ls")
def ls(
    ctx: typer.Context,
    type_: Annotated[
        str | None, typer.Option("--type", "-t", help="Only pools of this type.", autocompletion=pool_types)
    ] = None,
    output: Output = Format.text,
) -> None:
    """List work pools."""
    from poolform.core.store import pools

    with Session.of(ctx).store.read() as tx:
        found = pools.list_all(tx, type=type_)
    if output is Format.json:
        show_json([as_json(pool) for pool in found])
        return
    rows = [(p.name, p.type, _state(p), p.concurrency_limit, p.id) for p in found]
    hint = "There are no work pools yet. Make one: poolform work-pool create NAME --type process --provision-infra"
    table(("NAME", "TYPE", "STATE", "LIMIT", "ID"), rows, empty=hint)


@app.command("inspect")
def inspect(ctx: typer.Context, name: Name, output: Output = Format.text) -> None:
    """Show everything about a work pool."""
    pool = _get(ctx, name)
    if output is Format.json:
        show_json(as_json(pool, whole=True))
        return
    fields(
        {
            "name": pool.name,
            "type": f"{pool.type} (revision {pool.revision}, plugin {pool.plugin} {pool.plugin_version})",
            "state": _state(pool),
            "id": pool.id,
            "limit": pool.concurrency_limit,
            "credentials": pool.credential_block or "none stored",
            "images": pool.image_namespace,
            "identity": (pool.identity or {}).get("principal"),
            "account": (pool.identity or {}).get("account"),
            "region": (pool.identity or {}).get("region"),
            "backend": (pool.backend or {}).get("kind", "local"),
            "engine": f"{pool.engine_product} {pool.engine_version}" if pool.engine_product else None,
            "created": when(pool.created_at),
            "updated": when(pool.updated_at),
        }
    )
    for title, values in (("variables", pool.variables), ("connection", (pool.connection or {}).get("settings", {}))):
        show(f"\n{title}")
        fields({f"  {key}": value for key, value in sorted(values.items())})
    show("")
    table(("JOB VARIABLE", "DEFAULT", "MEANING"), described(pool.base_job_template["variables"]), empty="")


@app.command("update")
def update(
    ctx: typer.Context,
    name: Name,
    *,
    base_job_template: JobTemplate = None,
    concurrency_limit: Limit = None,
    rename: Annotated[str | None, typer.Option("--name", help="Give it another name.")] = None,
) -> None:
    """Change a pool's name, limit or base job template; its variables change with provision-infra."""
    from poolform.core.errors import UsageError
    from poolform.core.pools.records import check_rename
    from poolform.core.runs.jobs import load_template

    changes: dict[str, Any] = {}
    if base_job_template is not None:
        changes["base_job_template"] = load_template(base_job_template)
    if concurrency_limit is not None:
        changes["concurrency_limit"] = concurrency_limit
    if rename is not None:
        check_rename(_get(ctx, name), rename)
        changes["name"] = rename
    if not changes:
        raise UsageError(
            "Nothing to update was given.", hint="Give --name, --concurrency-limit or --base-job-template."
        )
    _update(ctx, name, **changes)
    say(f"Updated the work pool {rename or name}.")


@app.command("pause")
def pause(ctx: typer.Context, name: Name) -> None:
    """Stop launching runs in a pool; those that run go on."""
    _update(ctx, name, paused=True)
    say(f"Paused the work pool {name}. Resume it: poolform work-pool resume {name}")


@app.command("resume")
def resume(ctx: typer.Context, name: Name) -> None:
    """Launch runs in a paused pool again."""
    _update(ctx, name, paused=False)
    say(f"Resumed the work pool {name}.")


@app.command("set-concurrency-limit")
def set_concurrency_limit(
    ctx: typer.Context, name: Name, limit: Annotated[int, typer.Argument(min=0, help="Most runs at a time.")]
) -> None:
    """Let at most LIMIT runs of a pool be in progress at a time."""
    _update(ctx, name, concurrency_limit=limit)
    say(f"The work pool {name} now runs at most {limit} at a time.")


@app.command("clear-concurrency-limit")
def clear_concurrency_limit(ctx: typer.Context, name: Name) -> None:
    """Let any number of runs of a pool be in progress."""
    _update(ctx, name, concurrency_limit=None)
    say(f"The work pool {name} has no limit now.")


@app.command("slots")
def slots(ctx: typer.Context, name: Name, output: Output = Format.text) -> None:
    """Show which runs take the slots of a pool: since when, and which worker looks after them."""
    from poolform.cli.slots import show_slots
    from poolform.core.store import pools
    from poolform.core.store import slots as stored

    with Session.of(ctx).store.read() as tx:
        pool = pools.get(tx, name)
        taken, waiting = stored.taken(tx, pool.id), stored.waiting(tx, pool.id)
    show_slots(name, pool.concurrency_limit, taken, waiting, output)


@app.command("delete")
def delete(
    ctx: typer.Context,
    name: Name,
    *,
    with_deployments: Annotated[
        bool, typer.Option("--with-deployments", help="Delete the pool's deployments too.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a pool that has no infrastructure; its history and past runs stay."""
    from poolform.cli.proposal import confirm
    from poolform.core.errors import NotReady
    from poolform.core.store import pools

    session = Session.of(ctx)
    pool = _get(ctx, name)
    with session.store.read() as tx:
        module = pools.get_module(tx, pool.id)
    if pool.state != "not-provisioned" and (module is not None and len(module.files) > 0):
        raise NotReady(
            f"The work pool {name} still has infrastructure.",
            hint=f"Destroy it first: poolform work-pool deprovision {name}",
        )
    confirm(f"Delete the work pool {name}?", yes=yes)
    with session.store.write() as tx:
        if pool.state == "ready":  # a pool without resources has nothing to deprovision
            pools.update(tx, pool.id, state="not-provisioned")
        pools.delete(tx, pool.id, with_deployments=with_deployments)
    say(f"Deleted the work pool {name}.")


@app.command("history")
def history(
    ctx: typer.Context,
    name: Name,
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, help="How many entries, newest first.")] = 20,
    output: Output = Format.text,
) -> None:
    """Show who changed a pool's infrastructure, when, and with which plan; also of pools that are gone."""
    from poolform.core.store import history as entries

    with Session.of(ctx).store.read() as tx:
        found = entries.of_pool(tx, name, limit=limit)
    if not found:
        _get(ctx, name)  # names the nearest one where there never was such a pool
    if output is Format.json:
        show_json([{**asdict(entry), "at": iso(entry.at)} for entry in found])
        return
    errors = [_short(entry.error) for entry in found]
    rows = [(when(e.at), e.action, e.outcome, e.summary.get("plan"), e.who, (e.plan_digest or "-")[:12]) for e in found]
    columns, empty = ("WHEN", "WHAT", "OUTCOME", "PLAN", "WHO", "DIGEST"), "Nothing was done to it yet."
    if terminal_width() is None:
        table((*columns, "ERROR"), [(*row, error) for row, error in zip(rows, errors, strict=True)], empty=empty)
    else:  # where there is no room for one more column
        table(columns, rows, empty=empty, notes=errors)


def _short(error: str | None) -> str:
    """Return what fits beside the rest of a line; a failed apply has an error for each resource."""
    first, *more = (error or "").splitlines() or [""]
    cut = first if len(first) <= _ERROR_WIDTH else f"{first[:_ERROR_WIDTH]}…"
    return f"{cut} (-o json has all of it)" if more or cut != first else cut


@app.command("preview")
def preview(
    ctx: typer.Context,
    name: Name,
    hours: Annotated[float, typer.Option("--hours", min=0.0, help="How far to look ahead.")] = 1.0,
    output: Output = Format.text,
) -> None:
    """Show the runs of a pool that are due next: those that wait, and those that its schedules will make."""
    from poolform.core.runs.timetables import preview as upcoming

    pool = _get(ctx, name)
    with Session.of(ctx).store.read() as tx:
        due = upcoming(tx, pool, hours=hours)
    if output is Format.json:
        show_json([{**asdict(run), "scheduled_at": iso(run.scheduled_at)} for run in due])
        return
    rows = [
        (when(run.scheduled_at, run.timezone), run.deployment or run.flow, run.queue, run.name or run.schedule)
        for run in due
    ]
    table(
        ("WHEN", "DEPLOYMENT", "QUEUE", "RUN OR SCHEDULE"),
        rows,
        empty=f"No run of {name} is due within {hours:g} h; look further with --hours.",
    )
    if pool.paused and due:
        say(f"The pool is paused, so none of them will start: poolform work-pool resume {name}", "yellow")


def _get(ctx: typer.Context, name: str) -> WorkPool:
    from poolform.core.store import pools

    with Session.of(ctx).store.read() as tx:
        return pools.get(tx, name)


def _update(ctx: typer.Context, name: str, /, **changes: Any) -> None:
    from poolform.core.store import pools

    with Session.of(ctx).store.write() as tx:
        pools.update(tx, pools.get(tx, name).id, **changes)


def _state(pool: WorkPool) -> str:
    state = f"{pool.state} (failed)" if pool.error else pool.state
    return f"{state}, paused" if pool.paused else state
