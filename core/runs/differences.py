"""What differs between what is stored and what is wanted, in words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from poolform.core.runs import deployments, timetables
from poolform.core.runs.schemas import shown
from poolform.core.store import deployments as stored
from poolform.core.store import schedules

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from poolform.core.runs.deployments import Plan
    from poolform.core.runs.launchers import Json
    from poolform.core.runs.project import Queue
    from poolform.core.runs.schedules import Schedule
    from poolform.core.store.database import Transaction
    from poolform.core.store.pools import WorkPool
    from poolform.core.store.queues import WorkQueue
    from poolform.core.store.schedules import DeploymentSchedule

Action = Literal["create", "update", "destroy"]


@dataclass(frozen=True)
class Change:
    """One thing that would be made, changed or deleted; `details` say what of it."""

    action: Action
    kind: Literal["work pool", "deployment"]
    name: str
    details: Sequence[str] = ()


def of_pool(known: WorkPool, wanted: WorkPool) -> Iterator[str]:
    """Return what differs of a pool's record."""
    for key in sorted({*known.variables, *wanted.variables}):
        yield from _detail(key, known.variables.get(key), wanted.variables.get(key))
    yield from _detail("concurrency_limit", known.concurrency_limit, wanted.concurrency_limit)
    yield from _detail("paused", known.paused, wanted.paused)
    if known.base_job_template != wanted.base_job_template:
        yield "base_job_template"


def of_queues(known: Sequence[WorkQueue], wanted: Sequence[Queue]) -> Iterator[str]:
    """Return what differs of a pool's queues; those that are not wanted are left alone."""
    there = {queue.name: queue for queue in known}
    for queue in wanted:
        before = there.get(queue.name)
        if before is None:
            yield f"work queue {queue.name}"
            continue
        for key in ("priority", "concurrency_limit", "paused"):
            yield from _detail(f"work queue {queue.name}: {key}", getattr(before, key), getattr(queue, key))


def of_deployment(tx: Transaction, pool: WorkPool, plan: Plan) -> Change | None:
    """Return what deploying a plan would change, None for nothing."""
    name = f"{plan.flow.flow_name}/{plan.name}"
    known = stored.find(tx, name)
    wanted = deployments.columns(plan)
    if known is None:
        schedule = [_described(one) for one in plan.schedules or ()]
        return Change("create", "deployment", name, [f"work pool {pool.name}", *schedule])
    details = [
        *_detail("work_pool", known.pool, pool.name),
        *_detail("work_queue_name", known.queue, plan.queue),
        *(detail for key, value in wanted.items() for detail in _column(key, getattr(known, key), value)),
    ]
    if plan.paused is not None:
        details += _detail("paused", known.paused, plan.paused)
    if plan.schedules is not None:
        details += _timetable(schedules.of_deployment(tx, known.id), plan.schedules)
    return Change("update", "deployment", name, details) if details else None


def _column(key: str, before: Json, after: Json) -> Iterator[str]:
    if key in ("parameters", "job_variables") and before != after:
        for name in sorted({*before, *after}):
            yield from _detail(f"{key}.{name}", before.get(name), after.get(name), secret=name == "env")
    elif key == "parameter_schema":
        if before != after:
            yield "the flow's parameters"
    else:
        yield from _detail(key, before, after)


def _timetable(known: Sequence[DeploymentSchedule], wanted: Sequence[Schedule]) -> list[str]:
    kept, new, gone = timetables.compared(known, wanted)
    changed = [f"schedule {row.slug or _described(spec)}" for row, spec in kept if timetables.differs(row, spec)]
    return [
        *changed,
        *(f"+ schedule {_described(one)}" for one in new),
        *(f"- schedule {_described(timetables.spec(row))}" for row in gone),
    ]


def _described(schedule: Schedule) -> str:
    return f"{schedule.text} ({schedule.timezone})"


def _detail(key: str, before: Json, after: Json, *, secret: bool = False) -> Iterator[str]:
    """Return `key: before → after`, without values where people keep secrets."""
    if _plain(before) == _plain(after):
        return
    if secret:
        yield key
    elif isinstance(before, dict) and isinstance(after, dict):
        yield f"{key}: {', '.join(sorted(k for k in {*before, *after} if before.get(k) != after.get(k)))}"
    else:
        yield f"{key}: {shown(before)} → {shown(after)}"


def _plain(value: Json) -> str:
    return json.dumps(value, sort_keys=True, default=str)
