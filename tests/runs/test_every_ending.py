"""From `poolform deploy` to the outcome, in a process pool: how every kind of flow ends, as a person sees it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH")

FLOWS = """
    import os, subprocess, sys, threading, time
    from datetime import datetime
    from poolform import flow

    def returns(): print("ran")
    def raises(): raise ValueError("boom")
    def exits_well(): sys.exit(0)
    def exits_badly(): sys.exit(3)
    def leaves(): os._exit(9)
    def is_killed(): os.kill(os.getpid(), 9)
    def crashes(): os.kill(os.getpid(), 11)
    def prints_a_megabyte():
        for _ in range(10): print("x" * 100_000)
    def prints_binary(): sys.stdout.buffer.write(bytes(range(256)))
    def forks():
        if os.fork() == 0: return
        os.wait()
    def leaves_children(): subprocess.Popen(["sleep", "60"])
    def leaves_threads(): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    async def waits(): print("ran")
    def takes_a_date(when: datetime, n: int = 1): print(when.year, n)
    @flow(timeout_seconds=0.5)
    def takes_too_long(): time.sleep(60)
    @flow(retries=2, retry_delay_seconds=0.1)
    def needs_three():
        print("attempt", os.environ["POOLFORM_ATTEMPT"])
        if os.environ["POOLFORM_ATTEMPT"] != "3": raise ValueError("not yet")
    def sleeps():
        print("up")
        time.sleep(60)
    def inner(): print("ran")
    @flow(name="Outer flow")
    def outer(): flow(inner)()
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A home with a pool, shared by this module's tests: making one takes longer than most runs."""
    home = tmp_path_factory.mktemp("shared")
    (home / "flows.py").write_text(textwrap.dedent(FLOWS))
    (home / "empty.rc").touch()
    return home


@pytest.fixture
def cli(shared, poolform):
    def run(*arguments):
        return poolform(*arguments, POOLFORM_HOME=shared / "home", TF_CLI_CONFIG_FILE=shared / "empty.rc")

    if not (shared / "home").exists():
        made = run("work-pool", "create", "here", "--type", "process", "--provision-infra", "--yes")
        assert made.code == 0, made.err
    return run


def deploy(cli, shared, function, *more):
    done = cli("deploy", f"{shared}/flows.py:{function}", "--name", "x", "--pool", "here", *more)
    assert done.code == 0, done.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "code", "state", "reason"),
    [
        ("returns", 0, "completed", None),
        ("waits", 0, "completed", None),
        ("exits_well", 0, "completed", None),
        ("prints_binary", 0, "completed", None),
        ("forks", 0, "completed", None),
        ("leaves_children", 0, "completed", None),
        ("leaves_threads", 0, "completed", None),
        ("raises", 5, "failed", "ValueError: boom"),
        ("exits_badly", 5, "failed", "SystemExit: 3"),
        ("takes_too_long", 5, "failed", "timed out after 0.5 s"),
        ("leaves", 5, "crashed", "exited with code 9 before the flow reported an outcome"),
        ("is_killed", 5, "crashed", "killed (SIGKILL), most likely out of memory"),
        ("crashes", 5, "crashed", "killed (SIGSEGV)"),
    ],
)
def test_how_a_flow_ends_decides_the_state_and_the_exit_code(cli, shared, function, code, state, reason):
    deploy(cli, shared, function)
    flow = function.replace("_", "-")
    done = cli("deployment", "run", f"{flow}/x", "--watch", "-o", "json")
    assert (done.code, done.json["state"], done.json["reason"]) == (code, state, reason), done.err
    assert not list((shared / "home" / "jobs").glob("*/*")), "a job's folder was left behind"


@pytest.mark.slow
def test_a_megabyte_of_log_is_kept_whole(cli, shared):
    deploy(cli, shared, "prints_a_megabyte")
    done = cli("deployment", "run", "prints-a-megabyte/x", "--watch")
    assert done.code == 0, done.err
    run = cli("flow-run", "ls", "--deployment", "prints-a-megabyte/x", "-o", "json").json[0]
    log = cli("flow-run", "logs", run["id"]).out
    assert log.count("x") >= 1_000_000


@pytest.mark.slow
def test_a_failed_flow_is_tried_again_and_keeps_all_its_logs(cli, shared):
    deploy(cli, shared, "needs_three")
    done = cli("deployment", "run", "needs-three/x", "--watch")
    assert done.code == 0, done.err
    assert [line for line in done.out.splitlines() if line.startswith("attempt")] == [
        "attempt 1",
        "attempt 2",
        "attempt 3",
    ]


@pytest.mark.slow
def test_parameters_are_checked_before_anything_runs_and_arrive_with_their_types(cli, shared):
    deploy(cli, shared, "takes_a_date", "--param", "n=7")
    before = cli("flow-run", "ls", "-o", "json", "--deployment", "takes-a-date/x").json
    for wrong, said in (
        ([], "when: it is required and missing."),
        (["--param", "when=soon"], 'when: "soon" is not a date-time.'),
        (["--param", "when=2026-01-02", "--param", "m=1"], "m: there is no such parameter."),
    ):
        done = cli("deployment", "run", "takes-a-date/x", *wrong)
        assert done.code == 2
        assert said in done.err
    assert cli("flow-run", "ls", "-o", "json", "--deployment", "takes-a-date/x").json == before
    done = cli("deployment", "run", "takes-a-date/x", "--watch", "--param", "when=2026-01-02T00:00:00")
    assert "2026 7" in done.out, done.err


@pytest.mark.slow
def test_a_flow_that_calls_a_flow_is_one_run(cli, shared):
    deploy(cli, shared, "outer")
    done = cli("deployment", "run", "Outer flow/x", "--watch")
    assert done.code == 0
    assert "ran" in done.out


@pytest.mark.slow
def test_the_code_may_vanish_between_deployment_and_run(cli, shared, tmp_path):
    (tmp_path / "gone.py").write_text("def run(): pass")
    assert cli("deploy", f"{tmp_path}/gone.py:run", "--name", "gone", "--pool", "here").code == 0
    (tmp_path / "gone.py").rename(tmp_path / "went.py")
    done = cli("deployment", "run", "run/gone", "--watch", "-o", "json")
    assert (done.code, done.json["state"]) == (5, "crashed")
    assert done.json["reason"] == f"gone.py is not in {tmp_path}. Did you mean went.py?"


@pytest.mark.parametrize(("variables", "said"), [
    (["stream_ouput=no"], "stream_ouput: there is no such job variable. Did you mean stream_output?"),
    (["env.A=1", "working_dir=7", "labels=x"], 'labels: "x" is not an object.'),
])  # fmt: skip
def test_job_variables_are_checked_when_a_flow_is_deployed(cli, shared, variables, said):
    given = [part for variable in variables for part in ("--job-variable", variable)]
    done = cli("deploy", f"{shared}/flows.py:returns", "--name", "wrong", "--pool", "here", *given)
    assert done.code == 2
    assert said in done.err
    assert "returns/wrong" not in cli("deployment", "ls").out


@pytest.mark.slow
def test_a_running_flow_is_cancelled_from_elsewhere(cli, shared):
    deploy(cli, shared, "sleeps")
    environ = {**os.environ, "POOLFORM_HOME": str(shared / "home")}
    program = Path(sys.executable).with_name("poolform")
    watching = subprocess.Popen(
        [program, "deployment", "run", "sleeps/x", "--watch"],
        env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while "up" not in watching.stdout.readline():
        assert watching.poll() is None
    run = cli("flow-run", "ls", "--deployment", "sleeps/x", "-o", "json").json[0]
    started = time.monotonic()
    assert cli("flow-run", "cancel", run["id"]).code == 0
    _, err = watching.communicate(timeout=20)
    assert "is cancelled" in err
    assert watching.returncode not in (0, None)
    assert time.monotonic() - started < 10


@pytest.mark.slow
def test_ctrl_c_leaves_the_run_going_and_says_how_to_follow_it(cli, shared):
    deploy(cli, shared, "sleeps")
    environ = {**os.environ, "POOLFORM_HOME": str(shared / "home")}
    program = Path(sys.executable).with_name("poolform")
    watching = subprocess.Popen(
        [program, "deployment", "run", "sleeps/x", "--watch"],
        env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while "up" not in watching.stdout.readline():
        assert watching.poll() is None
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=20)
    assert watching.returncode == 130
    assert "poolform flow-run watch" in err
    run = cli("flow-run", "ls", "--deployment", "sleeps/x", "-o", "json").json[0]
    assert run["state"] == "running"
    assert cli("flow-run", "cancel", run["id"]).code == 0
    worker = subprocess.Popen([program, "worker", "start", "--pool", "here"], env=environ, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while cli("flow-run", "inspect", run["id"], "-o", "json").json["state"] != "cancelled":
            assert time.monotonic() < deadline
    finally:
        worker.terminate()
        worker.wait(20)
