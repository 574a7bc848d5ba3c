"""From a flow's file to its outcome, as people do it: deploy, run, watch, cancel, retry; workers that come and go.

Everything is real: the command line in processes of its own, a pool that Terraform made, flows that misbehave. One pool
serves all tests but those whose workers would take each other's runs.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from textwrap import dedent

import pytest

HEADER = "import asyncio, os, signal, subprocess, sys, threading, time\nfrom poolform import flow\n\n"


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory):
    return tmp_path_factory.mktemp("runs") / "home"


@pytest.fixture
def run(poolform, shared_home, monkeypatch):
    """The command line, in a home with a ready pool called `here`."""
    monkeypatch.setenv("POOLFORM_HOME", str(shared_home))
    if not (shared_home / "poolform.db").exists():
        make_pool(poolform)
    return poolform


@pytest.fixture
def alone(poolform):
    """The command line, in a home of this test's own with a ready pool called `here`."""
    make_pool(poolform)
    return poolform


def make_pool(poolform, name="here"):
    made = poolform("work-pool", "create", name, "--type", "process", "--provision-infra", "--yes")
    assert made.code == 0, made.err


@pytest.fixture
def deploy(poolform, tmp_path):
    """A function that deploys a flow given as text, and returns the deployment's name, which no other test uses."""

    def deploy(code, *options, flow="f", name=None):
        (tmp_path / "flows.py").write_text(HEADER + dedent(code))
        name = name or tmp_path.name
        done = poolform("deploy", f"flows.py:{flow}", "--name", name, "--pool", "here", *options)
        assert done.code == 0, done.err
        return re.search(r"Deployed (.*) to the work pool here\.", done.err).group(1)

    return deploy


class Background:
    """A command line at work: what it has said so far, in one file."""

    def __init__(self, args, output, cwd):
        self.output = output
        with output.open("wb") as sink:
            self.process = subprocess.Popen(
                [Path(sys.executable).with_name("poolform"), *args],
                stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, cwd=cwd,
            )  # fmt: skip

    @property
    def said(self):
        return self.output.read_text()

    def says(self, text, within=30):
        deadline = time.monotonic() + within
        while text not in self.said:
            assert time.monotonic() < deadline, f"it did not say {text!r}, but:\n{self.said}"
            time.sleep(0.05)

    def ends(self, within=30):
        return self.process.wait(timeout=within)

    def stop(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.ends()


@pytest.fixture
def background(tmp_path):
    """A function that starts a command line and goes on."""
    started = []

    def start(*args):
        started.append(Background(args, tmp_path / f"said-{len(started)}", tmp_path))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually(true, within=20):
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def newest(run, deployment):
    return run("flow-run", "ls", "--deployment", deployment, "--limit", "1", "-o", "json").json[0]


# -- how runs end ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "ending", "printed"),
    [
        ("@flow\ndef f():\n    print('well')", "completed", "well\n"),
        ("@flow\nasync def f():\n    await asyncio.sleep(0)\n    print('awaited')", "completed", "awaited\n"),
        ("def f(times: int = 2):\n    print('plain ' * times)", "completed", "plain plain \n"),
        ("class F:\n    def __call__(self):\n        print('called')\nf = F()", "completed", "called\n"),
        (
            "@flow\ndef f():\n    threading.Thread(target=lambda: (time.sleep(0.3), print('late'))).start()",
            "completed",
            "late\n",
        ),
        (
            "@flow\ndef f():\n    sys.stdout.buffer.write(b'\\xff\\x00 bin\\nno end')\n    sys.stdout.flush()",
            "completed",
            "\ufffd\ufffd bin\nno end\n",
        ),
        ("@flow\ndef f():\n    sys.exit(3)", "failed: SystemExit: 3", ""),
        ("@flow\ndef f():\n    print('no end', end='')\n    os._exit(7)", "crashed: exited with code 7 before ", None),
        ("@flow\ndef f():\n    os.kill(os.getpid(), signal.SIGKILL)", "crashed: killed (SIGKILL), most likely", None),
        ("@flow\ndef f():\n    os.kill(os.getpid(), signal.SIGSEGV)", "crashed: killed (SIGSEGV)", None),
        ("@flow(timeout_seconds=0.5)\ndef f():\n    time.sleep(60)", "failed: timed out after 0.5 s", ""),
    ],
    ids=[
        *("returns", "coroutine", "plain-function", "object", "thread", "binary"),
        *("sys-exit", "os-exit", "killed", "segfault", "timeout"),
    ],
)
def test_how_a_flow_ends_is_how_its_run_ends(run, deploy, code, ending, printed):
    watched = run("deployment", "run", deploy(code), "--watch")
    assert f" is {ending}" in watched.err.splitlines()[-1]
    assert watched.code == (0 if ending == "completed" else 5)
    assert printed in (None, watched.out)
    assert [re.sub(r"^\S+ is ", "", line) for line in watched.err.splitlines()[:-1]] == [
        *("scheduled", "pending", "submitted", "running")
    ]


@pytest.mark.slow
def test_a_flow_that_raises_shows_its_own_frames_only(run, deploy):
    deployment = deploy("@flow\ndef f():\n    deeper()\n\ndef deeper():\n    raise ValueError('boom')")
    watched = run("deployment", "run", deployment, "--watch", "-o", "json")
    assert (watched.code, watched.json["state"], watched.json["reason"]) == (5, "failed", "ValueError: boom")
    said = run("flow-run", "logs", watched.json["id"][:12]).out
    assert said.startswith("Traceback (most recent call last):\n")
    assert re.findall(r'File ".*/(\S+)", line', said) == ["flows.py", "flows.py"]
    assert said.endswith("ValueError: boom\n")


@pytest.mark.slow
def test_a_megabyte_is_shown_and_kept_whole(run, deploy):
    deployment = deploy("@flow\ndef f():\n    for n in range(10_000):\n        print(f'{n:06d}', 'x' * 93)")
    watched = run("deployment", "run", deployment, "--watch")
    whole = "".join(f"{n:06d} {'x' * 93}\n" for n in range(10_000))
    assert (watched.code, watched.out == whole) == (0, True)
    run_id = newest(run, deployment)["id"]
    assert run("flow-run", "logs", run_id).out == whole
    assert [row["line"] for row in run("flow-run", "logs", run_id, "-o", "json").json] == whole.splitlines()


@pytest.mark.slow
def test_what_a_flow_leaves_running_ends_with_it(run, deploy):
    deployment = deploy(
        """
        @flow
        def f():
            print(subprocess.Popen(["sleep", "60"]).pid)
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(0)
            print(child)
        """
    )
    watched = run("deployment", "run", deployment, "--watch")
    assert watched.code == 0
    pids = watched.out.split()
    assert len(pids) == 2
    eventually(lambda: not any(map(is_alive, pids)))


@pytest.mark.slow
def test_what_failed_is_tried_again_and_what_crashed_is_not(run, deploy, tmp_path):
    code = f"""
        @flow(retries=2, retry_delay_seconds=0.2)
        def f(how: str):
            with open({str(tmp_path / "tries")!r}, "a+") as file:
                file.write("x")
                file.seek(0)
                times = len(file.read())
            print("try", times)
            if times < 3 and how == "raise":
                raise RuntimeError("not yet")
            if how == "die":
                os._exit(9)
        """
    deployment = deploy(code)
    watched = run("deployment", "run", deployment, "--watch", "-p", "how=raise")
    assert watched.code == 0
    assert "is scheduled: attempt 2 failed: RuntimeError: not yet; this is retry 2 of 2" in watched.err
    ended = newest(run, deployment)
    assert (ended["attempt"], ended["state"], ended["exit_code"]) == (3, "completed", 0)
    assert re.findall("try .", run("flow-run", "logs", ended["id"]).out) == ["try 1", "try 2", "try 3"]
    assert run("deployment", "run", deployment, "--watch", "-p", "how=die").code == 5
    assert newest(run, deployment)["attempt"] == 1


@pytest.mark.skipif(importlib.util.find_spec("prefect") is None, reason="Prefect is not installed")
def test_a_prefect_flow_runs_unchanged(run, tmp_path):
    (tmp_path / "theirs.py").write_text(
        dedent(
            """
            from prefect import flow, task

            @task
            def double(number: int) -> int:
                return 2 * number

            @flow(retries=1, timeout_seconds=120)
            def sums(numbers: list[int], start: int = 0) -> int:
                '''Add things up.'''
                print("the sum is", start + sum(double(number) for number in numbers))
            """
        )
    )
    deployed = run("deploy", "theirs.py:sums", "--name", tmp_path.name, "--pool", "here")
    assert deployed.code == 0, deployed.err
    name = f"sums/{tmp_path.name}"
    described = run("deployment", "inspect", name, "-o", "json").json
    assert described["description"] == "Add things up."
    assert described["options"] == {}, "Prefect retries and times out by itself, in the job"
    refused = run("deployment", "run", name, "-p", "numbers=[1,true]")
    assert (refused.code, "numbers.1: true is not an integer." in refused.err) == (2, True), refused.err
    environment = json.dumps({"PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_API_URL": None})
    watched = run(
        "deployment", "run", name, "--watch", "-p", "numbers=[1,2]", "-p", "start=1", "-jv", f"env={environment}"
    )
    assert watched.code == 0, watched.err
    assert "the sum is 7" in watched.out


# -- deploying -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entrypoint", "said"),
    [
        ("flow.py:f", "flow.py is not in {folder}.\nDid you mean flows.py?"),
        ("flows.py", "'flows.py' does not say which function is the flow.\nWrite it as flows.py:FUNCTION."),
        ("flows.py:gret", "flows.py has no 'gret'.\nDid you mean greet?"),
        ("flows.py:NUMBER", "'NUMBER' in flows.py is not callable: its type is int."),
        ("imports.py:f", "No module named 'nowhere_to_be_found'.\n{folder}/imports.py line 2"),
        ("syntax.py:f", "Importing syntax.py:f failed: SyntaxError: "),
        ("exits.py:f", "Importing exits.py:f failed: SystemExit: 4.\n{folder}/exits.py line 1"),
        ("dies.py:f", "Importing dies.py:f ended Python with code 9.\nabout to"),
        ("no.such.module:f", "There is no module 'no' in {folder} or among the installed packages."),
    ],
)
def test_an_entrypoint_that_leads_nowhere_is_refused(run, tmp_path, entrypoint, said):
    (tmp_path / "flows.py").write_text("NUMBER = 1\n\ndef greet():\n    pass\n")
    (tmp_path / "imports.py").write_text("\nimport nowhere_to_be_found\n")
    (tmp_path / "syntax.py").write_text("def f(:\n")
    (tmp_path / "exits.py").write_text("raise SystemExit(4)\n")
    (tmp_path / "dies.py").write_text("import os\nprint('about to', flush=True)\nos._exit(9)\n")
    refused = run("deploy", entrypoint, "--name", tmp_path.name, "--pool", "here")
    assert refused.code == 2
    assert said.format(folder=tmp_path) in refused.err
    assert "Traceback" not in refused.err
    assert tmp_path.name not in run("deployment", "ls").out


@pytest.mark.slow
def test_wrong_options_of_a_deployment_are_all_named(run, tmp_path):
    (tmp_path / "flows.py").write_text("def f(name: str, times: int = 1):\n    pass\n")
    deploy = ("deploy", "flows.py:f", "--name", tmp_path.name, "--pool")
    for options, said in (
        (("hre",), "There is no work pool named hre.\nDid you mean here?"),
        (("here", "--queue", "fast"), "has no work queue named fast."),
        (
            ("here", "--param", "nam=x", "--param", "times=often"),
            'nam: there is no such parameter. Did you mean name?\n  times: "often" is not an integer.',
        ),
        (("here", "--param", "times"), "--param 'times' is not of the form KEY=VALUE."),
        (("here", "-jv", "workin_dir=/"), "workin_dir: there is no such job variable. Did you mean working_dir?"),
        (("here", "-jv", "stream_output=perhaps"), "stream_output: "),
        (("here", "--timeout", "0", "--retries", "-1"), "retries: -1 is less than 0.\n  timeout_seconds: 0.0 is not"),
        (("here", "--concurrency-limit", "-1"), "--concurrency-limit"),
    ):
        refused = run(*deploy, *options)
        assert (refused.code, said in refused.err) == (2, True), refused.err
    assert run("deploy", "flows.py:f", "--name", "a/b", "--pool", "here").code == 2
    assert tmp_path.name not in run("deployment", "ls").out


@pytest.mark.slow
def test_parameters_are_checked_against_the_flow_before_anything_is_stored(run, deploy):
    deployment = deploy(
        """
        from datetime import date
        from pydantic import BaseModel, Field

        class Box(BaseModel):
            width: int = Field(gt=0)
            lid: bool = False

        @flow
        def f(box: Box, day: date = date(2026, 1, 2), names: list[str] = ()):
            '''Pack a box.

            Args:
                box: What to pack into.
            '''
            print(type(box).__name__, box.width * 2, day.isoformat(), list(names))
        """
    )
    for given, said in (
        ((), "box: it is required and missing."),
        (("box=3",), "box: 3 is not an object."),
        (('box={"width":"x"}',), 'box.width: "x" is not an integer.'),
        (('box={"width":0}',), "box.width: 0"),
        (('box={"width":1}', "names=[1]"), "names.0: 1 is not a string."),
        (('box={"width":1}', "nmaes=[]"), "nmaes: there is no such parameter. Did you mean names?"),
        (('box={"width":1}', "day=soon"), "day: "),
    ):
        parameters = [word for pair in given for word in ("-p", pair)]
        refused = run("deployment", "run", deployment, *parameters, "--watch")
        assert (refused.code, said in refused.err) == (2, True), refused.err
    assert run("flow-run", "ls", "--deployment", deployment, "-o", "json").json == []
    schema = run("deployment", "inspect", deployment, "-o", "json").json["parameter_schema"]
    assert schema["required"] == ["box"]
    assert schema["properties"]["box"]["description"] == "What to pack into."
    watched = run("deployment", "run", deployment, "-p", 'box={"width":2}', "-p", "day=2026-12-24", "--watch")
    assert watched.out == "Box 4 2026-12-24 []\n"


@pytest.mark.slow
def test_job_variables_of_the_run_win_over_those_of_the_deployment(run, deploy, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    deployment = deploy(
        "@flow\ndef f():\n    print(os.environ['COLOUR'], os.environ['SIZE'], os.path.basename(os.getcwd()))",
        *("-jv", 'env={"COLOUR":"red","SIZE":"1"}', "-jv", f"working_dir={tmp_path / 'elsewhere'}"),
    )
    watched = run("deployment", "run", deployment, "--watch", "-jv", 'env={"COLOUR":"blue"}')
    assert watched.out == "blue 1 elsewhere\n"
    unknown = run("deployment", "run", deployment, "-jv", "enf={}")
    assert (unknown.code, "enf: there is no such job variable. Did you mean env?" in unknown.err) == (2, True)


@pytest.mark.slow
def test_deploying_again_replaces_and_keeps_the_runs(run, deploy):
    first = deploy("@flow\ndef f():\n    print('old')")
    assert run("deployment", "run", first, "--watch").out == "old\n"
    again = deploy("@flow\ndef f(word: str):\n    '''New.'''\n    print(word)", "--param", "word=new", "--version", "2")
    assert again == first
    assert run("deployment", "run", first, "--watch").out == "new\n"
    assert len(run("flow-run", "ls", "--deployment", first, "-o", "json").json) == 2
    shown = run("deployment", "inspect", first, "-o", "json").json
    assert (shown["version"], shown["description"], shown["parameters"]) == ("2", "New.", {"word": "new"})


# -- looking at runs -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_runs_are_listed_by_state_deployment_and_pool(run, deploy):
    deployment = deploy("@flow\ndef f(fail: bool = False):\n    assert not fail")
    for fail in ("false", "true", "false"):
        run("deployment", "run", deployment, "--watch", "-p", f"fail={fail}")

    def listed(*options):
        return run("flow-run", "ls", "--deployment", deployment, *options, "-o", "json").json

    every = listed()
    assert [row["state"] for row in every] == ["completed", "failed", "completed"]
    assert [row["created_at"] for row in every] == sorted((row["created_at"] for row in every), reverse=True)
    assert listed("--state", "failed") == [every[1]]
    assert listed("--limit", "2", "--pool", "here") == every[:2]
    assert set(every[0]) >= {"name", "id", "flow", "deployment", "pool", "queue", "state", "reason", "started_at"}
    table = run("flow-run", "ls", "--deployment", deployment).out.splitlines()
    assert table[0].split() == ["ID", "NAME", "DEPLOYMENT", "STATE", "POOL", "SCHEDULED"]
    assert [line.split()[3] for line in table[1:]] == ["completed", "failed", "completed"]
    assert run("flow-run", "ls", "--state", "scheduled").err == "There are no such runs.\n"
    for wrong in (("--state", "done"), ("--limit", "0"), ("--pool", "nowhere"), ("--deployment", "f/nothing")):
        assert run("flow-run", "ls", *wrong).code == 2


@pytest.mark.slow
def test_an_ended_run_is_inspected_retried_and_deleted(run, deploy, tmp_path):
    deployment = deploy(f"@flow\ndef f():\n    print(open({str(tmp_path / 'word')!r}).read())")
    failed = run("deployment", "run", deployment, "--watch", "--name", "once more", "-o", "json")
    assert (failed.code, failed.json["state"], failed.json["name"]) == (5, "failed", "once more")
    run_id = failed.json["id"]
    shown = run("flow-run", "inspect", run_id[:6], "-o", "json").json
    assert [change["state"] for change in shown["states"]] == [
        *("scheduled", "pending", "submitted", "running", "failed")
    ]
    assert "FileNotFoundError" in run("flow-run", "inspect", run_id).out
    (tmp_path / "word").write_text("found")
    assert "Scheduled attempt 2 of the run once more" in run("flow-run", "retry", run_id).err
    early = run("flow-run", "retry", run_id)
    assert (early.code, "only an ended run can be retried" in early.err) == (1, True)
    assert run("flow-run", "cancel", run_id).err == "Cancelled the run once more.\n"
    assert "has ended already: cancelled" in run("flow-run", "cancel", run_id).err
    assert run("flow-run", "watch", run_id).code == 1
    unasked = run("flow-run", "delete", run_id)
    assert (unasked.code, "Give --yes" in unasked.err) == (3, True)
    assert run("flow-run", "delete", run_id, "--yes").code == 0
    for verb in ("inspect", "logs", "watch", "cancel", "retry", "delete"):
        gone = run("flow-run", verb, run_id)
        assert (gone.code, f"There is no flow run {run_id}." in gone.err) == (2, True)


@pytest.mark.slow
def test_a_run_that_nobody_dispatches_says_what_to_do(run, deploy):
    deployment = deploy("@flow\ndef f():\n    pass")
    submitted = run("deployment", "run", deployment)
    run_id = submitted.out.strip()
    assert re.fullmatch("[0-9a-f]{32}", run_id)
    assert "No worker is there to launch it: poolform worker start --pool here" in submitted.err
    assert run("flow-run", "logs", run_id).err.endswith(" has printed nothing yet.\n")
    assert newest(run, deployment)["state"] == "scheduled"
    assert run("flow-run", "cancel", run_id).code == 0


# -- what cannot run -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_pool_that_runs_nothing_says_why(alone, deploy):
    deployment = deploy("@flow\ndef f():\n    pass")
    assert alone("work-pool", "pause", "here").code == 0
    paused = alone("deployment", "run", deployment)
    assert (paused.code, "poolform work-pool resume here" in paused.err) == (1, True)
    assert alone("work-pool", "resume", "here").code == 0
    refused = alone("work-pool", "delete", "here", "--yes", "--with-deployments")
    assert (refused.code, "poolform work-pool deprovision here" in refused.err) == (1, True)
    waiting = alone("deployment", "run", deployment).out.strip()
    assert alone("work-pool", "deprovision", "here", "--yes").code == 0
    ended = alone("flow-run", "inspect", waiting, "-o", "json").json
    assert (ended["state"], ended["reason"]) == ("cancelled", "work pool here is being deprovisioned")
    unready = alone("deployment", "run", deployment)
    assert (unready.code, "poolform work-pool provision-infra here" in unready.err) == (1, True)
    used = alone("work-pool", "delete", "here", "--yes")
    assert (used.code, f"is used by 1 deployment: {deployment}.\n" in used.err) == (1, True)
    assert alone("work-pool", "delete", "here", "--yes", "--with-deployments").code == 0
    (past,) = alone("flow-run", "ls", "-o", "json").json
    assert (past["id"], past["deployment"], past["pool"]) == (waiting, None, None)


@pytest.mark.slow
def test_a_paused_deployment_waits(run, deploy):
    deployment = deploy("@flow\ndef f():\n    print('ran')")
    assert run("deployment", "pause", deployment).code == 0
    assert run("deployment", "inspect", deployment, "-o", "json").json["state"] == "paused"
    waiting = run("deployment", "run", deployment).out.strip()
    assert run("deployment", "resume", deployment).code == 0
    assert run("flow-run", "inspect", waiting, "-o", "json").json["state"] == "scheduled"
    assert run("deployment", "delete", deployment, "--yes").code == 0
    ended = run("flow-run", "inspect", waiting, "-o", "json").json
    assert (ended["state"], ended["deployment"]) == ("cancelled", None)
    assert run("deployment", "inspect", deployment).code == 2


def test_cancelling_a_running_flow_lets_it_clean_up(run, deploy, background):
    deployment = deploy(
        """
        @flow
        def f():
            print("at work")
            try:
                time.sleep(60)
            finally:
                print("cleaned up")
        """
    )
    watching = background("deployment", "run", deployment, "--watch")
    watching.says("at work")
    running = newest(run, deployment)
    assert running["state"] == "running"
    asked = run("flow-run", "cancel", running["id"])
    assert f"poolform flow-run watch {running['id'][:12]}" in asked.err
    assert watching.ends() == 1
    assert watching.said.endswith(f"is running\nat work\ncleaned up\n{running['name']} is cancelled\n")


@pytest.mark.slow
def test_an_interrupted_watcher_leaves_the_run_to_the_next_worker(run, deploy, background, tmp_path):
    deployment = deploy(
        f"@flow\ndef f():\n    print('at work')\n    time.sleep(1.5)\n    open({str(tmp_path / 'done')!r}, 'w')"
    )
    watching = background("deployment", "run", deployment, "--watch")
    watching.says("at work")
    assert watching.stop() == 130
    run_id = newest(run, deployment)["id"]
    assert "goes on; nothing is lost." in watching.said
    assert f"poolform flow-run watch {run_id[:12]}" in watching.said
    eventually((tmp_path / "done").exists)
    assert newest(run, deployment)["state"] == "running"  # nobody is there to note it
    worker = background("worker", "start", "--pool", "here")
    worker.says("completed")
    assert worker.stop() == 0
    assert newest(run, deployment)["state"] == "completed"


# -- workers ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_runs_outlive_the_worker(alone, deploy, background, tmp_path, number):
    deployment = deploy(
        f"""
        @flow
        def f():
            with open({str(tmp_path / "trace")!r}, "a") as file:
                print(os.getpid(), file=file, flush=True)
            print("at work")
            time.sleep(2)
            print("done")
        """
    )
    first = background("worker", "start", "--name", "first")
    first.says("Worker first started for all work pools. Ctrl-C stops it.")
    eventually(lambda: [worker["name"] for worker in alone("worker", "ls", "-o", "json").json] == ["first"])
    submitted = alone("deployment", "run", deployment)
    assert "No worker" not in submitted.err
    following = background("flow-run", "logs", submitted.out.strip(), "--follow")
    following.says("at work")
    assert first.stop(number) == 0
    assert first.said.endswith("Worker stopped. Jobs that run go on; the next worker takes them over.\n")
    assert alone("worker", "ls").err == "No worker is running: poolform worker start\n"
    second = background("worker", "start", "--pool", "here")
    second.says("completed")
    assert following.ends() == 0
    # Where the machine is slow, there is time to notice that nobody follows the run for a while.
    said = [line for line in following.said.splitlines() if not line.startswith("Nobody follows ")]
    assert said == ["at work", "done"]
    assert second.stop(number) == 0
    assert len((tmp_path / "trace").read_text().split()) == 1
    ended = newest(alone, deployment)
    assert (ended["state"], ended["attempt"]) == ("completed", 1)


@pytest.mark.slow
def test_a_watch_takes_over_from_a_worker_that_was_killed(alone, deploy, background):
    """Also one that began while that worker still counted as alive, or beside another watch."""
    name = deploy("@flow\ndef f(): time.sleep(3); print('done')")
    worker = background("worker", "start", "--lease", "2")
    worker.says("started")
    first = background("deployment", "run", name, "--watch")
    first.says("is running")
    worker.process.kill()
    second = background("deployment", "run", name, "--watch")
    assert (first.ends(), second.ends()) == (0, 0)
    assert "done" in first.said
    assert "done" in second.said


def test_a_worker_for_a_pool_that_is_not_there_does_not_start(run):
    refused = run("worker", "start", "--pool", "hre")
    assert (refused.code, "Did you mean here?" in refused.err) == (2, True)


@pytest.mark.slow
def test_queues_keep_their_limits_and_go_by_priority(alone, deploy, background, tmp_path):
    trace = tmp_path / "trace"
    code = f"""
        @flow
        def f(lane: str):
            with open({str(trace)!r}, "a") as file:
                print("start", lane, file=file, flush=True)
                time.sleep(0.4)
                print("end", lane, file=file, flush=True)
        """
    assert alone("work-queue", "create", "narrow", "--pool", "here", "--priority", "2", "--limit", "1").code == 0
    assert alone("work-queue", "create", "urgent", "--pool", "here", "--priority", "5").code == 0
    assert alone("work-queue", "set-priority", "urgent", "1", "--pool", "here").code == 0
    assert alone("work-queue", "set-priority", "default", "3", "--pool", "here").code == 0
    rows = alone("work-queue", "ls", "--pool", "here", "-o", "json").json
    assert [(row["name"], row["priority"], row["concurrency_limit"]) for row in rows] == [
        *(("urgent", 1, None), ("narrow", 2, 1), ("default", 3, None))
    ]
    for lane in ("narrow", "urgent"):
        deploy(code, "--queue", lane, "--param", f"lane={lane}", name=lane)
    for lane in ("narrow", "narrow", "narrow", "urgent"):
        alone("deployment", "run", f"f/{lane}")
    assert alone("work-pool", "set-concurrency-limit", "here", "2").code == 0
    worker = background("worker", "start", "--pool", "here")
    eventually(lambda: worker.said.count("completed") == 4)
    assert worker.stop() == 0
    events = [tuple(line.split()) for line in trace.read_text().splitlines()]
    assert events.index(("start", "urgent")) < events.index(("end", "narrow"))  # it came last and did not wait
    assert [event for event, lane in events if lane == "narrow"] == ["start", "end"] * 3


@pytest.mark.slow
def test_a_paused_queue_holds_its_runs_and_a_deleted_one_passes_them_on(alone, deploy, background):
    assert alone("work-queue", "create", "side", "--pool", "here", "--concurrency-limit", "0").code == 0
    taken = alone("work-queue", "create", "side", "--pool", "here")
    assert (taken.code, "side" in taken.err) == (2, True)
    deployment = deploy("@flow\ndef f():\n    print('ran')", "--queue", "side")
    run_id = alone("deployment", "run", deployment).out.strip()
    worker = background("worker", "start")
    worker.says("Worker")
    assert alone("work-queue", "clear-concurrency-limit", "side", "--pool", "here").code == 0
    worker.says("completed")
    assert alone("work-queue", "pause", "side", "--pool", "here").code == 0
    assert alone("work-queue", "inspect", "side", "--pool", "here", "-o", "json").json["state"] == "paused"
    assert alone("flow-run", "retry", run_id).code == 0
    time.sleep(1)
    assert alone("flow-run", "inspect", run_id, "-o", "json").json["state"] == "scheduled"
    used = alone("work-queue", "delete", "side", "--pool", "here", "--yes")
    assert (used.code, "Work queue side is used by " in used.err) == (1, True)
    deploy("@flow\ndef f():\n    print('ran')")
    assert alone("work-queue", "delete", "side", "--pool", "here").code == 3
    assert alone("work-queue", "delete", "side", "--pool", "here", "--yes").code == 0
    eventually(lambda: worker.said.count("completed") == 2)
    ended = alone("flow-run", "inspect", run_id, "-o", "json").json
    assert (ended["state"], ended["queue"], ended["attempt"]) == ("completed", "default", 2)
    missing = alone("work-queue", "pause", "defalt", "--pool", "here")
    assert (missing.code, "has no work queue named defalt.\nDid you mean default?" in missing.err) == (2, True)
    assert alone("work-queue", "delete", "default", "--pool", "here", "--yes").code != 0
    assert worker.stop() == 0


@pytest.mark.slow
def test_slots_say_who_takes_them_and_a_full_deployment_cancels_what_is_new(alone, deploy, background, tmp_path):
    flag = tmp_path / "go"
    code = f"""
        @flow
        def f():
            while not os.path.exists({str(flag)!r}):
                time.sleep(0.05)
        """
    limited = ("--concurrency-limit", "1", "--collision-strategy")
    name = deploy(code, *limited, "cancel_new")
    shown = alone("deployment", "inspect", name, "-o", "json").json
    assert (shown["concurrency_limit"], shown["collision"]) == (1, "cancel-new")
    wrong = alone("deploy", "flows.py:f", "--name", "x", "--pool", "here", "--collision-strategy", "ENQUEUE")
    assert (wrong.code, "Add --concurrency-limit N." in wrong.err) == (2, True)
    assert alone("work-queue", "set-concurrency-limit", "default", "3", "--pool", "here").code == 0
    assert alone("work-pool", "slots", "here", "-o", "json").json == {
        "name": "here",
        "limit": None,
        "taken": 0,
        "free": None,
        "waiting": 0,
        "slots": [],
    }
    worker = background("worker", "start", "--name", "w")
    first = alone("deployment", "run", name).out.strip()
    worker.says("running")
    second = alone("deployment", "run", name).out.strip()
    worker.says("cancelled: its deployment's limit of 1 run was reached")
    found = alone("work-queue", "slots", "default", "--pool", "here", "-o", "json").json
    assert (found["limit"], found["taken"], found["free"], found["waiting"]) == (3, 1, 2, 0)
    (slot,) = found["slots"]
    assert (slot["id"], slot["deployment"], slot["queue"], slot["worker"]) == (first, name, "default", "w")
    text = alone("work-pool", "slots", "here")
    assert first[:12] in text.out
    assert "no limit; 0 runs due and waiting." in text.err
    flag.touch()
    worker.says("completed")
    assert alone("flow-run", "inspect", second, "-o", "json").json["state"] == "cancelled"
    assert alone("work-pool", "slots", "here").err.startswith("No run takes a slot of here.")
    assert worker.stop() == 0


@pytest.mark.slow
def test_a_late_run_says_so_and_what_it_waits_for(alone, deploy):
    deployment = deploy("@flow\ndef f(): ...")
    run_id = alone("deployment", "run", deployment).out.strip()
    assert alone("flow-run", "ls", "-o", "json").json[0]["late"] is False
    database = Path(os.environ["POOLFORM_HOME"]) / "poolform.db"
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE flow_runs SET scheduled_at = scheduled_at - 60")
    connection.close()
    assert re.search(rf"^{run_id[:12]} .* late ", alone("flow-run", "ls", "--state", "late").out, re.MULTILINE)
    found = alone("flow-run", "inspect", run_id, "-o", "json").json
    assert (found["state"], found["late"]) == ("scheduled", True)
    assert found["waits_for"] == "no worker is there for the work pool here: poolform worker start --pool here"
    shown = alone("flow-run", "inspect", run_id).out
    assert re.search(r"^state +late$", shown, re.MULTILINE)
    assert "waits_for" in shown


@pytest.mark.slow
def test_a_worker_drains_on_request_and_tells_its_health(alone, deploy, background, tmp_path):
    deployment = deploy("@flow\ndef f():\n    print('at work', flush=True)\n    time.sleep(2)")
    worker = background("worker", "start", "--drain", "30", "--health-port", "0")
    worker.says("started for all work pools")
    address = re.search(r"http://\S+/health", worker.said).group()
    run_id = alone("deployment", "run", deployment).out.strip()
    worker.says("running")
    with urllib.request.urlopen(address) as answer:
        assert json.load(answer)["runs"] == [run_id]
    worker.process.send_signal(signal.SIGTERM)
    worker.says("Takes no more runs, and waits up to 30 s for 1 run. Ctrl-C stops it now.")
    assert worker.ends() == 0
    assert worker.said.endswith("completed\nWorker stopped. No job of its own is left.\n"), worker.said


@pytest.mark.slow
def test_a_worker_has_no_more_runs_at_a_time_than_its_limit(alone, deploy, background, tmp_path):
    trace = tmp_path / "trace"
    deployment = deploy(
        f"""
        @flow
        def f():
            with open({str(trace)!r}, "a", buffering=1) as file:
                print("begins", file=file)
                time.sleep(0.3)
                print("ends", file=file)
        """
    )
    for _ in range(3):
        alone("deployment", "run", deployment)
    worker = background("worker", "start", "--limit", "1")
    eventually(lambda: trace.exists() and trace.read_text().count("ends") == 3)
    assert worker.stop() == 0
    assert trace.read_text().split() == ["begins", "ends"] * 3


@pytest.mark.slow
def test_a_second_signal_ends_a_drain(alone, deploy, background):
    deployment = deploy("@flow\ndef f():\n    time.sleep(3)")
    worker = background("worker", "start", "--drain", "60")
    alone("deployment", "run", deployment)
    worker.says("running")
    worker.process.send_signal(signal.SIGTERM)
    worker.says("Takes no more runs")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.ends() == 0
    assert worker.said.endswith("Worker stopped. Jobs that run go on; the next worker takes them over.\n")


@pytest.mark.slow
def test_past_runs_are_deleted_by_hand_or_by_the_worker(alone, deploy, background, monkeypatch):
    deployment = deploy("@flow\ndef f():\n    print('ran')")
    assert alone("deployment", "run", deployment, "--watch").code == 0
    assert alone("flow-run", "prune", "--older-than", "1h").err == "No run ended more than 1h ago.\n"
    wrong = alone("flow-run", "prune", "--older-than", "soon")
    assert (wrong.code, "--older-than is 'soon', which is no length of time." in wrong.err) == (2, True)
    asked = alone("flow-run", "prune", "--older-than", "0s")
    assert asked.code == 3
    pruned = alone("flow-run", "prune", "--older-than", "0s", "--yes")
    assert (pruned.code, pruned.err) == (0, "Deleted 1 run.\n")
    assert alone("deployment", "run", deployment, "--watch").code == 0
    monkeypatch.setenv("POOLFORM_RETENTION", "0s")
    worker = background("worker", "start")
    eventually(lambda: alone("flow-run", "ls", "-o", "json").json == [])
    assert worker.stop() == 0
    refused = alone("worker", "start", POOLFORM_RETENTION="for ever")
    assert (refused.code, "POOLFORM_RETENTION is 'for ever'" in refused.err) == (2, True)
