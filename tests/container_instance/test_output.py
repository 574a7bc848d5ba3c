"""Reading on from a cursor in output of which Azure shows only the last part: nothing lost unsaid, nothing twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolform.provisioners.container_instance.output import ENDED_LINES, GAP, RUNNING_LIMIT, Place, read_on


def stamp(number):
    return f"2026-11-25T10:00:{number // 1000:02d}.{number % 1000:09d}Z"


def shown(numbers):
    return "".join(f"{stamp(n)} line {n}\n" for n in numbers)


def texts(lines):
    return [line.text for line in lines]


def test_each_read_goes_on_where_the_last_one_stopped():
    lines, place = read_on(shown(range(3)), Place(), ended=False)
    assert texts(lines) == ["line 0", "line 1", "line 2"]
    assert lines[0].at == pytest.approx(1795600800)
    assert read_on(shown(range(3)), place, ended=False) == ([], place)
    lines, place = read_on(shown(range(5)), Place.parse(place.to_json()), ended=True)
    assert texts(lines) == ["line 3", "line 4"]


@given(st.lists(st.integers(0, 3), max_size=12), st.data())
def test_lines_of_one_instant_are_told_apart_by_their_number(gaps, data):
    """Whatever time stamps coincide, and wherever reading stopped."""
    instants, whole = 0, []
    for number, gap in enumerate(gaps):
        instants += gap
        whole.append((stamp(instants), f"text {number}"))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=4)))
    place, read = Place(), []
    for cut in (*cuts, len(whole)):
        content = "".join(f"{at} {text}\n" for at, text in whole[:cut])
        lines, place = read_on(content, place, ended=False)
        read += texts(lines)
    assert read == [text for _, text in whole]


def test_a_gap_is_told_where_the_last_line_that_was_read_is_gone():
    _, place = read_on(shown(range(10)), Place(), ended=False)
    lines, place = read_on(shown(range(500, 1500)), place, ended=True)
    assert texts(lines)[:2] == [GAP, "line 500"]
    assert len(lines) == 1001
    assert read_on(shown(range(500, 1500)), place, ended=True)[0] == []


def test_a_gap_at_the_start_is_told_where_all_that_azure_keeps_is_full():
    assert texts(read_on(shown(range(ENDED_LINES)), Place(), ended=True)[0])[0] == GAP
    assert texts(read_on(shown(range(300)), Place(), ended=True)[0])[0] == "line 0"
    assert texts(read_on(shown(range(ENDED_LINES)), Place(), ended=False)[0])[0] == "line 0"
    long = "".join(f"{stamp(n)} {'x' * 10_000}\n" for n in range(RUNNING_LIMIT // 10_000))
    assert texts(read_on(long, Place(), ended=False)[0])[0] == GAP


def test_what_cannot_be_a_line_is_none():
    """A piece of a line at the start, and one without an end, which has not been written yet."""
    lines, place = read_on(f"a piece\n{shown([1])}{stamp(2)} half", Place(), ended=False)
    assert texts(lines) == ["line 1"]
    lines, _ = read_on(f"{shown([1])}{stamp(2)} half and half\n", place, ended=False)
    assert texts(lines) == ["half and half"]
    assert texts(read_on(f"{stamp(1)} \n{stamp(2)} one\r\n  two\n", Place(), ended=True)[0]) == ["", "one", "  two"]
