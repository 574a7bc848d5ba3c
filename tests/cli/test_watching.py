"""Watching a run that others look after, or that nobody does."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE, STDOUT

import pytest

POOLFORM = Path(sys.executable).with_name("poolform")
CODE = """
import time
from pathlib import Path


def f(until: str = "", number: int = 0):
    print("at work", number, flush=True)
    while until and not Path(until).exists():
        time.sleep(0.05)
    print("done")
"""


@pytest.fixture
def run(poolform, tmp_path):
    """The command line, in a home with a pool and the deployment f/t."""
    (tmp_path / "flows.py").write_text(CODE)
    assert poolform("work-pool", "create", "p", "--type", "process", "--provision-infra", "--yes").code == 0
    assert poolform("deploy", "flows.py:f", "--name", "t", "--pool", "p").code == 0
    return poolform


@pytest.fixture
def started():
    """A function that starts a command line, with all that it says on one pipe."""
    running = []

    def start(*args):
        command = [POOLFORM, *args]
        running.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=PIPE, stderr=STDOUT, text=True))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def stopped(process, text):
    """Interrupt a command line once it has said this; return its exit code and all that it said."""
    said = ""
    while not re.search(text, said):
        line = process.stdout.readline()
        assert line, said
        said += line
    process.send_signal(signal.SIGINT)
    return process.wait(20), said + process.stdout.read()


@pytest.mark.slow
def test_whoever_watches_is_told_when_nobody_follows_the_run(run, started, tmp_path):
    let_go = tmp_path / "let-go"
    assert stopped(started("deployment", "run", "f/t", "--watch", "--param", f"until={let_go}"), "at work")[0] == 130
    (found,) = run("flow-run", "ls", "-o", "json").json
    nobody = (
        f"Nobody follows {found['name']} now: no worker is there for the work pool p: poolform worker start --pool p"
    )
    tired = run("flow-run", "watch", found["id"], "--timeout", "1.5")
    assert (tired.code, tired.err.count(nobody)) == (1, 1), tired.err
    assert f"Error: The run {found['name']} has not ended within 1.5 s: it is running." in tired.err
    code, said = stopped(started("flow-run", "watch", found["id"]), "Nobody follows")
    assert (code, "goes on; nothing is lost." in said) == (130, True), said
    code, said = stopped(started("flow-run", "logs", "--follow", found["id"]), "Nobody follows")
    assert (code, "at work 0" in said) == (130, True), said
    worker = started("worker", "start")
    assert "started" in worker.stdout.readline()
    while not run("worker", "ls", "-o", "json").json:
        pass
    let_go.touch()
    watched = run("flow-run", "watch", found["id"], "--timeout", "30")
    assert (watched.code, "Nobody" in watched.err) == (0, False), watched.err
    assert watched.out == "at work 0\ndone\n"
    assert stopped(worker, "completed")[0] == 0


def test_parameters_are_taken_as_one_object_too(run):
    def watched(*options, stdin=None):
        return run("deployment", "run", "f/t", "--watch", *options, stdin=stdin)

    assert watched("--params", '{"number": 2, "until": ""}').out == "at work 2\ndone\n"
    assert watched("--params", "-", "--param", "number=4", stdin='{"number": 3}').out == "at work 4\ndone\n"
    for wrong, said in (("number=1", "--params is not JSON"), ("[1]", "--params is not a JSON object.")):
        refused = watched("--params", wrong)
        assert (refused.code, said in refused.err) == (2, True), refused.err
    assert run("deploy", "flows.py:f", "--name", "u", "--pool", "p", "--params", '{"number": 5}').code == 0
    assert run("deployment", "inspect", "f/u", "-o", "json").json["parameters"] == {"number": 5}
    run_id = run("deployment", "run", "f/u", "--param", "until=x").out.strip()
    assert run("deploy", "flows.py:f", "--name", "u", "--pool", "p", "--params", '{"number": 6}').code == 0
    kept = run("flow-run", "inspect", run_id, "-o", "json").json
    assert kept["parameters"] == {"number": 5, "until": "x"}, "what the run was called with, whatever is deployed now"
