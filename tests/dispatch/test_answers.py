"""Launchers that answer what their contract does not have: it is said, and nothing else is stuck with it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from dispatch_stand_in import Platform

from poolform.core.dispatch import following
from poolform.core.runs.launchers import JobStatus, LogLine, LogPage


def test_an_exit_code_of_windows_is_stored_with_its_sign(bench):
    class Windows(Platform):
        def poll(self, handles):
            return dict.fromkeys(handles, JobStatus("exited", 0xC0000005))

    bench.work(Windows(bench.folder / "jobs"))
    run = bench.wait(bench.submit())
    assert (run.state, run.exit_code) == ("crashed", -1073741819)


@pytest.mark.parametrize("handle", [Path("/job"), 7, ""])
def test_a_handle_that_is_no_text_ends_its_run_only(bench, handle):
    class Wrong(Platform):
        def launch(self, job):
            return super().launch(job) if job.name == "right" else handle

    bench.work(Wrong(bench.folder / "jobs"))
    wrong = bench.wait(bench.submit(name="wrong"))
    assert (wrong.state, "is not a handle, which is a text" in wrong.reason) == ("crashed", True)
    assert bench.wait(bench.submit(name="right")).state == "completed"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (JobStatus("exited", "0"), "the exit code of a job is '0', not a number"),
        (JobStatus("succeeded", 0), "the state of a job is 'succeeded', not starting or running or exited"),
        (0, "0 is not a JobStatus"),
    ],
)
def test_a_status_that_makes_no_sense_is_said_and_asked_for_again(bench, wrong, said):
    class Sometimes(Platform):
        def poll(self, handles):
            found = super().poll(handles)
            return {handle: wrong if handle == odd else status for handle, status in found.items()}

    odd = None
    bench.work(Sometimes(bench.folder / "jobs"))
    run = bench.submit("sleep 0.5")
    odd = bench.wait(run, state="submitted").handle
    assert bench.wait(bench.submit()).state == "completed"
    assert bench.run(run).state == "submitted"
    assert any(f"raised TypeError: {said}" in trouble for trouble in bench.troubles)
    odd = None
    assert bench.wait(run).state == "completed"


@pytest.mark.parametrize(
    "page",
    [
        LogPage((), object(), done=False),
        LogPage((LogLine(b"x"),), None, done=True),
        LogPage(("x",), 1, done=True),
        None,
    ],
)
def test_a_log_that_makes_no_sense_costs_no_more_than_the_log(bench, page, monkeypatch):
    class Garbling(Platform):
        def logs(self, handle, cursor):
            return page

    monkeypatch.setattr(following, "LOG_GRACE", 0.5)
    bench.work(Garbling(bench.folder / "jobs"))
    started = time.monotonic()
    assert bench.wait(bench.submit()).state == "completed"
    assert time.monotonic() - started < 10
    assert any("raised TypeError" in trouble for trouble in bench.troubles)
