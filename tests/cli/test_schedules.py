"""Schedules, as a person gives them to a deployment, pauses them, and sees what is to come."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH")


@pytest.fixture
def cli(poolform, tmp_path):
    (tmp_path / "flows.py").write_text("def etl(day: int, full: bool = False): print('day', day, full)\n")
    made = poolform("work-pool", "create", "here", "--type", "process", "--provision-infra", "--yes")
    assert made.code == 0, made.err
    return poolform


def deploy(cli, *more):
    return cli("deploy", "flows.py:etl", "--name", "x", "--pool", "here", "--param", "day=1", *more)


def listed(cli):
    return cli("deployment", "schedule", "ls", "etl/x", "-o", "json").json


@pytest.mark.slow
def test_the_way_of_a_schedule(cli, tmp_path):
    done = deploy(cli, "--cron", "0 1 * * *", "--cron", "@hourly", "--timezone", "America/New_York")
    assert done.code == 0, done.err
    assert {(s["expression"], s["timezone"], s["state"]) for s in listed(cli)} == {
        ("0 1 * * *", "America/New_York", "active"),
        ("0 * * * *", "America/New_York", "active"),
    }
    assert deploy(cli).code == 0  # says nothing of schedules
    assert len(listed(cli)) == 2
    often = ("--interval", "1", "--slug", "often", "--param", "full=true", "--no-active", "--replace")
    made = cli("deployment", "schedule", "create", "etl/x", *often)
    assert made.code == 0, made.err
    (schedule,) = listed(cli)
    assert (schedule["name"], schedule["state"], schedule["next_at"]) == ("often", "paused", None)
    assert schedule["parameters"] == {"full": True}
    assert "No run of here is due" in cli("work-pool", "preview", "here").err
    assert cli("deployment", "schedule", "resume", "etl/x", "often").code == 0
    due = cli("work-pool", "preview", "here", "--hours", "0.01", "-o", "json").json
    assert 34 <= len(due) <= 37
    assert due[0]["deployment"] == "etl/x"
    assert due[0]["schedule"] == "every 0:00:01"

    worker = subprocess.Popen(
        [Path(sys.executable).with_name("poolform"), "worker", "start", "--pool", "here"],
        env=os.environ, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while not (done := cli("flow-run", "ls", "--state", "completed", "-o", "json").json):
            assert time.monotonic() < deadline
    finally:
        worker.terminate()
        worker.wait(20)
    assert "auto-scheduled" in done[0]["tags"]
    assert "day 1 True" in cli("flow-run", "logs", done[0]["id"]).out

    assert cli("deployment", "pause", "etl/x").code == 0
    assert listed(cli)[0]["next_at"] is None
    assert cli("deployment", "resume", "etl/x").code == 0
    assert listed(cli)[0]["next_at"] is not None
    assert "every 0:00:01 (UTC), next at" in cli("deployment", "inspect", "etl/x").out
    assert cli("deployment", "schedule", "pause", "etl/x", "often").code == 0
    assert cli("deployment", "schedule", "delete", "etl/x", "often", "--yes").code == 0
    assert "has no schedule" in cli("deployment", "schedule", "ls", "etl/x").err


@pytest.mark.slow
def test_times_say_their_zone(cli, monkeypatch):
    """A schedule's times are shown in its own zone, all others in this machine's, and each says which that is."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    made = deploy(cli, "--cron", "0 1 * * *", "--timezone", "America/Phoenix")
    assert made.code == 0, made.err
    assert " 01:00:00 MST" in cli("deployment", "schedule", "ls", "etl/x").out
    assert " 01:00:00 MST" in cli("deployment", "inspect", "etl/x").out
    assert " 01:00:00 MST" in cli("work-pool", "preview", "here", "--hours", "25").out
    assert " 01:00:00 MST" in cli("deployment", "schedule", "create", "etl/x", "--cron", "0 1 * * *", "--timezone",
                                  "America/Phoenix", "--slug", "two").err  # fmt: skip
    assert cli("deployment", "run", "etl/x").code == 0
    assert cli("flow-run", "ls").out.rstrip().endswith(" JST")


@pytest.mark.slow
@pytest.mark.parametrize(("wrong", "said"), [
    (["--cron", "0 25 * * *"], "bad hour"),
    (["--cron", "0 1 * * *", "--timezone", "Berlin"], "Did you mean Europe/Berlin?"),
    (["--interval", "0"], "between 1 second"),
    (["--rrule", "FREQ=DAILY;COUNT=1"], "never due again"),
    (["--timezone", "UTC"], "but no schedule"),
])  # fmt: skip
def test_a_wrong_schedule_is_refused_before_anything_is_stored(cli, wrong, said):
    done = deploy(cli, *wrong)
    assert (done.code, said in done.err) == (2, True), done.err
    assert cli("deployment", "ls", "-o", "json").json == []


@pytest.mark.slow
def test_a_schedule_must_bring_what_the_flow_needs(cli):
    done = cli("deploy", "flows.py:etl", "--name", "x", "--pool", "here", "--cron", "@daily")
    assert done.code == 2
    assert "0 0 * * *: day: it is required and missing." in done.err
    assert cli("deploy", "flows.py:etl", "--name", "x", "--pool", "here").code == 0
    made = cli("deployment", "schedule", "create", "etl/x", "--cron", "@daily", "--param", "dya=1")
    assert made.code == 2
    assert "Did you mean day?" in made.err
    for args in (["--cron", "@daily", "--interval", "5"], []):
        made = cli("deployment", "schedule", "create", "etl/x", "--param", "day=1", *args)
        assert made.code == 2
        assert "one of cron, interval and rrule" in made.err
