"""A deployment's schedules in the store: set, paused, resumed, and when each is due next.

Runs are made when they are due, none ahead: what is changed or paused takes effect at once, and there is nothing to
take back. What was missed while nobody was there to run it is made up for by one run, that of the latest time; what
was paused is not made up for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING

from poolform.core.errors import InvalidValues, UsageError
from poolform.core.runs.moments import next_after, upcoming
from poolform.core.runs.schedules import Schedule
from poolform.core.store import deployments, runs
from poolform.core.store import schedules as stored

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from poolform.core.runs.launchers import Json
    from poolform.core.store.database import Transaction
    from poolform.core.store.deployments import Deployment
    from poolform.core.store.pools import WorkPool
    from poolform.core.store.schedules import DeploymentSchedule


def check(
    schedules: Sequence[Schedule], schema: Mapping[str, Json], parameters: Mapping[str, Json], *, flow: str
) -> None:
    """Refuse schedules whose runs could not start: there is nobody to give them what a parameter lacks.

    Raises InvalidValues, also for two with one slug.
    """
    from poolform.core.runs import schemas

    found = []
    for schedule in schedules:
        problems = schemas.problems(schema, {**parameters, **schedule.parameters}, noun="parameter")
        found += [f"{schedule.slug or schedule.text}: {problem}" for problem in problems]
    slugs = [schedule.slug for schedule in schedules if schedule.slug]
    found += [f"{slug}: two schedules have this slug." for slug in sorted({s for s in slugs if slugs.count(s) > 1})]
    if found:
        raise InvalidValues(f"Runs of the flow {flow} could not be scheduled:", found)


def spec(row: DeploymentSchedule) -> Schedule:
    """Return a stored schedule as people write it."""
    return Schedule(row.kind, row.expression, row.timezone, row.anchor, row.parameters, row.active, row.slug)


def replace(tx: Transaction, deployment: Deployment, wanted: Sequence[Schedule]) -> None:
    """Give a deployment exactly these schedules.

    One that is there already (by slug, else by all that it says) stays as it is, paused or overdue; a changed one with
    a slug stays paused, and is due when it now says.
    """
    kept, new, gone = compared(stored.of_deployment(tx, deployment.id), wanted)
    for row, schedule in kept:
        if differs(row, schedule):
            active = row.active if schedule.active is None else schedule.active
            columns = {**_columns(schedule), "active": active}
            stored.update(tx, row.id, **columns, next_at=_next(tx, deployment, schedule, active=active))
    for schedule in new:
        add(tx, deployment, schedule)
    for row in gone:
        stored.delete(tx, row.id)


def compared(
    known: Sequence[DeploymentSchedule], wanted: Sequence[Schedule]
) -> tuple[list[tuple[DeploymentSchedule, Schedule]], list[Schedule], list[DeploymentSchedule]]:
    """Return which schedules are there already, with what is wanted of them, which are new, and which are to go."""
    gone, kept, new = list(known), [], []
    for schedule in wanted:
        row = next((row for row in gone if _is(row, schedule)), None)
        if row is None:
            new.append(schedule)
        else:
            gone.remove(row)
            kept.append((row, schedule))
    return kept, new, gone


def differs(row: DeploymentSchedule, wanted: Schedule) -> bool:
    """Say whether a schedule that is there has to be changed."""
    return wanted.active not in (None, row.active) or _content(spec(row)) != _content(wanted)


def add(tx: Transaction, deployment: Deployment, schedule: Schedule) -> DeploymentSchedule:
    """Give a deployment one more schedule."""
    active = schedule.active is not False
    return stored.add(
        tx,
        deployment.id,
        **_columns(schedule),
        active=active,
        next_at=_next(tx, deployment, schedule, active=active),
    )


def set_active(tx: Transaction, deployment: Deployment, row: DeploymentSchedule, *, active: bool) -> None:
    """Pause or resume one schedule; what a pause leaves out is not made up for."""
    if row.active != active:
        stored.update(tx, row.id, active=active, next_at=_next(tx, deployment, spec(row), active=active))


def set_paused(tx: Transaction, deployment: Deployment, *, paused: bool) -> Deployment:
    """Pause or resume a deployment, its schedules with it."""
    if deployment.paused == paused:
        return deployment
    changed = deployments.update(tx, deployment.id, paused=paused)
    refresh(tx, changed)
    return changed


def refresh(tx: Transaction, deployment: Deployment) -> None:
    """Say of all schedules of a deployment that was just paused or resumed when they are due."""
    for row in stored.of_deployment(tx, deployment.id):
        stored.update(tx, row.id, next_at=_next(tx, deployment, spec(row), active=row.active))


def moment(text: str, *, of: str) -> float:
    """Return the time that an ISO 8601 text means; without a zone, in this machine's. Raises UsageError, as `of`."""
    try:
        found = datetime.fromisoformat(text).timestamp()
        datetime.fromtimestamp(found + 86_400, UTC)  # whoever shows it, wherever they are, must be able to
    except (ValueError, OverflowError) as exc:
        raise UsageError(
            f"{of} is {text!r}, which is no time.", hint="Write it as 2026-11-26T09:00, or with its zone: …+01:00."
        ) from exc
    return found


@dataclass(frozen=True)
class Upcoming:
    """A run that is due: one that waits (`name` and `id`), or one that a schedule (its text) will make."""

    scheduled_at: float
    flow: str
    deployment: str | None
    queue: str | None
    name: str | None = None
    id: str | None = None
    schedule: str | None = None
    timezone: str | None = None


def preview(tx: Transaction, pool: WorkPool, *, hours: float, most: int = 1000) -> list[Upcoming]:
    """Return what is due in a pool within some hours, soonest first; overdue times of a schedule count as one."""
    now = tx.now()
    until = now + hours * 3600
    there = [
        Upcoming(run.scheduled_at, run.flow_name, run.deployment, run.queue, run.name, run.id)
        for run in runs.due(tx, pool.id, until=until, limit=most)
    ]
    known = {deployment.id: deployment for deployment in deployments.list_all(tx, pool_id=pool.id)}
    rows = [(known[row.deployment_id], row) for row in stored.to_come(tx, pool_id=pool.id)]
    to_come = (_times(deployment, row, now, until) for deployment, row in rows)
    return list(islice(merge(there, *to_come, key=lambda run: run.scheduled_at), most))


def _times(deployment: Deployment, row: DeploymentSchedule, now: float, until: float) -> Iterator[Upcoming]:
    schedule = spec(row)
    assert row.next_at is not None, "it is to come"
    first = max(row.next_at, now)
    if first <= until:
        yield _made(deployment, schedule, first)
    for at in upcoming(schedule, first, until):
        yield _made(deployment, schedule, at)


def _made(deployment: Deployment, schedule: Schedule, at: float) -> Upcoming:
    return Upcoming(
        at,
        deployment.flow_name,
        deployment.full_name,
        deployment.queue,
        schedule=schedule.text,
        timezone=schedule.timezone,
    )


def _next(tx: Transaction, deployment: Deployment, schedule: Schedule, *, active: bool) -> float | None:
    return next_after(schedule, tx.now()) if active and not deployment.paused else None


def _is(row: DeploymentSchedule, schedule: Schedule) -> bool:
    if schedule.slug or row.slug:
        return row.slug == schedule.slug
    return _content(spec(row)) == _content(schedule)


def _content(schedule: Schedule) -> tuple[object, ...]:
    return (*_columns(schedule).values(),)


def _columns(schedule: Schedule) -> dict[str, Json]:
    return {
        "kind": schedule.kind,
        "expression": schedule.expression,
        "timezone": schedule.timezone,
        "anchor": schedule.anchor,
        "parameters": dict(schedule.parameters),
        "slug": schedule.slug,
    }
