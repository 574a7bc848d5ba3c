"""`poolform deploy`: a flow's code becomes a deployment."""

from __future__ import annotations

from typing import Annotated

import typer

from poolform.cli.session import Session
from poolform.cli.view import say

app = typer.Typer(add_completion=False)


@app.command()
def deploy(
    ctx: typer.Context,
    entrypoint: Annotated[str, typer.Argument(metavar="FILE.py:FLOW", help="Where the flow is.", show_default=False)],
    *,
    name: Annotated[str, typer.Option("--name", "-n", help="What the deployment is called.", show_default=False)],
    pool: Annotated[str, typer.Option("--pool", "-p", help="Where it runs.", show_default=False)],
    queue: Annotated[str, typer.Option("--queue", "--work-queue", "-q", help="The pool's work queue.")] = "default",
    param: Annotated[list[str] | None, typer.Option("--param", metavar="KEY=VALUE", help="A parameter.")] = None,
    job_variable: Annotated[
        list[str] | None, typer.Option("--job-variable", "-jv", metavar="KEY=VALUE", help="A job variable.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", "-t", help="A tag; may be repeated.")] = None,
    version: Annotated[str | None, typer.Option("--version", help="Version of the flow.")] = None,
    description: Annotated[str | None, typer.Option("--description", help="The flow's docstring if not given.")] = None,
    retries: Annotated[int | None, typer.Option("--retries", help="How often a failed run is tried again.")] = None,
    retry_delay: Annotated[float | None, typer.Option("--retry-delay", help="Seconds between tries.")] = None,
    timeout: Annotated[float | None, typer.Option("--timeout", help="Seconds that a run may take.")] = None,
    concurrency_limit: Annotated[
        int | None, typer.Option("--concurrency-limit", min=0, help="Most runs at a time.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="URL", help="Repository, bucket or folder with the code; or image, inline."),
    ] = None,
    branch: Annotated[str | None, typer.Option("--branch", help="Branch or tag of the repository.")] = None,
    commit: Annotated[str | None, typer.Option("--commit", help="Commit of the repository.")] = None,
    submodules: Annotated[bool, typer.Option("--submodules", help="Fetch the repository's submodules too.")] = False,
    credentials: Annotated[
        str | None, typer.Option("--credentials", metavar="BLOCK", help="Block with what the source asks for.")
    ] = None,
    cron: Annotated[list[str] | None, typer.Option("--cron", help="Run on this cron schedule.")] = None,
    interval: Annotated[list[float] | None, typer.Option("--interval", help="Run every so many seconds.")] = None,
    rrule: Annotated[list[str] | None, typer.Option("--rrule", help="Run by this RFC 5545 rule.")] = None,
    anchor: Annotated[str | None, typer.Option("--anchor-date", help="What an interval counts from.")] = None,
    timezone: Annotated[str | None, typer.Option("--timezone", help="Of the schedules; UTC if not given.")] = None,
) -> None:
    """Deploy a flow to a work pool, or change a deployment of the same flow and name."""
    from poolform.core.runs import code, deployments
    from poolform.core.runs.parameters import parse_assignments
    from poolform.core.runs.schedules import from_options
    from poolform.core.runs.supply import Suppliers
    from poolform.core.store import pools

    session = Session.of(ctx)
    with session.store.read() as tx:
        work_pool = pools.get(tx, pool)
    template = work_pool.base_job_template["variables"]
    variables = parse_assignments(job_variable or (), template, option="--job-variable")
    found = code.find(
        work_pool,
        entrypoint,
        source,
        Suppliers(session.plugins, session.blocks),
        image=variables.get("image"),
        custom=tuple(session.plugins.sources),
        branch=branch,
        commit=commit,
        submodules=submodules,
        credentials=credentials,
    )
    given = {"retries": retries, "retry_delay_seconds": retry_delay, "timeout_seconds": timeout}
    plan = deployments.Plan(
        name=name,
        flow=found.flow,
        entrypoint=found.entrypoint,
        source=found.source,
        queue=queue,
        parameters=parse_assignments(param or (), found.flow.parameter_schema),
        job_variables=variables,
        options={option: value for option, value in given.items() if value is not None},
        tags=tag or (),
        version=version,
        description=description,
        concurrency_limit=concurrency_limit,
        schedules=from_options(cron=cron, interval=interval, rrule=rrule, anchor_date=anchor, timezone=timezone),
    )
    deployments.check(work_pool, plan)
    with session.store.write() as tx:
        saved = deployments.save(tx, work_pool, plan)
    say(f"Deployed {saved.full_name} to the work pool {pool}.", "green")
    say(f"Run it: poolform deployment run '{saved.full_name}' --watch")
