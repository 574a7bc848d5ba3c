"""The moments at which a schedule is due, in its time zone.

Cron is read by cronsim, which Healthchecks wrote for its own use: small, typed, without dependencies, and made to match
Debian's cron, also where clocks change. RRULE is read by python-dateutil.

What happens when clocks change, in a schedule's own time zone:

- A time of day that is skipped runs once: cron right after the gap, others as late as the gap is long (RFC 5545).
- A time of day that comes twice runs once, the first time.
- What repeats within hours (`*/15 * * * *`, an interval of 6 h, `FREQ=HOURLY`) goes by elapsed time: nothing is left
  out, nothing runs twice at once. An interval of whole days keeps its time of day.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from poolform.core.errors import UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zoneinfo import ZoneInfo

    from poolform.core.runs.schedules import Schedule

_DAY = 86_400
_ORIGIN = datetime(2020, 1, 1)  # noqa: DTZ001 - midnight in whatever zone the schedule has


def next_after(schedule: Schedule, moment: float) -> float | None:
    """Return the first time after `moment` at which a schedule is due; None where there is none any more.

    Seconds since the epoch. Raises UsageError for a schedule that makes no sense (here: a zone that is not known here).
    """
    zone = zone_of(schedule.timezone)
    if schedule.kind == "cron":
        return _next_cron(schedule.expression, zone, moment)
    if schedule.kind == "interval":
        return _next_interval(float(schedule.expression), schedule.anchor, zone, moment)
    from poolform.core.runs.recurrence import next_occurrence

    return next_occurrence(schedule.expression, zone, origin(schedule.anchor, zone), moment)


def upcoming(schedule: Schedule, after: float, until: float) -> Iterator[float]:
    """Return when a schedule is due after one moment and until another, which counts."""
    found = next_after(schedule, after)
    while found is not None and found <= until:
        yield found
        found = next_after(schedule, found)


def latest(schedule: Schedule, first: float, now: float) -> float:
    """Return the last time in `first` (at which it is due) to `now` at which a schedule is due.

    Looks back from `now`, ever further: what was missed in a year must not be counted second by second.
    """
    back = 60.0
    while now - back > first:
        found = next_after(schedule, now - back)
        if found is not None and found <= now:
            return max(upcoming(schedule, found, now), default=found)
        back *= 2
    return max(upcoming(schedule, first, now), default=first)


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone. Raises UsageError with the nearest names."""
    from zoneinfo import ZoneInfo, available_timezones

    if not isinstance(name, str):
        raise UsageError(f"A time zone is a name such as Europe/Berlin, not {name!r}.")
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not there; not a name; a folder of them
        raise UsageError(f"There is no time zone {name!r}.", hint=nearest_zone(name, available_timezones())) from None


def nearest_zone(name: str, known: set[str]) -> str:
    """Return a hint that names the closest zones: of 600, the rest would help nobody."""
    hint = nearest(name, known)
    by_city = [zone for zone in sorted(known) if zone.rpartition("/")[2].lower() == name.replace(" ", "_").lower()]
    if by_city:
        return f"Did you mean {' or '.join(by_city[:3])}?"
    return hint if hint.startswith("Did") else "Use a name such as Europe/Berlin, America/New_York or UTC."


def origin(anchor: float | None, zone: ZoneInfo) -> datetime:
    """Return where a schedule counts from, as wall-clock time in its zone."""
    return _ORIGIN if anchor is None else datetime.fromtimestamp(anchor, zone).replace(tzinfo=None, fold=0)


def instant(wall: datetime, zone: ZoneInfo) -> float:
    """Return the moment at which clocks in a zone show this; the first of two; for none, as late as the gap is long."""
    return wall.replace(tzinfo=zone, fold=0).timestamp()


def wall_clock(moment: float, zone: ZoneInfo) -> datetime:
    """Return what clocks in a zone show at a moment."""
    return datetime.fromtimestamp(moment, zone).replace(tzinfo=None, fold=0)


def _next_cron(expression: str, zone: ZoneInfo, moment: float) -> float | None:
    from cronsim import CronSim, CronSimError

    if (fields := len(expression.split())) != 5:
        raise UsageError(
            f"The cron schedule {expression!r} does not have five fields: minute, hour, day of month, month, weekday.",
            hint="Seconds are for intervals: Interval(10)." if fields == 6 else "Every day at one is 0 1 * * *.",
        )
    try:
        times = CronSim(expression, datetime.fromtimestamp(moment, zone))
    except CronSimError as exc:
        raise UsageError(f"The cron schedule {expression!r} makes no sense: {str(exc).lower()}.") from None
    for time in times:
        # Around a change of clocks, it may name a moment again that has been.
        if (found := time.timestamp()) > moment:
            return found
    return None


def _next_interval(seconds: float, anchor: float | None, zone: ZoneInfo, moment: float) -> float:
    start = origin(anchor, zone)
    if seconds % _DAY:
        first = instant(start, zone) if anchor is None else anchor
        count = (moment - first) // seconds
        while (found := first + count * seconds) <= moment:
            count += 1
        return found
    days = round(seconds / _DAY)
    count = (wall_clock(moment, zone) - start).days // days - 1
    while (found := instant(start + timedelta(days=days * count), zone)) <= moment:
        count += 1
    return found
