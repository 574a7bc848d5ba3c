"""Deployments as scripts write them: `flow.deploy`, `flow.to_deployment`, `deploy(*deployments)`."""

from __future__ import annotations

import inspect
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from poolform.core.errors import UsageError
from poolform.core.runs import deployments, entrypoints
from poolform.core.runs.deployments import Plan
from poolform.core.runs.entrypoints import Place
from poolform.core.runs.schedules import from_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta

    from poolform.core.opening import Opened
    from poolform.core.runs.launchers import Json
    from poolform.core.runs.schedules import Schedule
    from poolform.core.store.deployments import Collision
    from poolform.core.store.pools import WorkPool


class DeploymentOptions(TypedDict, total=False):
    """What a deployment may be given, under the names that Prefect has for it.

    Several schedules may be given of each kind, and in `schedules` with zones and parameters of their own; none at all
    leaves what the deployment has. `paused` None leaves it as it is. A concurrency limit is a number, or has a `limit`
    and a `collision_strategy` of ENQUEUE or CANCEL_NEW. `entrypoint` is for flows whose file cannot be told.
    """

    cron: str | Sequence[str] | None
    interval: float | timedelta | Sequence[float | timedelta] | None
    rrule: str | Sequence[str] | None
    schedules: Sequence[Schedule | Mapping[str, Any] | object] | None
    parameters: Mapping[str, Any] | None
    description: str | None
    tags: Sequence[str] | None
    version: str | None
    paused: bool | None
    concurrency_limit: int | Mapping[str, Any] | object | None
    job_variables: Mapping[str, Any] | None
    entrypoint: str | None


@dataclass(frozen=True)
class FlowDeployment:
    """A deployment that is still to be made: a flow's place and description, and what it was given."""

    plan: Plan
    place: Place
    work_pool_name: str | None = None

    @property
    def full_name(self) -> str:
        """Return FLOW/NAME."""
        return f"{self.plan.flow.flow_name}/{self.plan.name}"

    def plan_for(self, pool: WorkPool) -> Plan:
        """Return the plan with where the code is for jobs of this pool."""
        from poolform.core.runs.code import source_for

        image = self.plan.job_variables.get("image")
        return replace(self.plan, source=self.plan.source or source_for(pool, self.place, self.plan.flow, image=image))


def to_deployment(
    flow: Callable[..., Any],
    name: str | None = None,
    *,
    work_pool_name: str | None = None,
    work_queue_name: str | None = None,
    **options: Unpack[DeploymentOptions],
) -> FlowDeployment:
    """Return a deployment of a flow, or of any callable, for `serve` and `deploy`; nothing is stored yet.

    The flow's code is imported anew, by a Python of its own, as its runs will do. `name` is the flow's own if it is not
    given. Raises UsageError, InvalidValues.
    """
    _check_not_in_a_run()
    given = options.pop("entrypoint", None)
    place = entrypoints.locate(given, Path.cwd()) if given else place_of(flow)
    described = entrypoints.read(place)
    return planned(described, place, name, work_pool_name, work_queue_name, options)


def planned(
    described: entrypoints.Description,
    place: Place,
    name: str | None,
    work_pool_name: str | None,
    work_queue_name: str | None,
    options: DeploymentOptions,
) -> FlowDeployment:
    """Return a deployment of a flow that is described already. Raises UsageError, InvalidValues, TypeError."""
    from poolform.core.runs.parameters import to_json

    if unknown := set(options) - set(DeploymentOptions.__annotations__):
        raise TypeError(f"a deployment has no option {', '.join(sorted(unknown))}.")
    limit, collision = _limit(options.get("concurrency_limit"))
    plan = Plan(
        name=name or described.flow_name,
        flow=described,
        entrypoint=place.entrypoint,
        source={},
        queue=work_queue_name or "default",
        parameters=to_json(options.get("parameters") or {}),
        job_variables=to_json(options.get("job_variables") or {}),
        tags=tuple(options.get("tags") or ()),
        version=options.get("version"),
        description=options.get("description"),
        concurrency_limit=limit,
        collision=collision,
        paused=options.get("paused"),
        schedules=from_options(
            cron=options.get("cron"),
            interval=options.get("interval"),
            rrule=options.get("rrule"),
            schedules=options.get("schedules"),
        ),
    )
    return FlowDeployment(plan, place, work_pool_name)


def deploy(
    *given: FlowDeployment | object,
    work_pool_name: str | None = None,
    image: Any = None,
    build: bool = True,
    push: bool = True,
    print_next_steps: bool = True,
) -> list[str]:
    """Deploy some flows to a work pool: what `to_deployment` returns, Prefect's own deployments, or flows.

    `image` is a name or a DockerImage; unless `build` is off it is built from the flows' folder, and then pushed unless
    `push` is off. All are checked before that, and before the first is stored. Returns their names, FLOW/NAME. Raises
    UsageError, NotFound for the pool or queue, InvalidValues for what the pool does not take, ImageError.
    """
    from poolform.core.opening import opened, tell
    from poolform.core.runs import images

    wanted = [as_deployment(one) for one in given]
    with opened() as house:
        pairs = [(_pool(house, one, work_pool_name), one) for one in wanted]
        orders = [images.order(image, pool, house.plugins, build=build) for pool, _ in pairs]
        plans = [
            (pool, _in_image(one, order.reference).plan_for(pool))
            for (pool, one), order in zip(pairs, orders, strict=True)
        ]
        for pool, plan in plans:
            deployments.check(pool, plan)
        folders = {one.place.folder for one in wanted if not one.plan.source}
        for order in {order.reference: order for order in orders}.values():
            order.carry_out(house.blocks, folder=next(iter(folders)) if len(folders) == 1 else None, push=push)
        with house.store.write() as tx:
            saved = [(pool, deployments.save(tx, pool, plan)) for pool, plan in plans]
        with house.store.read() as tx:
            steps = [deployments.next_steps(tx, pool, deployment) for pool, deployment in saved]
    for (_, deployment), (obstacles, run_it) in zip(saved, steps, strict=True) if print_next_steps else ():
        tell(f"Deployed {deployment.full_name} to the work pool {deployment.pool}.")
        for line in (*obstacles, run_it):
            tell(line)
    return [deployment.full_name for _, deployment in saved]


def _in_image(one: FlowDeployment, reference: str | None) -> FlowDeployment:
    """Return a deployment that runs in an image; None leaves what its job variables say."""
    if reference is None:
        return one
    variables = {**one.plan.job_variables, "image": reference}
    return replace(one, plan=replace(one.plan, job_variables=variables))


def as_deployment(given: Any) -> FlowDeployment:
    """Return a deployment from one, from one of Prefect's, or from a flow. Raises UsageError."""
    from poolform.core.runs.remote import RemoteFlow

    if isinstance(given, FlowDeployment):
        return given
    if hasattr(given, "flow_name") and hasattr(given, "entrypoint"):
        return _from_prefect(given)
    if callable(given):
        return to_deployment(given)
    if isinstance(given, RemoteFlow):
        return given.to_deployment()
    raise UsageError(f"{given!r} is no deployment.", hint="Pass flow.to_deployment(NAME), or a flow.")


def place_of(flow: Callable[..., Any]) -> Place:
    """Return where a flow is that a script has imported or defined. Raises UsageError where nothing could import it.

    A module of a package is named as such, so that it can import its neighbours; any other by its file.
    """
    function = inspect.unwrap(getattr(flow, "__func__", flow))
    module = sys.modules.get(getattr(function, "__module__", ""))
    file = getattr(module, "__file__", None)
    if module is None or file is None:
        raise UsageError(
            f"{_called(flow)} is in no file, so no job could import it.",
            hint="Write it into a file, or pass its place: entrypoint='FILE.py:FUNCTION'.",
        )
    name = next((name for name, value in vars(module).items() if value is flow), None)
    if name is None:
        name = getattr(function, "__qualname__", "")
        if not name or "<" in name:
            raise UsageError(
                f"{_called(flow)} is not a name of its module, so no job could import it.",
                hint="Define it at the top level of a file.",
            )
    dotted = getattr(getattr(module, "__spec__", None), "name", module.__name__)
    is_package = Path(file).name == "__init__.py"
    if "." in dotted or is_package:
        ups = dotted.count(".") + is_package
        return Place(f"{dotted}:{name}", Path(file).resolve().parents[ups])
    return entrypoints.locate(f"{Path(file).resolve()}:{name}", Path.cwd())


def _from_prefect(given: Any) -> FlowDeployment:
    """Return ours for a deployment that Prefect's `flow.to_deployment` made."""
    if getattr(given, "triggers", None):
        raise UsageError(f"The deployment {given.name} has triggers, which Poolform does not have.")
    folder = Path(getattr(given, "_path", None) or ".").absolute()
    place = entrypoints.locate(given.entrypoint, folder)
    limit = getattr(given, "concurrency_limit", None)
    strategy = getattr(getattr(given, "concurrency_options", None), "collision_strategy", None)
    options: DeploymentOptions = {
        "schedules": list(given.schedules) if given.schedules else None,
        "parameters": given.parameters,
        "description": given.description,
        "tags": given.tags,
        "version": given.version,
        "paused": given.paused,
        "concurrency_limit": {"limit": limit, "collision_strategy": strategy} if limit else None,
        "job_variables": given.job_variables,
    }
    pool, queue = given.work_pool_name, given.work_queue_name
    return planned(entrypoints.read(place), place, given.name, pool, queue, options)


def _pool(house: Opened, one: FlowDeployment, work_pool_name: str | None) -> WorkPool:
    from poolform.core.store import pools

    name = work_pool_name or one.work_pool_name
    if name is None:
        raise UsageError(
            f"{one.full_name} was given no work pool.",
            hint="Pass work_pool_name=…, or run it from here without any: serve(…).",
        )
    with house.store.read() as tx:
        return pools.get(tx, name)


def _limit(given: Any) -> tuple[int | None, Collision]:
    if given is None or (isinstance(given, int) and not isinstance(given, bool)):
        if given is not None and given < 0:
            raise UsageError(f"A concurrency limit is a number of runs, not {given}.")
        return given, "enqueue"
    fields: Mapping[str, Json] = given if isinstance(given, dict) else vars(given) if hasattr(given, "limit") else {}
    limit = fields.get("limit")
    strategy = fields.get("collision_strategy") or "ENQUEUE"
    known: dict[str, Collision] = {"ENQUEUE": "enqueue", "CANCEL_NEW": "cancel-new"}
    collision = known.get(str(getattr(strategy, "value", strategy)).upper().replace("-", "_"))
    if not isinstance(limit, int) or collision is None:
        raise UsageError(
            f"{given!r} is no concurrency limit.",
            hint="Write a number, or {'limit': 1, 'collision_strategy': 'CANCEL_NEW'}; the other strategy is ENQUEUE.",
        )
    return limit, collision


def _check_not_in_a_run() -> None:
    """Refuse to deploy while a flow's file is only imported: each import would go on to import it again."""
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    if "POOLFORM_RUN_ID" in os.environ or (main is not None and main.name == entrypoints.__name__):
        raise UsageError(
            "This file deploys or serves whenever it is imported, and its flow's runs import it. "
            'Put that under: if __name__ == "__main__":'
        )


def _called(flow: Any) -> str:
    return f"The flow {getattr(flow, 'name', None) or getattr(flow, '__name__', repr(flow))}"
