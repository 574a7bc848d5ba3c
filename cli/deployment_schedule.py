"""`poolform deployment schedule`: when a deployment runs by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from poolform.cli.completion import deployment_names
from poolform.cli.completion import schedules as schedule_names
from poolform.cli.session import Session
from poolform.cli.view import Format, Output, iso, say, show, show_json, table, when

if TYPE_CHECKING:
    from poolform.core.store.schedules import DeploymentSchedule

app = typer.Typer(help="Schedules of a deployment.", no_args_is_help=True, add_completion=False)

Name = Annotated[
    str,
    typer.Argument(metavar="FLOW/NAME", help="The deployment.", show_default=False, autocompletion=deployment_names),
]
Which = Annotated[
    str,
    typer.Argument(
        metavar="SCHEDULE",
        help="Slug of the schedule, or the start of its id.",
        show_default=False,
        autocompletion=schedule_names,
    ),
]


@app.command("ls")
def ls(ctx: typer.Context, name: Name, output: Output = Format.text) -> None:
    """List the schedules of a deployment."""
    from poolform.core.runs.timetables import spec
    from poolform.core.store import deployments, schedules

    with Session.of(ctx).store.read() as tx:
        found = schedules.of_deployment(tx, deployments.get(tx, name).id)
    if output is Format.json:
        show_json([as_json(schedule) for schedule in found])
        return
    rows = [
        (
            s.slug or s.id[:12],
            spec(s).text,
            s.timezone,
            "active" if s.active else "paused",
            when(s.next_at, s.timezone) or None,
        )
        for s in found
    ]
    hint = f"{name} has no schedule. Make one: poolform deployment schedule create '{name}' --cron '0 1 * * *'"
    table(("SCHEDULE", "WHEN", "ZONE", "STATE", "NEXT"), rows, empty=hint)


@app.command("create")
def create(
    ctx: typer.Context,
    name: Name,
    *,
    cron: Annotated[str | None, typer.Option("--cron", help="Five cron fields, or @daily and the like.")] = None,
    interval: Annotated[
        float | None, typer.Option("--interval", metavar="SECONDS", help="How long from one run to the next.")
    ] = None,
    rrule: Annotated[str | None, typer.Option("--rrule", help="An RFC 5545 rule.")] = None,
    anchor: Annotated[
        str | None, typer.Option("--anchor-date", "--interval-anchor", help="What an interval counts from.")
    ] = None,
    timezone: Annotated[str | None, typer.Option("--timezone", help="Such as Europe/Berlin; UTC if not given.")] = None,
    param: Annotated[list[str] | None, typer.Option("--param", metavar="KEY=VALUE", help="A parameter.")] = None,
    slug: Annotated[str | None, typer.Option("--slug", help="What the schedule is called.")] = None,
    active: Annotated[bool, typer.Option("--active/--no-active", help="Whether it starts at once.")] = True,
    replace: Annotated[bool, typer.Option("--replace", help="In place of all others.")] = False,
) -> None:
    """Give a deployment one more schedule."""
    from poolform.core.errors import UsageError
    from poolform.core.runs import schedules as written
    from poolform.core.runs import timetables
    from poolform.core.runs.parameters import parse_assignments
    from poolform.core.store import deployments, schedules

    given = {"cron": cron, "interval": interval, "rrule": rrule, "anchor_date": anchor, "timezone": timezone}
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    session = Session.of(ctx)
    with session.store.read() as tx:
        found = deployments.get(tx, name)
    parameters = parse_assignments(param or (), found.parameter_schema)
    schedule = written.read({**options, "slug": slug, "active": active, "parameters": parameters})
    if found.options.get("validate_parameters", True):
        timetables.check([schedule], found.parameter_schema, found.parameters, flow=found.flow_name)
    with session.store.write() as tx:
        deployment = deployments.get(tx, name)
        if replace:
            timetables.replace(tx, deployment, [])
        elif slug and any(known.slug == slug for known in schedules.of_deployment(tx, deployment.id)):
            raise UsageError(f"{name} has a schedule called {slug} already.", hint="Delete that, or take another name.")
        made = timetables.add(tx, deployment, schedule)
    show(made.id)
    say(
        f"{name} runs {schedule.text} ({schedule.timezone})"
        + (f", next at {when(made.next_at, schedule.timezone)}." if active else ".")
    )
    if deployment.paused:
        say(f"The deployment is paused: poolform deployment resume '{name}'", "yellow")


@app.command("delete")
def delete(
    ctx: typer.Context,
    name: Name,
    schedule: Which,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a schedule; the runs that it has made stay."""
    from poolform.cli.proposal import confirm
    from poolform.core.store import deployments, schedules

    session = Session.of(ctx)
    with session.store.read() as tx:
        found = schedules.get(tx, deployments.get(tx, name).id, schedule)
    confirm(f"Delete the schedule {schedule} of {name}?", yes=yes)
    with session.store.write() as tx:
        schedules.delete(tx, found.id)
    say(f"Deleted the schedule {schedule} of {name}.")


@app.command("clear")
def clear(
    ctx: typer.Context, name: Name, *, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Delete all schedules of a deployment."""
    from poolform.cli.proposal import confirm
    from poolform.core.runs import timetables
    from poolform.core.store import deployments

    session = Session.of(ctx)
    with session.store.read() as tx:
        deployments.get(tx, name)
    confirm(f"Delete all schedules of {name}?", yes=yes)
    with session.store.write() as tx:
        timetables.replace(tx, deployments.get(tx, name), [])
    say(f"{name} has no schedule any more.")


@app.command("pause")
def pause(ctx: typer.Context, name: Name, schedule: Which) -> None:
    """Let a schedule make no runs."""
    _set_active(ctx, name, schedule, active=False)
    say(f"Paused the schedule {schedule}. Resume it: poolform deployment schedule resume '{name}' {schedule}")


@app.command("resume")
def resume(ctx: typer.Context, name: Name, schedule: Which) -> None:
    """Let a schedule make runs again; what was due meanwhile is not made up for."""
    _set_active(ctx, name, schedule, active=True)
    say(f"Resumed the schedule {schedule}.")


def as_json(schedule: DeploymentSchedule) -> dict[str, Any]:
    """Return a schedule for programs."""
    return {
        "name": schedule.slug,
        "id": schedule.id,
        "type": schedule.kind,
        "expression": schedule.expression,
        "timezone": schedule.timezone,
        "anchor_date": iso(schedule.anchor),
        "state": "active" if schedule.active else "paused",
        "parameters": schedule.parameters,
        "next_at": iso(schedule.next_at),
    }


def _set_active(ctx: typer.Context, name: str, schedule: str, *, active: bool) -> None:
    from poolform.core.runs import timetables
    from poolform.core.store import deployments, schedules

    with Session.of(ctx).store.write() as tx:
        deployment = deployments.get(tx, name)
        timetables.set_active(tx, deployment, schedules.get(tx, deployment.id, schedule), active=active)
