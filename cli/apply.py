"""`poolform apply`: work pools and deployments become what a project file says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poolform.cli.session import Session
from poolform.cli.view import Format, Output, say, show_json, styled
from poolform.core.errors import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolform.core.runs.changes import Difference, PoolChange, Reader
    from poolform.core.store.deployments import Deployment
    from poolform.core.store.pools import WorkPool

app = typer.Typer(add_completion=False)

CHANGES_PENDING = 4
_MARKS = {"create": ("+", "green"), "update": ("~", "yellow"), "destroy": ("-", "red")}

File = Annotated[Path | None, typer.Option("--file", "-f", help="The project file; poolform.yaml if not given.")]


@app.command()
def apply(
    ctx: typer.Context,
    *,
    file: File = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would change, and change nothing.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Delete deployments that were in the file before.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    output: Output = Format.text,
) -> None:
    """Show what a project file changes, ask, and change it. With --plan, exit code 4 says that something would."""
    from poolform.cli.proposal import confirm
    from poolform.core.runs import changes

    session = Session.of(ctx)
    found = _reader(session, file).difference(prune=prune)
    if output is Format.json:
        show_json([_json(change) for change in found.changes])
    else:
        _show(found)
    if plan:
        raise typer.Exit(CHANGES_PENDING if found.changes else 0)
    if found.is_empty:
        return
    confirm("Apply these changes?", yes=yes)
    for change in found.pools:
        if change.provision:
            _provision(session, change, yes=yes)
    changes.save(session.store, found)
    say(f"Applied {counted(len(found.changes), 'change')}.", "green")


def deploy_from_file(
    ctx: typer.Context, *, names: Sequence[str], everything: bool, file: Path | None, flags: bool
) -> None:
    """Deploy what a project file has, without asking; its pools must be there."""
    from poolform.core.errors import NotFound, UsageError
    from poolform.core.runs import changes

    session = Session.of(ctx)
    if flags:
        raise UsageError(
            "Without FILE.py:FLOW, what is deployed is what the project file says.",
            hint="Name the flow: poolform deploy FILE.py:FLOW --name NAME --pool POOL, or change the file.",
        )
    try:
        reader = _reader(session, file)
    except NotFound as exc:
        raise NotFound(
            f"No flow was given, and {exc.message[:1].lower()}{exc.message[1:]}",
            hint="poolform deploy FILE.py:FLOW --name NAME --pool POOL, or write a project file: poolform init",
        ) from exc
    project = reader.project
    if not names and not everything and len(project.deployments) != 1:
        known = ", ".join(entry.name for entry in project.deployments) or "none"
        raise UsageError(
            f"Which deployment of {project.file.name}? It has {known}.", hint="Give --name NAME, or --all."
        )
    if not project.deployments:
        raise NotFound(
            f"{project.file.name} has no deployments.", hint="Add some: a name, an entrypoint and a work_pool for each."
        )
    chosen = project.chosen(names) if names else list(range(len(project.deployments)))
    found = reader.difference(only=chosen)
    where = {pool.name: pool for pool, _ in found.plans}
    for saved in changes.save(session.store, found):
        say_deployed(session, saved, where[saved.pool])


def say_deployed(session: Session, saved: Deployment, pool: WorkPool) -> None:
    """Say that a flow is deployed, and the next step: to run it, or first what its pool needs before it runs any."""
    from poolform.core.runs.deployments import next_steps

    with session.store.read() as tx:
        obstacles, run_it = next_steps(tx, pool, saved)
    say(f"Deployed {saved.full_name} to the work pool {saved.pool}.", "green")
    for obstacle in obstacles:
        say(obstacle, "yellow")
    say(run_it)


def _reader(session: Session, file: Path | None) -> Reader:
    from poolform.core.runs import project
    from poolform.core.runs.changes import Reader
    from poolform.core.runs.supply import Suppliers

    read = project.read(file or project.find(Path.cwd()))
    return Reader(read, session.store, session.plugins, Suppliers(session.plugins, session.blocks))


def _provision(session: Session, change: PoolChange, *, yes: bool) -> None:
    """Provision a pool: its own plan is shown, and asked about."""
    from poolform.cli.work_pool_infra import provision
    from poolform.core.pools.planning import propose

    provision(session, lambda context: propose(context, change.wanted), yes=yes)


def _show(found: Difference) -> None:
    for change in found.changes:
        mark, colour = _MARKS[change.action]
        say(f"  {styled(mark, colour, stream=sys.stderr)} {change.kind} {change.name}")
        for detail in change.details:
            say(f"      {detail}", "dim")
    for pool in found.pools:
        if pool.provision:
            say(f"The infrastructure of {pool.wanted.name} has a plan of its own, which is shown before it is applied.")
    for name in found.left:
        say(f"{name} is not in the file any more; --prune would delete it.", "yellow")
    if found.is_empty:
        say("Nothing to change: all is as the file says.", "green")


def _json(change: Any) -> dict[str, Any]:
    return {"action": change.action, "type": change.kind, "name": change.name, "details": list(change.details)}
