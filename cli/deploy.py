"""`poolform deploy`: a flow's code becomes a deployment."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from poolform.cli.apply import deploy_from_file, say_deployed
from poolform.cli.completion import block_names, pool_names, queue_names
from poolform.cli.parameters import Whole, gathered
from poolform.cli.session import Session
from poolform.cli.view import say

app = typer.Typer(add_completion=False)


class Collision(StrEnum):
    """What becomes of a run that is due while a deployment is full; the names are Prefect's."""

    enqueue = "ENQUEUE"
    cancel_new = "CANCEL_NEW"


@app.command()
def deploy(
    ctx: typer.Context,
    entrypoint: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE.py:FLOW]", help="Where the flow is, if no project file says.", show_default=False
        ),
    ] = None,
    *,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", "-n", help="What the deployment is called; from a project file, one or more."),
    ] = None,
    pool: Annotated[
        str | None, typer.Option("--pool", "-p", help="Where it runs.", show_default=False, autocompletion=pool_names)
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Deploy all that the project file has.")] = False,
    file: Annotated[
        Path | None, typer.Option("--file", "--prefect-file", help="The project file; poolform.yaml or prefect.yaml.")
    ] = None,
    queue: Annotated[
        str, typer.Option("--queue", "--work-queue", "-q", help="The pool's work queue.", autocompletion=queue_names)
    ] = "default",
    param: Annotated[list[str] | None, typer.Option("--param", metavar="KEY=VALUE", help="A parameter.")] = None,
    params: Whole = None,
    job_variable: Annotated[
        list[str] | None, typer.Option("--job-variable", "-jv", metavar="KEY=VALUE", help="A job variable.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", "-t", help="A tag; may be repeated.")] = None,
    version: Annotated[str | None, typer.Option("--version", help="Version of the flow.")] = None,
    description: Annotated[str | None, typer.Option("--description", help="The flow's docstring if not given.")] = None,
    retries: Annotated[int | None, typer.Option("--retries", help="How often a failed run is tried again.")] = None,
    retry_delay: Annotated[
        float | None, typer.Option("--retry-delay", metavar="SECONDS", help="How long between tries.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="How long a run may take.")
    ] = None,
    concurrency_limit: Annotated[
        int | None, typer.Option("--concurrency-limit", "-cl", min=0, help="Most runs at a time.")
    ] = None,
    collision_strategy: Annotated[
        Collision | None,
        typer.Option(
            "--collision-strategy",
            case_sensitive=False,
            help="What becomes of one run more: it waits (ENQUEUE, if not given), or is cancelled.",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="URL", help="Repository, bucket or folder with the code; or image, inline."),
    ] = None,
    branch: Annotated[str | None, typer.Option("--branch", help="Branch or tag of the repository.")] = None,
    commit: Annotated[str | None, typer.Option("--commit", help="Commit of the repository.")] = None,
    submodules: Annotated[bool, typer.Option("--submodules", help="Fetch the repository's submodules too.")] = False,
    credentials: Annotated[
        str | None,
        typer.Option(
            "--credentials", metavar="BLOCK", help="Block with what the source asks for.", autocompletion=block_names
        ),
    ] = None,
    upload: Annotated[
        str | None, typer.Option("--upload", metavar="URL", help="Bucket to put the folder into, for jobs to fetch.")
    ] = None,
    image: Annotated[
        str | None, typer.Option("--image", metavar="NAME:TAG", help="Image to run in, built with the code in it.")
    ] = None,
    dockerfile: Annotated[str, typer.Option("--dockerfile", help="What to build it by; auto writes one.")] = "auto",
    platform: Annotated[str, typer.Option("--platform", help="Platform of the image.")] = "linux/amd64",
    build: Annotated[
        bool | None, typer.Option("--build/--no-build", help="Build the image; if not given, unless --source is.")
    ] = None,
    push: Annotated[bool, typer.Option("--push/--no-push", help="Push the image that was built.")] = True,
    registry_credentials: Annotated[
        str | None,
        typer.Option(
            "--registry-credentials", metavar="BLOCK", help="Login for pushing the image.", autocompletion=block_names
        ),
    ] = None,
    cron: Annotated[list[str] | None, typer.Option("--cron", help="Run on this cron schedule.")] = None,
    interval: Annotated[
        list[float] | None, typer.Option("--interval", metavar="SECONDS", help="Run every so often.")
    ] = None,
    rrule: Annotated[list[str] | None, typer.Option("--rrule", help="Run by this RFC 5545 rule.")] = None,
    anchor: Annotated[str | None, typer.Option("--anchor-date", help="What an interval counts from.")] = None,
    timezone: Annotated[str | None, typer.Option("--timezone", help="Of the schedules; UTC if not given.")] = None,
) -> None:
    """Deploy a flow to a work pool, or change a deployment of the same flow and name.

    Without FILE.py:FLOW, deploy what a project file has: --all of it, or by --name.
    """
    if entrypoint is None:
        flags = any((param, params, job_variable, tag, pool, version, description, source, cron, interval, rrule))
        deploy_from_file(ctx, names=name or [], everything=all_, file=file, flags=flags)
        return
    from poolform.core.errors import UsageError
    from poolform.core.runs import code, deployments, entrypoints, images
    from poolform.core.runs.parameters import parse_assignments
    from poolform.core.runs.schedules import from_options
    from poolform.core.runs.supply import Suppliers
    from poolform.core.store import pools

    if name is None or len(name) != 1 or pool is None or all_ or file:
        raise UsageError(
            f"To deploy {entrypoint}, Poolform needs one --name and a --pool.",
            hint=f"poolform deploy {entrypoint} --name NAME --pool POOL",
        )
    if collision_strategy is not None and concurrency_limit is None:
        raise UsageError(
            "--collision-strategy says what happens at a limit, and there is none.", hint="Add --concurrency-limit N."
        )
    session = Session.of(ctx)
    with session.store.read() as tx:
        work_pool = pools.get(tx, pool)
    template = work_pool.base_job_template["variables"]
    variables = parse_assignments(job_variable or (), template, option="--job-variable")
    if build is None:
        build = source in {None, "image"} and upload is None
    wanted: str | images.DockerImage | None = image
    if image and build:
        wanted = images.DockerImage(image, dockerfile=dockerfile, platform=platform, credentials=registry_credentials)
    order = images.order(wanted, work_pool, session.plugins, build=build)
    if order.reference:
        variables["image"] = order.reference
    found = code.find(
        work_pool,
        entrypoint,
        source,
        Suppliers(session.plugins, session.blocks),
        image=variables.get("image"),
        custom=tuple(session.plugins.sources),
        upload_to=upload,
        branch=branch,
        commit=commit,
        submodules=submodules,
        credentials=credentials,
    )
    given = {"retries": retries, "retry_delay_seconds": retry_delay, "timeout_seconds": timeout}
    plan = deployments.Plan(
        name=name[0],
        flow=found.flow,
        entrypoint=found.entrypoint,
        source=found.source,
        queue=queue,
        parameters=gathered(params, param, found.flow.parameter_schema),
        job_variables=variables,
        options={option: value for option, value in given.items() if value is not None},
        tags=tag or (),
        version=version,
        description=description,
        concurrency_limit=concurrency_limit,
        collision="cancel-new" if collision_strategy is Collision.cancel_new else "enqueue",
        schedules=from_options(cron=cron, interval=interval, rrule=rrule, anchor_date=anchor, timezone=timezone),
    )
    deployments.check(work_pool, plan)
    if order.image:
        folder = entrypoints.locate(entrypoint, Path.cwd()).folder
        order.carry_out(session.blocks, folder=folder, push=push, on_line=say)
    with session.store.write() as tx:
        saved = deployments.save(tx, work_pool, plan)
    say_deployed(session, saved, work_pool)
    if source is None and found.source == code.IN_IMAGE and found.flow.files and not order.image:
        where = f"in the working directory of the image {variables['image']}"
        say(f"Its jobs look for {found.entrypoint.rpartition(':')[0]} {where}; --source inline sends it along instead.")
