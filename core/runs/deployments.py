"""Deployments: a flow's code, described, checked against its pool, and stored; and runs of it, submitted.

Everything that can be known to go wrong is refused here, by name, before anything is stored. Checking is apart from
storing: it imports jsonschema, which takes longer than anybody should hold the database.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from poolform.core.errors import InvalidValues, NotReady, UsageError
from poolform.core.runs import durations, timetables
from poolform.core.runs import parameters as flow_parameters
from poolform.core.runs.entrypoints import OPTIONS
from poolform.core.runs.jobs import check_job_variables
from poolform.core.store import deployments, queues, runs, schedules, workers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from poolform.core.runs.entrypoints import Description
    from poolform.core.runs.launchers import Json
    from poolform.core.runs.schedules import Schedule
    from poolform.core.store.database import Transaction
    from poolform.core.store.deployments import Collision, Deployment
    from poolform.core.store.pools import WorkPool
    from poolform.core.store.runs import FlowRun


@dataclass(frozen=True)
class Plan:
    """A deployment as it shall be. `options` override the flow's own; `paused` and `schedules` None leave what is."""

    name: str
    flow: Description
    entrypoint: str
    source: Mapping[str, Json]
    queue: str = queues.DEFAULT
    parameters: Mapping[str, Json] = field(default_factory=dict)
    job_variables: Mapping[str, Json] = field(default_factory=dict)
    options: Mapping[str, Json] = field(default_factory=dict)
    tags: Sequence[str] = ()
    version: str | None = None
    description: str | None = None
    concurrency_limit: int | None = None
    collision: Collision = "enqueue"
    paused: bool | None = None
    schedules: Sequence[Schedule] | None = None
    project: str | None = None


def check(pool: WorkPool, plan: Plan) -> None:
    """Refuse a deployment that could not run as it is. Asks nobody, so it is done before a transaction is open.

    Raises UsageError for the name, and for the pool of served deployments; InvalidValues for options, parameters and
    job variables that do not fit.
    """
    _check_name(plan.name)
    if pool.is_served and plan.queue != f"{plan.flow.flow_name}/{plan.name}":  # the queue that serving gives it
        raise UsageError(
            f"No worker takes what is deployed to the work pool {pool.name}: scripts serve their own flows there.",
            hint="Name another pool, or serve the flow from its script: flow.serve(name=NAME).",
        )
    options = {**plan.flow.options, **plan.options}
    _check_options(options)
    if options.get("validate_parameters", True):
        flow_parameters.validate(_none_required(plan.flow.parameter_schema), plan.parameters, flow=plan.flow.flow_name)
        if plan.schedules:
            schema, flow = plan.flow.parameter_schema, plan.flow.flow_name
            timetables.check(plan.schedules, schema, plan.parameters, flow=flow)
    check_job_variables(pool, plan.job_variables)


def save(tx: Transaction, pool: WorkPool, plan: Plan) -> Deployment:
    """Store a checked deployment, in place of one of the same flow and name; twice is as good as once.

    Raises NotFound for the queue.
    """
    queue = queues.get(tx, pool.id, plan.queue)
    before = deployments.find(tx, f"{plan.flow.flow_name}/{plan.name}")
    more: dict[str, Any] = {} if plan.paused is None else {"paused": plan.paused}
    name = {"flow_name": plan.flow.flow_name, "name": plan.name}
    saved = deployments.save(tx, **name, pool_id=pool.id, queue_id=queue.id, **columns(plan), **more)
    if before is not None and before.paused != saved.paused:
        timetables.refresh(tx, saved)
    if plan.schedules is not None:
        timetables.replace(tx, saved, plan.schedules)
    return saved


def columns(plan: Plan) -> dict[str, Any]:
    """Return what a deployment's row says of itself: all but its name, its pool and queue, and whether it is paused."""
    return {
        "entrypoint": plan.entrypoint,
        "source": dict(plan.source),
        "parameters": dict(plan.parameters),
        "parameter_schema": dict(plan.flow.parameter_schema),
        "job_variables": dict(plan.job_variables),
        "options": {**plan.flow.options, **plan.options},
        "tags": sorted(set(plan.tags)),
        "version": plan.version,
        "description": plan.description or plan.flow.description,
        "concurrency_limit": plan.concurrency_limit,
        "collision": plan.collision,
        "project": plan.project,
    }


def check_run(
    pool: WorkPool,
    deployment: Deployment,
    *,
    parameters: Mapping[str, Json],
    job_variables: Mapping[str, Json],
) -> None:
    """Refuse a run that could not start. Asks nobody, so it is done before a transaction is open.

    Raises NotReady where the pool runs nothing now, InvalidValues for parameters and job variables that do not fit.
    """
    check_ready(pool)
    if deployment.options.get("validate_parameters", True):
        together = {**deployment.parameters, **parameters}
        flow_parameters.validate(deployment.parameter_schema, together, flow=deployment.flow_name)
    # The pool's template may have become narrower since it was deployed.
    check_job_variables(pool, deployment.job_variables, job_variables, complete=True)


def submit(
    tx: Transaction,
    pool: WorkPool,
    deployment: Deployment,
    *,
    parameters: Mapping[str, Json] | None = None,
    job_variables: Mapping[str, Json] | None = None,
    name: str | None = None,
    tags: Sequence[str] = (),
    scheduled_at: float | None = None,
    idempotency_key: str | None = None,
) -> FlowRun:
    """Store a checked run of a deployment, to be dispatched as soon as there is room.

    It keeps the parameters that the deployment has now: what a run was called with stays known, also for a retry.
    """
    return runs.submit(
        tx,
        pool=pool,
        deployment=deployment,
        flow_name=deployment.flow_name,
        name=name,
        parameters={**deployment.parameters, **(parameters or {})},
        job_variables=job_variables,
        tags=sorted({*deployment.tags, *tags}),
        scheduled_at=scheduled_at,
        timeout_seconds=deployment.options.get("timeout_seconds"),
        retries=deployment.options.get("retries") or 0,
        retry_delay_seconds=deployment.options.get("retry_delay_seconds") or 0,
        idempotency_key=idempotency_key,
    )


def next_steps(tx: Transaction, pool: WorkPool, deployment: Deployment) -> tuple[list[str], str]:
    """Return what keeps a deployment from running, each with the way out; and how it is run, a sentence."""
    run = f"poolform deployment run '{deployment.full_name}' --watch"
    try:
        check_ready(pool)
    except NotReady as exc:
        return [f"{exc.message} {exc.hint}"], f"Then run it: {run}"
    scheduled = any(schedule.active for schedule in schedules.of_deployment(tx, deployment.id))
    if scheduled and not deployment.paused and not workers.live(tx, pool_id=pool.id):
        return [f"No worker is there to run it on schedule: poolform worker start --pool {pool.name}"], f"Run it: {run}"
    return [], f"Run it: {run}"


def check_ready(pool: WorkPool) -> None:
    """Raise NotReady, with the way out, for a pool that runs nothing now."""
    if pool.state != "ready":
        raise NotReady(
            f"Work pool {pool.name} is {pool.state_in_words}, so nothing can run in it.",
            hint=f"Provision it: poolform work-pool provision-infra {pool.name}",
        )
    if pool.paused:
        raise NotReady(
            f"Work pool {pool.name} is paused, so nothing would run in it.",
            hint=f"Let it go on: poolform work-pool resume {pool.name}",
        )


def _check_name(name: str) -> None:
    if not name or "/" in name or not name.isprintable() or len(name) > 200:
        raise UsageError(
            f"{name!r} cannot be the name of a deployment.",
            hint="Use up to 200 printable characters, and no slash: it is called FLOW/NAME.",
        )


_MOST = {"retries": 1_000_000, "retry_delay_seconds": durations.LONGEST, "timeout_seconds": durations.LONGEST}
"""What the options of a deployment may be at most."""


def _check_options(options: Mapping[str, Json]) -> None:
    found = [f"{name}: there is no such option." for name in options if name not in OPTIONS]
    for name, most in _MOST.items():
        value = options.get(name)
        if value is not None and value < 0:
            found.append(f"{name}: {value} is less than 0.")
        elif value is not None and not value <= most:  # NaN is not, either
            found.append(f"{name}: {value} is not at most {most:,.0f}.")
    if options.get("timeout_seconds") == 0:
        found.append(f"timeout_seconds: {options['timeout_seconds']} is not more than 0.")
    if found:
        raise InvalidValues("The options of the deployment make no sense:", found)


def _none_required(schema: Mapping[str, Json]) -> dict[str, Json]:
    """Return a schema for the parameters of a deployment, which may leave some to its runs."""
    return {key: value for key, value in schema.items() if key != "required"}
