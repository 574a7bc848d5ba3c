"""Output comes once and in order, however it was cut into frames, chunks and pages."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolform.provisioners.docker import output

STAMP = "2026-01-02T03:04:{:02d}.{:09d}Z"


def frame(stream, at, text):
    body = f"{STAMP.format(at // 10, at % 10)} ".encode() + text
    return bytes([stream, 0, 0, 0]) + len(body).to_bytes(4, "big") + body


def told(found, cursor=None, *, ended=True):
    """Read pages until one is done; return the text of all lines."""
    texts = []
    while True:
        after = json.loads(json.dumps(cursor))
        page = output.page(output.entries([found]), after, ended=ended)
        texts += [line.text for line in page.lines]
        if page.done or not page.lines:
            return texts, page.cursor
        cursor = page.cursor


pieces = st.lists(st.tuples(st.sampled_from([1, 2]), st.integers(0, 1), st.sampled_from([b"a\n", b"bb", b"\n", b"c"])))


@settings(max_examples=200, deadline=None)
@given(pieces, st.integers(1, 9), st.integers(0, 30))
def test_nothing_is_lost_or_told_twice(found, size, cut):
    """Whatever is there at first, read it, then read on when there is more."""
    at, frames, lines, begun = 0, [], [], {}
    for number, (stream, later, text) in enumerate(found):
        at += later  # several entries may have one time
        frames.append(frame(stream, at, text))
        kept, first = begun.pop(stream, (b"", number))
        if text.endswith(b"\n"):
            lines.append((kept + text)[:-1].decode())
        else:
            begun[stream] = kept + text, first
    lines += [kept.decode() for kept, _ in begun.values()]
    whole = b"".join(frames)
    chunks = [whole[i : i + size] for i in range(0, len(whole), size)]
    assert len(list(output.entries(chunks))) == len(frames)
    early, cursor = told(b"".join(frames[:cut]), ended=False)
    late, cursor = told(whole, cursor)
    assert sorted(early + late) == sorted(lines)
    assert told(whole, cursor) == ([], cursor)


def test_pages_end_somewhere_and_go_on_there(monkeypatch):
    monkeypatch.setattr(output, "PAGE_LINES", 2)
    whole = b"".join(frame(1, at // 3, f"{at}\n".encode()) for at in range(20))
    assert told(whole)[0] == [str(at) for at in range(20)]


def test_a_line_that_never_ends_is_split():
    whole = b"".join(frame(1, at, b"x" * 16384) for at in range(10))
    assert [len(line) for line in told(whole)[0]] == [65536, 65536, 32768]


def test_lines_bear_the_time_of_their_beginning():
    found = output.entries([frame(1, 3, b"one ") + frame(1, 5, b"line\r\n")])
    (line,) = output.page(found, None, ended=False).lines
    assert (line.text, line.at) == ("one line", pytest.approx(1767323040.000000003))


@pytest.mark.parametrize("cursor", [None, {"at": STAMP.format(7, 123456789), "seen": 2}])
def test_the_engine_is_asked_from_a_bit_before_the_cursor(cursor):
    expected = 0 if cursor is None else 1767323047.123
    assert output.since(cursor) == expected


def test_only_the_runtime_s_lines_are_kept_where_output_is_not():
    whole = frame(1, 1, b"noise\n") + frame(1, 2, b'poolform: {"event":"started"}\n')
    page = output.page(output.entries([whole]), None, ended=True, only_ours=True)
    assert [line.text for line in page.lines] == ['poolform: {"event":"started"}']
    assert page.cursor["at"] == STAMP.format(0, 2)
