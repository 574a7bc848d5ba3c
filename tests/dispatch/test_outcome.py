"""How a job's end becomes a run's outcome."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from poolform.core.dispatch import outcome as outcomes
from poolform.core.dispatch.outcome import Event, Outcome, event, outcome
from poolform.runtime import exit_codes

BOOM = Event("failed", "ValueError: boom")


def of(code, *, last=None, platform=None, cancelled=False, overdue=False, timeout=None):
    run = SimpleNamespace(timeout_seconds=timeout)
    return outcome(run, code, last=last, platform=platform, cancelled=cancelled, overdue=overdue)


def test_the_exit_codes_are_the_runtimes():
    names = [name for name in vars(exit_codes) if name.isupper()]
    assert {name: getattr(outcomes, name) for name in names} == {name: getattr(exit_codes, name) for name in names}


@pytest.mark.parametrize(
    ("code", "more", "state", "reason"),
    [
        (0, {}, "completed", None),
        (0, {"cancelled": True}, "completed", None),
        (1, {"last": BOOM}, "failed", "ValueError: boom"),
        (1, {}, "failed", "exited with code 1"),
        (1, {"cancelled": True, "last": BOOM}, "cancelled", "cancelled"),
        (73, {"timeout": 1.5}, "failed", "timed out after 1.5 s"),
        (73, {"last": Event("timed_out", "timed out after 2 s")}, "failed", "timed out after 2 s"),
        (143, {"overdue": True, "timeout": 5}, "failed", "timed out after 5 s"),
        (74, {}, "cancelled", "cancelled"),
        (143, {"cancelled": True}, "cancelled", "cancelled"),
        (137, {"cancelled": True, "overdue": True, "timeout": 1}, "cancelled", "cancelled"),
        (70, {"last": Event("failed", "no file x.py")}, "crashed", "no file x.py"),
        (70, {}, "crashed", "the flow's code was not found"),
        (71, {}, "crashed", "the flow's code could not be imported"),
        (72, {}, "crashed", "the parameters do not fit the flow"),
        (137, {}, "crashed", "killed (SIGKILL), most likely out of memory"),
        (137, {"platform": "OOMKilled"}, "crashed", "killed (SIGKILL), most likely out of memory (OOMKilled)"),
        (139, {}, "crashed", "killed (SIGSEGV)"),
        (255, {}, "crashed", "killed (signal 127)"),
        (42, {}, "crashed", "exited with code 42 before the flow reported an outcome"),
        (None, {}, "crashed", "the platform ended its job and does not say why"),
        (None, {"platform": "image not found"}, "crashed", "image not found"),
        (None, {"last": BOOM}, "failed", "ValueError: boom"),
        (None, {"last": Event("completed", None)}, "completed", None),
    ],
)
def test_outcomes(code, more, state, reason):
    assert of(code, **more) == Outcome(state, reason)


def test_a_run_ends_as_failed_by_the_outcome_that_its_log_has():
    assert event('poolform: {"event":"failed","reason":"ValueError: boom"}') == BOOM
    assert event('poolform: {"event": "started", "flow": "etl"}') == Event("started", None)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "hello",
        "poolform: ",
        "poolform: {",
        'poolform: {"a": 1}',
        'poolform: {"event": 3}',
        ' poolform: {"event":"x"}',
    ],
)
def test_other_lines_are_the_flows(line):
    assert event(line) is None
