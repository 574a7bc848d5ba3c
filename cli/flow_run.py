"""`poolform flow-run`: runs, their states and what they printed."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poolform.cli.completion import deployment_names, pool_names
from poolform.cli.completion import runs as run_ids
from poolform.cli.session import Session
from poolform.cli.view import Format, Output, fields, iso, say, show, show_json, show_line, table, when
from poolform.core.errors import counted

if TYPE_CHECKING:
    from poolform.core.store.runs import FlowRun

app = typer.Typer(help="Flow runs: list, look at, watch, cancel, retry.", no_args_is_help=True, add_completion=False)

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="Id of the run, or the start of it; or its name.",
        show_default=False,
        autocompletion=run_ids,
    ),
]


class State(StrEnum):
    """The states of a run, for --state."""

    scheduled = "scheduled"
    pending = "pending"
    submitted = "submitted"
    running = "running"
    completed = "completed"
    failed = "failed"
    crashed = "crashed"
    cancelled = "cancelled"
    late = "late"


_STATES = f"Only runs in this state: {', '.join(State)}. Late ones are scheduled, and their time has passed."


@app.command("ls")
def ls(
    ctx: typer.Context,
    *,
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, help="How many, newest first.")] = 20,
    state: Annotated[State | None, typer.Option("--state", metavar="STATE", help=_STATES)] = None,
    deployment: Annotated[
        str | None,
        typer.Option(
            "--deployment",
            "-d",
            metavar="FLOW/NAME",
            help="Only runs of this deployment.",
            autocompletion=deployment_names,
        ),
    ] = None,
    pool: Annotated[
        str | None, typer.Option("--pool", "-p", help="Only runs in this pool.", autocompletion=pool_names)
    ] = None,
    output: Output = Format.text,
) -> None:
    """List runs, newest first."""
    from poolform.core.store import deployments, pools, runs

    with Session.of(ctx).store.read() as tx:
        now = tx.now()
        found = runs.list_recent(
            tx,
            limit=limit,
            state=state.value if state else None,
            deployment_id=deployments.get(tx, deployment).id if deployment else None,
            pool_id=pools.get(tx, pool).id if pool else None,
        )
    if output is Format.json:
        show_json([as_json(run, now) for run in found])
        return
    given = (state, deployment, pool)
    nothing = "There are no such runs." if any(given) else "There are no runs yet. Make one: poolform deployment run"
    rows = [
        (r.id[:12], r.name, r.deployment or r.flow_name, _state(r, now), r.pool, when(r.scheduled_at)) for r in found
    ]
    table(("ID", "NAME", "DEPLOYMENT", "STATE", "POOL", "SCHEDULED"), rows, empty=nothing)


@app.command("inspect")
def inspect(ctx: typer.Context, run: Run, output: Output = Format.text) -> None:
    """Show everything about a run; of a late one also what it waits for."""
    from poolform.core.runs import lateness
    from poolform.core.store import runs

    with Session.of(ctx).store.read() as tx:
        found, now = runs.get(tx, run), tx.now()
        changes = runs.states(tx, found.id)
        waits_for = lateness.waits_for(tx, found) if found.late(now) else None
    shown = as_json(found, now) | ({"waits_for": waits_for} if waits_for else {})
    if output is Format.json:
        states = [{"state": c.state, "at": iso(c.at), "reason": c.reason} for c in changes]
        show_json({**shown, "parameters": found.parameters, "states": states})
        return
    del shown["late"]
    shown["state"] = _state(found, now)
    times = ("scheduled_at", "created_at", "started_at", "ended_at")
    fields({**shown, **{name: when(getattr(found, name)) or None for name in times}, "parameters": found.parameters})
    show("\nstates")
    fields({f"  {when(c.at)} {c.state}": c.reason or "" for c in changes})


@app.command("logs")
def logs(
    ctx: typer.Context,
    run: Run,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    output: Output = Format.text,
) -> None:
    """Print what a run printed; kept also when its infrastructure is gone."""
    from poolform.core.store import logs as lines
    from poolform.core.store import runs

    session = Session.of(ctx)
    with session.store.read() as tx:
        found = runs.get(tx, run)
    if follow:
        from poolform.cli.watching import watch

        watch(session, found.id, with_states=False, follows=True)
        return
    after, everything = (0, 0), []
    while True:
        with session.store.read() as tx:
            page = lines.of_run(tx, found.id, after=after)
        if not page:
            break
        after = (page[-1].attempt, page[-1].seq)
        if output is Format.json:
            everything += [{"attempt": row.attempt, "at": iso(row.at), "line": row.line} for row in page]
        else:
            for row in page:
                show_line(row.line)
    if output is Format.json:
        show_json(everything, indent=None)
    elif after == (0, 0):
        say(f"The run {found.name} has printed nothing{'' if found.ended else ' yet'}.")


@app.command("watch")
def watch(
    ctx: typer.Context,
    run: Run,
    *,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", min=0.0, help="Watch it so long at most.")
    ] = None,
) -> None:
    """Show a run's states and lines as they come. Exit code 5 when it failed or crashed."""
    from poolform.cli.watching import exit_code, interrupted
    from poolform.cli.watching import watch as watch_run
    from poolform.core.runs import lateness
    from poolform.core.store import runs

    session = Session.of(ctx)
    with session.store.read() as tx:
        found, now = runs.get(tx, run), tx.now()
        kept = lateness.kept_by(tx, found) if found.state == "scheduled" else None
    if found.state == "scheduled" and found.scheduled_at > now:
        say(f"{found.name} is due at {when(found.scheduled_at)}.", "yellow")
    if kept:
        say(f"{found.name} waits: {kept}", "yellow")
    try:
        ended = watch_run(session, found.id, follows=True, timeout=timeout)
    except KeyboardInterrupt as exc:
        raise interrupted(session, found.id) from exc
    raise typer.Exit(exit_code(ended))


@app.command("cancel")
def cancel(ctx: typer.Context, run: Run) -> None:
    """Cancel a run: at once if it waits, else by asking its infrastructure to stop it."""
    from poolform.core.store import runs

    with Session.of(ctx).store.write() as tx:
        found = runs.get(tx, run)
        ended_before = found.ended
        found = runs.cancel(tx, found.id)
    if ended_before:
        say(f"The run {found.name} has ended already: {found.state}.")
    elif found.ended:
        say(f"Cancelled the run {found.name}.")
    else:
        say(f"Asked to cancel the run {found.name}, which is {found.state}: poolform flow-run watch {found.id[:12]}")


@app.command("retry")
def retry(ctx: typer.Context, run: Run) -> None:
    """Run an ended run once more, as its next attempt."""
    from poolform.core.store import runs

    with Session.of(ctx).store.write() as tx:
        found = runs.retry(tx, runs.get(tx, run).id)
    say(f"Scheduled attempt {found.attempt} of the run {found.name}: poolform flow-run watch {found.id[:12]}")


@app.command("delete")
def delete(
    ctx: typer.Context, run: Run, *, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Delete a run and what it printed."""
    from poolform.cli.proposal import confirm
    from poolform.core.store import runs

    session = Session.of(ctx)
    with session.store.read() as tx:
        found = runs.get(tx, run)
    confirm(f"Delete the run {found.name} and its logs?", yes=yes)
    with session.store.write() as tx:
        runs.delete(tx, found.id)
    say(f"Deleted the run {found.name}.")


@app.command("prune")
def prune(
    ctx: typer.Context,
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="How long ago they ended: 12h, 30d, 8w.")
    ],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete past runs and what they printed. Workers do so by themselves where POOLFORM_RETENTION says how old."""
    from poolform.cli.proposal import confirm
    from poolform.core.runs import durations
    from poolform.core.store import retention

    age = durations.seconds(older_than, of="--older-than")
    session = Session.of(ctx)
    with session.store.read() as tx:
        before = tx.now() - age
        number = retention.count(tx, before)
    if not number:
        say(f"No run ended more than {older_than} ago.")
        return
    confirm(f"Delete {counted(number, 'run')} that ended more than {older_than} ago, and their logs?", yes=yes)
    done, more = 0, True
    while more:
        with session.store.write(notify=False) as tx:
            batch = retention.prune(tx, before)
        done, more = done + batch.runs, batch.more
    say(f"Deleted {counted(done, 'run')}.")


def _state(run: FlowRun, now: float) -> str:
    return "late" if run.late(now) else run.state


def as_json(run: FlowRun, now: float | None = None) -> dict[str, Any]:
    """Return a run for programs; `now` is the store's time."""
    return {
        "name": run.name,
        "id": run.id,
        "flow": run.flow_name,
        "deployment": run.deployment,
        "pool": run.pool,
        "queue": run.queue,
        "state": run.state,
        "late": run.late(time.time() if now is None else now),
        "reason": run.reason,
        "attempt": run.attempt,
        "exit_code": run.exit_code,
        "tags": run.tags,
        "scheduled_at": iso(run.scheduled_at),
        "created_at": iso(run.created_at),
        "started_at": iso(run.started_at),
        "ended_at": iso(run.ended_at),
    }
