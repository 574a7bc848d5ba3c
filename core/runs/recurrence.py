"""RFC 5545 recurrence rules, in a time zone, from any moment on."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from poolform.core.errors import UsageError
from poolform.core.runs.moments import instant, wall_clock

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_DTSTART = re.compile(r"^DTSTART(?:;VALUE=[A-Z-]+)?(?:;TZID=([^:;]+))?:(\d{8}(?:T\d{6}Z?)?)\s*\n?", re.MULTILINE)
_IN_UTC = re.compile(r"(\d{8}T\d{6})Z")
_TZID = re.compile(r";TZID=([^:;]+)")
_FREQ = re.compile(r"FREQ=([A-Z]+)")
_INTERVAL = re.compile(r"INTERVAL=(\d+)")
_LONGEST_INTERVAL = 1_000_000
_STEPS = {
    "SECONDLY": timedelta(seconds=1),
    "MINUTELY": timedelta(minutes=1),
    "HOURLY": timedelta(hours=1),
    "DAILY": timedelta(days=1),
    "WEEKLY": timedelta(weeks=1),
}
_WITHIN_A_DAY = ("SECONDLY", "MINUTELY", "HOURLY")
_BASIC = "%Y%m%dT%H%M%S"


def timezone_of(text: str) -> str | None:
    """Return the TZID of a rule's DTSTART, None where it has none."""
    found = _DTSTART.search(text)
    return found[1] if found else None


def next_occurrence(text: str, zone: ZoneInfo, origin: datetime, moment: float) -> float | None:
    """Return the first time after `moment` that a rule names, None where there is none. Raises UsageError.

    Wall-clock times are the zone's. Rules within a day go by elapsed time: in each stretch between two changes of
    clocks, the wall clock and the time run alike.
    """
    rule = _rule(text, zone, origin)
    if _FREQ.search(text.upper()) and set(_FREQ.findall(text.upper())) <= set(_WITHIN_A_DAY):
        return _by_elapsed_time(rule, zone, moment)
    # A day early, as a time in a gap is moved to one behind it.
    wall: datetime | None = wall_clock(moment, zone) - timedelta(days=1)
    while wall is not None and (wall := _after(rule, wall)) is not None:
        if (found := instant(wall, zone)) > moment:
            return found
    return None


def _by_elapsed_time(rule: Any, zone: ZoneInfo, moment: float) -> float | None:
    inclusive = False
    while True:
        offset = _offset(moment, zone)
        start = datetime.fromtimestamp(moment, UTC).replace(tzinfo=None) + offset
        wall = _after(rule, start - timedelta(microseconds=1) if inclusive else start)
        if wall is None:
            return None
        found = (wall - offset).replace(tzinfo=UTC).timestamp()
        change = _first_change(moment, found, zone)
        if change is None:
            return found
        moment, inclusive = change, True


def _first_change(start: float, end: float, zone: ZoneInfo) -> float | None:
    """Return the first moment (a whole second) in start..end at which clocks show something else than they would."""
    before = _offset(start, zone)
    low = start
    while low < end:  # two changes never come within a week
        high = min(low + 7 * 86_400, end)
        if _offset(high, zone) != before:
            left, right = int(low), int(high) + 1
            while right - left > 1:
                middle = (left + right) // 2
                left, right = (middle, right) if _offset(middle, zone) == before else (left, middle)
            return float(right) if right <= end else None
        low = high
    return None


def _offset(moment: float, zone: ZoneInfo) -> timedelta:
    return datetime.fromtimestamp(moment, zone).utcoffset() or timedelta()


@lru_cache(maxsize=256)
def _rule(text: str, zone: ZoneInfo, origin: datetime) -> Any:
    """Return dateutil's rule or set of rules, all in wall-clock time without a zone."""
    from dateutil.rrule import rrulestr

    upper = text.upper()
    start = origin
    if found := _DTSTART.search(text):
        start = _wall_of(found[2], zone)
    for name in _TZID.findall(text):
        if name != zone.key:
            raise UsageError(f"The rule has dates of the time zone {name}, but the schedule is in {zone.key}.")
    rest = _TZID.sub("", _DTSTART.sub("", text))
    rest = _IN_UTC.sub(lambda match: _wall_of(match[0], zone).strftime(_BASIC), rest)
    if not _FREQ.search(upper) and "RDATE" not in upper:
        raise UsageError(f"The rule {text!r} has no FREQ.", hint="Such as FREQ=WEEKLY;BYDAY=MO,FR;BYHOUR=9;BYMINUTE=0")
    # dateutil divides by it, and counts in machine words.
    if any(not 1 <= int(every) <= _LONGEST_INTERVAL for every in _INTERVAL.findall(upper)):
        raise UsageError(f"The rule {text!r} has an INTERVAL that is not between 1 and {_LONGEST_INTERVAL:,}.")
    try:
        return rrulestr(rest, dtstart=start)
    except (ValueError, KeyError, AttributeError, TypeError) as exc:  # dateutil raises each of them for bad text
        raise UsageError(f"The rule {text!r} makes no sense: {exc}.") from None


def _wall_of(basic: str, zone: ZoneInfo) -> datetime:
    try:
        if basic.endswith("Z"):
            utc = datetime.strptime(basic[:-1], _BASIC).replace(tzinfo=UTC)
            return wall_clock(utc.timestamp(), zone)
        return datetime.strptime(basic if "T" in basic else f"{basic}T000000", _BASIC)  # noqa: DTZ007 - wall clock
    except ValueError:
        raise UsageError(f"{basic} is no date and time.") from None


def _after(rule: Any, wall: datetime) -> datetime | None:
    found: datetime | None = _forwarded(rule, wall).after(wall)
    return found


def _forwarded(rule: Any, wall: datetime) -> Any:
    """Return a rule that starts shortly before `wall` and names the same times from there on.

    dateutil counts from the start: one by one, and a rule for each minute may have started years ago. Moving that by
    whole periods changes nothing, unless occurrences are counted.
    """
    text = str(rule)
    frequency = _FREQ.search(text)
    if not hasattr(rule, "replace") or frequency is None or frequency[1] not in _STEPS or "COUNT=" in text:
        return rule
    start = _start(rule)
    interval = _INTERVAL.search(text)
    period = _STEPS[frequency[1]] * (int(interval[1]) if interval else 1)
    periods = (wall - start) // period - 1
    return rule.replace(dtstart=start + periods * period) if periods > 0 else rule


def _start(rule: Any) -> datetime:
    line = str(rule).partition("\n")[0]
    return datetime.strptime(line.removeprefix("DTSTART:"), _BASIC)  # noqa: DTZ007 - wall clock
