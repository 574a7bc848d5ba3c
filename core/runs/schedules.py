"""Schedules: when a deployment is due, as people write it: cron, interval, rrule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from poolform.core.errors import UsageError, nearest
from poolform.core.runs.moments import instant, next_after, zone_of

if TYPE_CHECKING:
    from poolform.core.runs.launchers import Json

Kind = Literal["cron", "interval", "rrule"]

_DAY = 86_400
_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


@dataclass(frozen=True)
class Schedule:
    """When runs are due, and with which parameters on top of the deployment's. Make one with Cron, Interval or RRule.

    `expression` is the cron line, the seconds between two runs as text, or the rule. `anchor` (seconds since the epoch)
    is a moment that an interval or a rule without DTSTART counts from, before it as well as after; None is midnight of
    2020-01-01 in the zone, so that deploying again moves nothing. `active` None leaves a known schedule as it is, and
    starts a new one. `slug` names the schedule, so that a changed one is known for the same.
    """

    kind: Kind
    expression: str
    timezone: str = "UTC"
    anchor: float | None = None
    parameters: Mapping[str, Json] = field(default_factory=dict)
    active: bool | None = None
    slug: str | None = None

    @property
    def text(self) -> str:
        """Return it in few words, for people."""
        if self.kind == "interval":
            return f"every {timedelta(seconds=float(self.expression))}"
        return self.expression if self.kind == "cron" else " ".join(self.expression.split())


def Cron(  # noqa: N802 - the field's name for it, as in prefect.schedules
    cron: str,
    /,
    *,
    timezone: str | None = None,
    day_or: bool = True,
    slug: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    active: bool | None = None,
) -> Schedule:
    """Return a schedule of five cron fields, or of a macro such as `@daily`. Raises UsageError.

    Days of the month and of the week are alternatives where both are given, as in cron.
    """
    if not isinstance(cron, str):
        raise UsageError(f"A cron schedule is a text of five fields, not {cron!r}.")
    if not day_or:
        raise UsageError(
            "day_or: false is not supported: in cron, a day of the month and a day of the week are alternatives.",
            hint="Say it as a rule: FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13;BYHOUR=9;BYMINUTE=0;BYSECOND=0",
        )
    made = Schedule("cron", " ".join(cron.split()), timezone or "UTC", None, _parameters(parameters), active, slug)
    return _checked(made)


def Interval(  # noqa: N802
    interval: timedelta | float,
    /,
    *,
    anchor_date: datetime | str | None = None,
    timezone: str | None = None,
    slug: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    active: bool | None = None,
) -> Schedule:
    """Return a schedule that is due every `interval` (seconds where it is a number), counted from `anchor_date`.

    Raises UsageError.
    """
    if isinstance(interval, bool) or not isinstance(interval, timedelta | int | float):
        raise UsageError(f"An interval is a number of seconds or a timedelta, not {interval!r}.")
    seconds = interval.total_seconds() if isinstance(interval, timedelta) else float(interval)
    if not 1 <= seconds <= 3650 * _DAY:
        raise UsageError(f"An interval is between 1 second and 10 years, not {seconds:g} seconds.")
    zone = timezone or "UTC"
    text = f"{seconds:.6f}".rstrip("0").rstrip(".")
    return _checked(Schedule("interval", text, zone, _anchor(anchor_date, zone), _parameters(parameters), active, slug))


def RRule(  # noqa: N802
    rrule: str,
    /,
    *,
    timezone: str | None = None,
    anchor_date: datetime | str | None = None,
    slug: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    active: bool | None = None,
) -> Schedule:
    """Return a schedule of an RFC 5545 recurrence rule, with or without DTSTART. Raises UsageError.

    The zone is `timezone`, else DTSTART's TZID, else UTC.
    """
    if not isinstance(rrule, str):
        raise UsageError(f"A recurrence rule is a text such as FREQ=DAILY;BYHOUR=9, not {rrule!r}.")
    from poolform.core.runs.recurrence import timezone_of

    zone = timezone or timezone_of(rrule) or "UTC"
    lines = "\n".join(line.strip() for line in rrule.strip().splitlines())
    return _checked(Schedule("rrule", lines, zone, _anchor(anchor_date, zone), _parameters(parameters), active, slug))


def from_options(
    *,
    cron: object = None,
    interval: object = None,
    rrule: object = None,
    schedules: object = None,
    anchor_date: datetime | str | None = None,
    timezone: str | None = None,
) -> tuple[Schedule, ...] | None:
    """Return what the options of `deploy`, each one value or several, amount to; None where none is given.

    `schedules` are Schedule, mappings as in a project file, or Prefect's own objects. Raises UsageError.
    """
    if all(given is None for given in (cron, interval, rrule, schedules)):
        if anchor_date or timezone:
            raise UsageError(
                "An anchor or a time zone was given, but no schedule.", hint="Give cron, interval or rrule."
            )
        return None
    made = [Cron(one, timezone=timezone) for one in _several(cron)]
    made += [Interval(one, anchor_date=anchor_date, timezone=timezone) for one in _several(interval)]
    made += [RRule(one, anchor_date=anchor_date, timezone=timezone) for one in _several(rrule)]
    return (*made, *map(read, _several(schedules)))


def read(given: Any) -> Schedule:
    """Return a schedule from a Schedule, a mapping as in a project file, or Prefect's own object. Raises UsageError."""
    if isinstance(given, Schedule):
        return given
    if isinstance(given, dict):
        return _from_mapping(given)
    inner = getattr(given, "schedule", None)  # a schedule of a deployment holds one of the three
    fields = ("cron", "interval", "rrule", "timezone", "anchor_date", "day_or", "slug", "active", "parameters")
    found: dict[str, Json] = {}
    for one in (inner, given):
        found |= {name: value for name in fields if (value := getattr(one, name, None)) is not None}
    if not {"cron", "interval", "rrule"} & set(found):
        raise UsageError(
            f"{given!r} is no schedule.",
            hint='Write Cron("0 1 * * *"), Interval(3600) or RRule("FREQ=DAILY;BYHOUR=1").',
        )
    if isinstance(found.get("anchor_date"), datetime) and "interval" not in found:
        del found["anchor_date"]
    return _from_mapping(found)


def _from_mapping(given: Mapping[str, Json]) -> Schedule:
    """Return a schedule from its keys in a project file. Raises UsageError naming the key."""
    makers: dict[str, Any] = {"cron": Cron, "interval": Interval, "rrule": RRule}
    kinds = [kind for kind in makers if given.get(kind) is not None]
    if len(kinds) != 1:
        what = f"and not {' and '.join(kinds)}" if kinds else "and this one has none"
        raise UsageError(f"A schedule has one of cron, interval and rrule, {what}.")
    (kind,) = kinds
    options = {"timezone", "slug", "parameters", "active", "day_or" if kind == "cron" else "anchor_date"}
    if unknown := sorted(set(given) - options - {kind}):
        raise UsageError(f"A schedule with {kind} has no {unknown[0]}.", hint=nearest(unknown[0], options))
    made: Schedule = makers[kind](given[kind], **{name: given[name] for name in options & set(given)})
    return made


def _several(given: Any) -> tuple[Any, ...]:
    if given is None:
        return ()
    return tuple(given) if isinstance(given, list | tuple) else (given,)


def _checked(schedule: Schedule) -> Schedule:
    """Return a schedule that can be due, its macro spelt out. Raises UsageError."""
    if not isinstance(schedule.slug, str | None):
        raise UsageError(f"A schedule's slug is a text, not {schedule.slug!r}.")
    if not isinstance(schedule.active, bool | None):
        raise UsageError(f"A schedule is active or not: true or false, not {schedule.active!r}.")
    if schedule.kind == "cron":
        schedule = replace(schedule, expression=_MACROS.get(schedule.expression.lower(), schedule.expression))
    now = datetime.now(UTC).timestamp()
    try:
        due = next_after(schedule, now)
    except (ValueError, OverflowError) as exc:  # a calendar ends with the year 1, and with 9999
        raise UsageError(f"The schedule {schedule.text} makes no sense: {exc}.") from None
    if due is None:
        raise UsageError(
            f"The schedule {schedule.text} is never due again.",
            hint="Without DTSTART, a rule counts from midnight of 2020-01-01." if schedule.kind == "rrule" else None,
        )
    return schedule


def _parameters(given: Mapping[str, Any] | None) -> dict[str, Any]:
    if given is not None and not isinstance(given, Mapping):
        raise UsageError(f"The parameters of a schedule are names and values, not {given!r}.")
    return dict(given or {})


def _anchor(given: datetime | str | None, zone: str) -> float | None:
    if given is None:
        return None
    if isinstance(given, str):
        try:
            given = datetime.fromisoformat(given)
        except ValueError:
            raise UsageError(f"The anchor {given!r} is no date and time, such as 2026-01-31T09:00.") from None
    if not isinstance(given, datetime):
        raise UsageError(f"The anchor {given!r} is no date and time.")
    if given.tzinfo is None:
        return instant(given, zone_of(zone))
    return given.timestamp()
