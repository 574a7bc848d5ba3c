"""Cron, intervals and rules, in zones whose clocks change; and what is said of those that make no sense."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from poolform.core.errors import UsageError
from poolform.core.runs import moments, schedules, timetables
from poolform.core.runs.schedules import Cron, Interval, RRule

# Each night's change of clocks, with a time of day that it skips or repeats.
SPRING = {
    "America/New_York": ("2026-03-08", "02:30"),
    "Europe/Berlin": ("2026-03-29", "02:30"),
    "Australia/Lord_Howe": ("2026-10-04", "02:15"),  # by half an hour
    "America/Havana": ("2026-03-08", "00:30"),  # at midnight
}
AUTUMN = {
    "America/New_York": ("2026-11-01", "01:30"),
    "Europe/Berlin": ("2026-10-25", "02:30"),
    "Australia/Lord_Howe": ("2026-04-05", "01:45"),
    "America/Havana": ("2026-11-01", "00:30"),
}


def times(schedule, day, *, days=1):
    """When a schedule is due from midnight of a day on, as its zone's clocks show it, with their offset."""
    zone = ZoneInfo(schedule.timezone)
    start = datetime.fromisoformat(day).replace(tzinfo=zone)
    end = (start.replace(tzinfo=None) + timedelta(days=days)).replace(tzinfo=zone).timestamp()
    found = [at for at in moments.upcoming(schedule, start.timestamp() - 0.001, end) if at < end]
    assert found == sorted(set(found))
    return [datetime.fromtimestamp(at, zone) for at in found]


def daily(kind, clock, zone):
    hour, minute = map(int, clock.split(":"))
    if kind == "cron":
        return Cron(f"{minute} {hour} * * *", timezone=zone)
    if kind == "interval":
        return Interval(timedelta(days=1), anchor_date=f"2026-01-10T{clock}", timezone=zone)
    return RRule(f"FREQ=DAILY;BYHOUR={hour};BYMINUTE={minute};BYSECOND=0", timezone=zone)


KINDS = ("cron", "interval", "rrule")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zone", SPRING)
def test_a_time_that_is_skipped_runs_once_when_clocks_are_ahead(kind, zone):
    day, clock = SPRING[zone]
    (due,) = times(daily(kind, clock, zone), day)
    assert due.strftime("%H:%M") > clock
    before = datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=ZoneInfo(zone))
    assert due.timestamp() <= before.timestamp()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zone", AUTUMN)
def test_a_time_that_comes_twice_runs_once_the_first_time(kind, zone):
    day, clock = AUTUMN[zone]
    (due,) = times(daily(kind, clock, zone), day)
    assert (due.strftime("%H:%M"), due.fold) == (clock, 0)
    # Asked again in the hour that is repeated, it is tomorrow's turn.
    again = moments.next_after(daily(kind, clock, zone), due.timestamp() + 60)
    assert again - due.timestamp() > 86_000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zone", [*SPRING, "UTC"])
def test_a_time_of_day_stays_the_same_all_year(kind, zone):
    found = times(daily(kind, "09:00", zone), "2026-01-01", days=365)
    assert len(found) == 365
    assert {at.strftime("%H:%M") for at in found} == {"09:00"}


@pytest.mark.parametrize("zone", SPRING)
@pytest.mark.parametrize("change", [SPRING, AUTUMN])
@pytest.mark.parametrize("schedule", [
    lambda zone: Cron("*/15 * * * *", timezone=zone),
    lambda zone: Interval(900, timezone=zone),
    lambda zone: RRule("FREQ=MINUTELY;INTERVAL=15", timezone=zone),
])  # fmt: skip
def test_what_repeats_within_hours_goes_by_elapsed_time(schedule, change, zone):
    found = [at.timestamp() for at in times(schedule(zone), change[zone][0])]
    assert {later - at for at, later in pairwise(found)} == {900.0}
    whole_day = {"Australia/Lord_Howe": 2}.get(zone, 4)
    assert len(found) == 96 - whole_day if change is SPRING else 96 + whole_day


def test_hourly_rules_count_in_the_offset_of_their_time():
    found = times(RRule("FREQ=HOURLY;INTERVAL=6", timezone="Europe/Berlin"), "2026-03-29")
    assert [at.strftime("%H:%M%z") for at in found] == ["00:00+0100", "06:00+0200", "12:00+0200", "18:00+0200"]


def test_a_zone_may_skip_a_day():
    """Samoa went from the 29th to the 31st of December 2011."""
    found = times(Cron("0 12 * * *", timezone="Pacific/Apia"), "2011-12-28", days=5)
    assert [at.day for at in found if at.hour == 12] == [28, 29, 31, 1]


@pytest.mark.parametrize(("cron", "first"), [
    ("@daily", "2026-01-02T00:00"),
    ("@HOURLY", "2026-01-01T01:00"),
    ("0 9 * * MON-FRI", "2026-01-01T09:00"),
    ("0 0 29 2 *", "2028-02-29T00:00"),
    ("0 0 L * *", "2026-01-31T00:00"),
    ("0 0 13 * FRI", "2026-01-02T00:00"),  # the 13th, or a Friday
])  # fmt: skip
def test_cron_lines(cron, first):
    start = datetime.fromisoformat("2026-01-01T00:00+00:00").timestamp()
    assert moments.next_after(Cron(cron), start) == datetime.fromisoformat(f"{first}+00:00").timestamp()


@pytest.mark.parametrize(("rule", "zone", "expected"), [
    ("DTSTART:20260105T090000\nRRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=MO", None, ["05T09", "19T09"]),
    ("DTSTART;TZID=Europe/Berlin:20260105T090000\nRRULE:FREQ=DAILY;COUNT=2", None, ["05T09", "06T09"]),
    ("DTSTART:20260105T090000Z\nRRULE:FREQ=DAILY;UNTIL=20260106T235959Z", "Europe/Berlin", ["05T10", "06T10"]),
    ("DTSTART:20260105T090000\nRRULE:FREQ=DAILY;COUNT=3\nEXDATE:20260106T090000", None, ["05T09", "07T09"]),
    ("FREQ=MONTHLY;BYDAY=2TU;BYHOUR=8", None, ["13T08"]),
])  # fmt: skip
def test_rules(rule, zone, expected):
    schedule = schedules.Schedule("rrule", rule, zone or schedules_zone(rule))
    assert [at.strftime("%dT%H") for at in times(schedule, "2026-01-01", days=25)] == expected


def schedules_zone(rule):
    from poolform.core.runs.recurrence import timezone_of

    return timezone_of(rule) or "UTC"


def test_a_rule_that_started_long_ago_costs_no_more_than_a_new_one():
    schedule = RRule("DTSTART:19990101T000000\nRRULE:FREQ=MINUTELY;INTERVAL=7")
    started = time.perf_counter()
    found = moments.next_after(schedule, datetime.fromisoformat("2026-06-01T00:00+00:00").timestamp())
    assert time.perf_counter() - started < 0.05
    start = datetime.fromisoformat("1999-01-01T00:00+00:00").timestamp()
    assert (found - start) % 420 == 0


def test_intervals_count_from_their_anchor_or_from_a_midnight_that_never_moves():
    now = datetime.fromisoformat("2026-05-05T12:34:56+00:00").timestamp()
    assert moments.next_after(Interval(3600), now) == datetime.fromisoformat("2026-05-05T13:00+00:00").timestamp()
    anchored = Interval(3600, anchor_date="2030-01-01T00:10", timezone="Asia/Kolkata")
    assert moments.next_after(anchored, now) == datetime.fromisoformat("2026-05-05T12:40+00:00").timestamp()
    aware = Interval(timedelta(hours=1), anchor_date=datetime.fromisoformat("2020-01-01T00:05+02:00"))
    assert moments.next_after(aware, now) == datetime.fromisoformat("2026-05-05T13:05+00:00").timestamp()


@pytest.mark.parametrize("schedule", [
    Interval(1),
    Interval(86_400, timezone="Europe/Berlin"),
    Cron("*/5 * * * *", timezone="America/New_York"),
    Cron("0 0 1 1 *"),
    RRule("FREQ=SECONDLY;INTERVAL=10"),
])  # fmt: skip
def test_the_latest_of_a_year_is_found_at_once(schedule):
    now = datetime.fromisoformat("2026-11-20T10:11:12+00:00").timestamp()
    first = moments.next_after(schedule, now - 366 * 86_400)
    started = time.perf_counter()
    found = moments.latest(schedule, first, now)
    assert time.perf_counter() - started < 0.2
    assert found <= now < moments.next_after(schedule, found)


@pytest.mark.parametrize(("wrong", "said"), [
    (lambda: Cron("61 * * * *"), "'61 * * * *' makes no sense: bad minute"),
    (lambda: Cron("every day"), "does not have five fields"),
    (lambda: Cron("0 * * * * *"), "does not have five fields"),
    (lambda: Cron("0 0 30 2 *"), "bad day-of-month"),
    (lambda: Cron("0 0 * * 1", day_or=False), "day_or: false is not supported"),
    (lambda: Cron("0 0 * * *", timezone="Europe/Brelin"), "There is no time zone 'Europe/Brelin'"),
    (lambda: Cron(5), "not 5"),
    (lambda: Interval(0), "between 1 second and 10 years"),
    (lambda: Interval("1h"), "not '1h'"),
    (lambda: Interval(60, anchor_date="soon"), "'soon' is no date and time"),
    (lambda: RRule("FREQ=SOMETIMES"), "makes no sense: invalid 'FREQ'"),
    (lambda: RRule("daily"), "has no FREQ"),
    (lambda: RRule("FREQ=DAILY;COUNT=3"), "never due again"),
    (lambda: RRule("DTSTART:20269901T000000\nRRULE:FREQ=DAILY"), "20269901T000000 is no date and time"),
    (lambda: RRule("FREQ=DAILY;UNTIL=20200101T000000"), "never due again"),
    (lambda: Interval(60, anchor_date="0001-01-01T00:00+14:00"), "makes no sense: year 0 is out of range"),
    (lambda: timetables.moment("9999-12-31T23:59-14:00", of="--start-at"), "--start-at is '9999-12-31T23:59-14:00'"),
    (lambda: RRule("FREQ=DAILY;INTERVAL=0"), "INTERVAL that is not between 1 and 1,000,000"),
    (lambda: RRule("FREQ=DAILY;INTERVAL=99999999999"), "INTERVAL that is not between 1 and 1,000,000"),
    (lambda: Cron("0 0 * * *", timezone=5), "A time zone is a name such as Europe/Berlin, not 5."),
    (lambda: Cron("0 0 * * *", parameters=["day"]), "names and values, not ['day']"),
    (lambda: Cron("0 0 * * *", slug=5), "slug is a text, not 5"),
    (lambda: Cron("0 0 * * *", active="no"), "true or false, not 'no'"),
])  # fmt: skip
def test_what_makes_no_sense_gets_a_sentence(wrong, said):
    with pytest.raises(UsageError) as caught:
        wrong()
    assert said in str(caught.value)


def test_zones_are_suggested():
    with pytest.raises(UsageError) as caught:
        Cron("0 0 * * *", timezone="Berlin")
    assert caught.value.hint == "Did you mean Europe/Berlin?"
