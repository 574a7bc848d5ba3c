"""`poolform quickstart`: from nothing to a flow that has run, on this machine."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poolform.cli.session import Session
from poolform.cli.view import say
from poolform.core.errors import AlreadyExists

if TYPE_CHECKING:
    from poolform.core.store.pools import WorkPool
    from poolform.core.store.runs import FlowRun

app = typer.Typer(add_completion=False)

POOL = "quickstart"
_FLOW = '''\
"""Poolform's example: change it, and run it again with `poolform deployment run 'hello/quickstart' --watch`."""

import platform

from poolform import flow


@flow
def hello(name: str = "world") -> None:
    """Greet somebody from wherever this runs."""
    print(f"Hello, {name}, from Python {platform.python_version()} on {platform.node()}!")
'''


@app.command()
def quickstart(
    ctx: typer.Context,
    *,
    name: Annotated[str | None, typer.Option("--name", help="Whom to greet.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Apply without being asked.")] = False,
) -> None:
    """Provision a process pool, deploy an example flow, run it and show what it prints. Twice is fine."""
    from poolform.cli.deployment import watched

    session = Session.of(ctx)
    say("1. A work pool on this machine", "bold")
    pool = _pool(session, yes=yes)
    say("\n2. A deployment of an example flow", "bold")
    file = _write_flow(session.settings.folder("quickstart") / "hello.py")
    say(f"The flow is in {file}.")
    say("\n3. A run of it", "bold")
    run = _submit(session, pool, file, name)
    code = watched(session, run)
    if code == 0:
        say("\nIt works. What next:", "green")
        activate = Path(sys.executable).with_name("activate")
        if shutil.which("poolform") is None and activate.exists():  # it was called by its path, as by `make quickstart`
            say(f"  have poolform at hand    source {shlex.quote(str(activate))}")
        say(f"  look at the pool         poolform work-pool inspect {POOL}")
        say(f"  read its Terraform       poolform work-pool render {POOL}")
        say(f"  change the flow          {file}")
        say(f"  and run it again         poolform deployment run 'hello/{POOL}' --watch")
        say(f"  remove it all            poolform work-pool deprovision {POOL}")
    raise typer.Exit(code)


def _pool(session: Session, *, yes: bool) -> WorkPool:
    from poolform.cli.work_pool_infra import provision
    from poolform.core.pools import records, variables
    from poolform.core.pools.planning import propose
    from poolform.core.runs.deployments import check_ready
    from poolform.core.store import pools

    registered = session.plugins.pool_type("process")
    with session.store.read() as tx:
        pool = pools.find(tx, POOL)
    if pool is not None and pool.type != "process":
        raise AlreadyExists(
            f"A work pool named {POOL} exists already, and it is of the type {pool.type}.",
            hint=f"Give it another name: poolform work-pool update {POOL} --name NAME",
        )
    if pool is not None and pool.state == "ready":
        check_ready(pool)
        say(f"The work pool {POOL} is there already.")
        return pool
    if pool is None:
        pool_type = registered.pool_type
        pool = records.new_record(POOL, registered, variables.validate(pool_type, variables.gather(pool_type)))
    record = pool
    return provision(session, lambda context: propose(context, record), yes=yes)


def _write_flow(path: Path) -> Path:
    """Write the example, unless the person has made it theirs."""
    if not path.exists():
        path.write_text(_FLOW, encoding="utf-8")
    return path


def _submit(session: Session, pool: WorkPool, file: Path, name: str | None) -> FlowRun:
    from poolform.core.runs import deployments, entrypoints

    place = entrypoints.locate(f"{file}:hello", file.parent)
    source = {"type": "local", "path": str(place.folder)}
    flow, parameters = entrypoints.read(place), {} if name is None else {"name": name}
    plan = deployments.Plan(name=POOL, flow=flow, entrypoint=place.entrypoint, source=source, paused=False)
    with session.store.write() as tx:
        deployment = deployments.save(tx, pool, plan)
    deployments.check_run(pool, deployment, parameters=parameters, job_variables={})
    with session.store.write() as tx:
        return deployments.submit(tx, pool, deployment, parameters=parameters)
