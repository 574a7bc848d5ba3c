"""`poolform deployment`: deployments, and runs of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poolform.cli import deployment_schedule
from poolform.cli.completion import deployment_names, pool_names
from poolform.cli.parameters import One, Whole, gathered
from poolform.cli.session import Session
from poolform.cli.view import Format, Output, fields, iso, say, show, show_json, table, when

if TYPE_CHECKING:
    from poolform.core.store.deployments import Deployment
    from poolform.core.store.runs import FlowRun
    from poolform.core.store.schedules import DeploymentSchedule

app = typer.Typer(help="Deployments: list, look at, run.", no_args_is_help=True, add_completion=False)
app.add_typer(deployment_schedule.app, name="schedule")

Name = Annotated[
    str,
    typer.Argument(metavar="FLOW/NAME", help="The deployment.", show_default=False, autocompletion=deployment_names),
]


@app.command("ls")
def ls(
    ctx: typer.Context,
    pool: Annotated[
        str | None, typer.Option("--pool", "-p", help="Only those of this pool.", autocompletion=pool_names)
    ] = None,
    output: Output = Format.text,
) -> None:
    """List deployments."""
    from poolform.core.store import deployments, pools

    with Session.of(ctx).store.read() as tx:
        found = deployments.list_all(tx, pool_id=pools.get(tx, pool).id if pool else None)
    if output is Format.json:
        show_json([_json(deployment) for deployment in found])
        return
    rows = [(d.full_name, d.pool, d.queue, _state(d), d.version, when(d.updated_at)) for d in found]
    hint = "There are no deployments yet. Make one: poolform deploy FILE.py:FLOW --name NAME --pool POOL"
    table(("DEPLOYMENT", "POOL", "QUEUE", "STATE", "VERSION", "UPDATED"), rows, empty=hint)


@app.command("inspect")
def inspect(ctx: typer.Context, name: Name, output: Output = Format.text) -> None:
    """Show everything about a deployment."""
    from poolform.core.store import deployments, schedules

    with Session.of(ctx).store.read() as tx:
        found = deployments.get(tx, name)
        timetable = schedules.of_deployment(tx, found.id)
    if output is Format.json:
        times = [deployment_schedule.as_json(schedule) for schedule in timetable]
        show_json({**_json(found), "schedules": times, "parameter_schema": found.parameter_schema})
    else:
        fields({**_json(found), "created_at": when(found.created_at), "updated_at": when(found.updated_at)})
        if timetable:
            show("\nschedules")
            fields({f"  {schedule.slug or schedule.id[:12]}": _due(schedule) for schedule in timetable})


@app.command("run")
def run(
    ctx: typer.Context,
    name: Name,
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show its states and lines until it has ended.")] = False,
    watch_timeout: Annotated[
        float | None, typer.Option("--watch-timeout", metavar="SECONDS", min=0.0, help="Watch it so long at most.")
    ] = None,
    param: One = None,
    params: Whole = None,
    job_variable: Annotated[
        list[str] | None, typer.Option("--job-variable", "-jv", metavar="KEY=VALUE", help="A job variable.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", "-t", help="A tag; may be repeated.")] = None,
    flow_run_name: Annotated[str | None, typer.Option("--flow-run-name", "--name", help="What it is called.")] = None,
    start_at: Annotated[
        str | None, typer.Option("--start-at", metavar="TIME", help="When it is due: 2026-11-26T09:00, or with a zone.")
    ] = None,
    start_in: Annotated[
        str | None, typer.Option("--start-in", metavar="DURATION", help="How long from now it is due: 10m, 2h.")
    ] = None,
    output: Output = Format.text,
) -> None:
    """Run a deployment. With --watch, exit code 5 says that the run failed or crashed."""
    from poolform.core.errors import UsageError
    from poolform.core.runs import deployments as deployed
    from poolform.core.runs import durations, timetables
    from poolform.core.runs.parameters import parse_assignments
    from poolform.core.store import deployments, pools

    session = Session.of(ctx)
    with session.store.read() as tx:
        deployment = deployments.get(tx, name)
        pool = pools.get(tx, deployment.pool)
    parameters = gathered(params, param, deployment.parameter_schema)
    variables = parse_assignments(job_variable or (), pool.base_job_template["variables"], option="--job-variable")
    deployed.check_run(pool, deployment, parameters=parameters, job_variables=variables)
    if deployment.paused and not pool.is_served:
        say(f"{name} is paused, so the run waits: poolform deployment resume '{name}'", "yellow")
    delay = durations.seconds(start_in, of="--start-in") if start_in is not None else None
    due = timetables.moment(start_at, of="--start-at") if start_at is not None else None
    if delay is not None and due is not None:
        raise UsageError("--start-at and --start-in both say when it is due.", hint="Give one of them.")
    with session.store.write() as tx:
        submitted = deployed.submit(
            tx,
            pool,
            deployment,
            parameters=parameters,
            job_variables=variables,
            name=flow_run_name,
            tags=tag or (),
            scheduled_at=tx.now() + delay if delay is not None else due,
        )
    if not watch and watch_timeout is None:
        _say_submitted(session, submitted, output)
        return
    raise typer.Exit(watched(session, submitted, output, timeout=watch_timeout))


def watched(session: Session, submitted: FlowRun, output: Format = Format.text, *, timeout: float | None = None) -> int:
    """Watch a run to its end, dispatching it here where no worker does; return the exit code it amounts to."""
    from poolform.cli.flow_run import as_json
    from poolform.cli.watching import dispatching, exit_code, interrupted
    from poolform.cli.watching import watch as watch_run

    try:
        with dispatching(session, submitted):
            ended = watch_run(session, submitted.id, with_logs=output is Format.text, timeout=timeout)
    except KeyboardInterrupt as exc:
        raise interrupted(session, submitted.id) from exc
    if output is Format.json:
        show_json(as_json(ended))
    return exit_code(ended)


def _say_submitted(session: Session, submitted: FlowRun, output: Format) -> None:
    from poolform.cli.flow_run import as_json
    from poolform.cli.watching import unserved
    from poolform.core.store import workers

    with session.store.read() as tx:
        alive = workers.live(tx, pool_id=submitted.pool_id)
    if output is Format.json:
        show_json(as_json(submitted))
    else:
        show(submitted.id)
        due = f", due at {when(submitted.scheduled_at)}" if submitted.scheduled_at > submitted.created_at else ""
        say(f"Submitted the run {submitted.name}{due}. Watch it: poolform flow-run watch {submitted.id[:12]}")
    if why := unserved(session, submitted):
        say(why, "yellow")
    elif not alive:
        say(f"No worker is there to launch it: poolform worker start --pool {submitted.pool}", "yellow")


@app.command("pause")
def pause(ctx: typer.Context, name: Name) -> None:
    """Stop scheduling and launching runs of a deployment; those that run go on."""
    _set_paused(ctx, name, paused=True)
    say(f"Paused {name}. Resume it: poolform deployment resume '{name}'")


@app.command("resume")
def resume(ctx: typer.Context, name: Name) -> None:
    """Schedule and launch runs of a paused deployment again; what was due meanwhile is not made up for."""
    _set_paused(ctx, name, paused=False)
    say(f"Resumed {name}.")


@app.command("delete")
def delete(
    ctx: typer.Context, name: Name, *, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Delete a deployment; its waiting runs are cancelled, its past ones stay."""
    from poolform.cli.proposal import confirm
    from poolform.core.store import deployments

    session = Session.of(ctx)
    with session.store.read() as tx:
        found = deployments.get(tx, name)
    confirm(f"Delete the deployment {name}?", yes=yes)
    with session.store.write() as tx:
        deployments.delete(tx, found.id)
    say(f"Deleted the deployment {name}.")


def _set_paused(ctx: typer.Context, name: str, *, paused: bool) -> None:
    from poolform.core.runs import timetables
    from poolform.core.store import deployments

    with Session.of(ctx).store.write() as tx:
        timetables.set_paused(tx, deployments.get(tx, name), paused=paused)


def _due(schedule: DeploymentSchedule) -> str:
    from poolform.core.runs.timetables import spec

    due = f"next at {when(schedule.next_at, schedule.timezone)}" if schedule.next_at is not None else "nothing to come"
    return f"{spec(schedule).text} ({schedule.timezone}), {due if schedule.active else 'paused'}"


def _state(deployment: Deployment) -> str:
    return "paused" if deployment.paused else "ready"


def _json(deployment: Deployment) -> dict[str, Any]:
    values = asdict(deployment)
    for inner in ("pool_id", "queue_id", "parameter_schema", "name"):
        del values[inner]
    return {
        "name": deployment.full_name,
        **values,
        "state": _state(deployment),
        "created_at": iso(deployment.created_at),
        "updated_at": iso(deployment.updated_at),
    }
