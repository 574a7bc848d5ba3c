"""What scripts write: flow.deploy, flow.serve, deploy(…), serve(…), run as scripts are run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from enum import StrEnum
from pathlib import Path
from types import SimpleNamespace

import pytest

from poolform.core.runs.authoring import planned
from poolform.core.runs.entrypoints import Description, Place

pytestmark = pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on PATH")

FLOWS = '''
    import time
    from datetime import timedelta
    from poolform import Cron, Interval, RRule, deploy, flow, serve, to_deployment

    @flow(retries=1)
    def etl(day: int, full: bool = False) -> None:
        """Load a day."""
        print("day", day, full)

    @flow(name="Long one")
    def long():
        print("up", flush=True)
        time.sleep(60)

    def plain(n: int = 1): print("plain", n)

    if __name__ == "__main__":
'''


@pytest.fixture
def script(tmp_path):
    """A function that runs flows with a line in `if __name__ == "__main__"`, and returns how that ended."""

    def start(body, *, wait=True, more=""):
        text = textwrap.dedent(FLOWS) + textwrap.indent(textwrap.dedent(body), "    ") + more
        (tmp_path / "flows.py").write_text(text)
        running = subprocess.Popen(
            [sys.executable, "flows.py"], cwd=tmp_path, env=os.environ,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        if not wait:
            return running
        out, err = running.communicate(timeout=60)
        return subprocess.CompletedProcess((), running.returncode, out, err)

    return start


@pytest.fixture
def pool(poolform):
    made = poolform("work-pool", "create", "here", "--type", "process", "--provision-infra", "--yes")
    assert made.code == 0, made.err


@pytest.mark.slow
def test_a_flow_deploys_itself(script, poolform, pool):
    done = script("""
        print(etl.deploy("nightly", work_pool_name="here", cron="0 1 * * *", parameters={"day": 3}, tags=["b", "a"],
                         version="1", concurrency_limit=2, job_variables={"env": {"A": "1"}}))
    """)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "etl/nightly\n"
    assert "No worker is there to run it on schedule: poolform worker start --pool here" in done.stderr
    assert "poolform deployment run 'etl/nightly'" in done.stderr
    found = poolform("deployment", "inspect", "etl/nightly", "-o", "json").json
    assert found["entrypoint"] == "flows.py:etl"
    assert found["parameters"] == {"day": 3}
    assert (found["tags"], found["version"], found["concurrency_limit"]) == (["a", "b"], "1", 2)
    assert found["description"] == "Load a day."
    assert found["options"]["retries"] == 1
    assert [s["expression"] for s in found["schedules"]] == ["0 1 * * *"]
    ran = poolform("deployment", "run", "etl/nightly", "--watch", "--param", "full=true")
    assert (ran.code, ran.out) == (0, "day 3 True\n"), ran.err


@pytest.mark.slow
def test_several_deploy_as_one_or_not_at_all(script, poolform, pool):
    body = """
        schedules = [Cron("0 1 * * *", timezone="Europe/Berlin", slug="night"), Interval(timedelta(hours=1)),
                     RRule("FREQ=WEEKLY;BYDAY=MO;BYHOUR=9;BYMINUTE=0;BYSECOND=0", active=False), {{"cron": "@daily"}}]
        print(deploy(etl.to_deployment("a", schedules=schedules, parameters={parameters}),
                     to_deployment(plain, "b", interval=[60, 90]), long, work_pool_name="here"))
    """
    wrong = script(body.format(parameters="{}"))
    assert wrong.returncode == 1
    assert "night: day: it is required and missing." in wrong.stderr
    assert poolform("deployment", "ls", "-o", "json").json == []
    done = script(body.format(parameters="{'day': 1}"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['etl/a', 'plain/b', 'Long one/Long one']\n"
    schedules = poolform("deployment", "schedule", "ls", "etl/a", "-o", "json").json
    assert {(s["type"], s["state"], s["timezone"], s["name"]) for s in schedules} == {
        ("cron", "active", "Europe/Berlin", "night"),
        ("interval", "active", "UTC", None),
        ("rrule", "paused", "UTC", None),
        ("cron", "active", "UTC", None),
    }


@pytest.mark.slow
@pytest.mark.parametrize(("call", "said"), [
    ("etl.deploy('x')", "was given no work pool"),
    ("etl.deploy('x', 'nowhere')", "There is no work pool named nowhere"),
    ("etl.deploy('x', 'here', cron='never')", "does not have five fields"),
    ("etl.deploy('x', 'here', parameters={'dya': 1})", "Did you mean day?"),
    ("etl.deploy('x', 'here', parameters={'day': object()})", "day: a value of the type object cannot be sent"),
    ("etl.deploy('x', 'here', job_variables={'cpu': 1})", "cpu: there is no such job variable"),
    ("etl.deploy('x', 'here', work_queue_name='fast')", "no work queue named fast"),
    ("etl.deploy('x', 'here', image='repo/etl:1')", "runs no images"),
    ("etl.deploy('x', 'here', concurrency_limit={'limit': 1, 'collision_strategy': 'WAIT'})", "no concurrency limit"),
    ("etl.deploy('x', 'here', crom='@daily')", "no option crom"),
    ("etl.deploy('x/y', 'here')", "cannot be the name of a deployment"),
    ("to_deployment(lambda: None, 'x')", "is not a name of its module"),
    ("to_deployment(flow(lambda: None, name='y'), 'x')", "is not a name of its module"),
    ("serve()", "nothing to serve"),
    ("serve(etl.to_deployment('a'), etl.to_deployment('a'))", "etl/a would be served twice"),
    ("serve(5)", "5 is no deployment"),
    ("etl.serve('x', limit=0)", "would be none"),
])  # fmt: skip
def test_bad_input_is_a_sentence(script, poolform, pool, call, said):
    call = call.replace("flow(lambda: None, name='y')", "flow(name='y')(lambda: None)")
    done = script(call)
    assert done.returncode == 1
    assert said in done.stderr
    assert poolform("deployment", "ls", "-o", "json").json == []


@pytest.mark.slow
def test_deploying_while_imported_is_refused(script, pool):
    done = script("pass", more="\netl.deploy('x', 'here')\n")
    assert done.returncode == 1
    assert 'if __name__ == "__main__"' in done.stderr


@pytest.mark.slow
def test_flows_of_a_package_are_named_by_their_module(script, poolform, pool, tmp_path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "__init__.py").touch()
    (tmp_path / "jobs" / "names.py").write_text("NAME = 'inner'\n")
    (tmp_path / "jobs" / "daily.py").write_text(
        "from poolform import flow\nfrom .names import NAME\n@flow\ndef report(): print(NAME)\n"
    )
    done = script("from jobs.daily import report\nreport.deploy('x', 'here')")
    assert done.returncode == 0, done.stderr
    ran = poolform("deployment", "run", "report/x", "--watch")
    assert (ran.code, ran.out) == (0, "inner\n"), ran.err


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def runs(poolform, *more):
    return poolform("flow-run", "ls", "-o", "json", *more).json


@pytest.mark.slow
def test_serving_needs_no_pool_runs_what_is_due_and_stops_cleanly(script, poolform, home, store_url, monkeypatch):
    monkeypatch.setenv("POOLFORM_DATABASE_URL", store_url)
    serving = script("""
        serve(etl.to_deployment("served", interval=1, parameters={"day": 1}), long.to_deployment("served"), limit=2)
    """, wait=False)  # fmt: skip
    try:
        wait_until(lambda: runs(poolform, "--state", "completed"))
        ran = poolform("deployment", "run", "etl/served", "--watch", "--param", "day=9")
        assert (ran.code, ran.out) == (0, "day 9 False\n"), ran.err
        assert poolform("deployment", "run", "Long one/served").code == 0
        wait_until(lambda: runs(poolform, "--state", "running", "--deployment", "Long one/served"))
    finally:
        serving.send_signal(signal.SIGINT)
        out, err = serving.communicate(timeout=40)
    assert serving.returncode == 0, err
    assert "Serving etl/served." in err
    assert re.search(r"^[a-z]+-[a-z]+  day 9 False$", out, re.MULTILINE), (
        "what a run prints is shown where it is served"
    )
    assert "paused until they are served again" in err
    assert [run["state"] for run in runs(poolform, "--deployment", "Long one/served")] == ["cancelled"]
    assert {run["state"] for run in runs(poolform)} <= {"completed", "cancelled", "scheduled"}
    assert {d["paused"] for d in poolform("deployment", "ls", "-o", "json").json} == {True}
    assert list((home / "served").iterdir()) == []
    waits = poolform("deployment", "run", "etl/served")
    assert "Nobody serves etl/served now" in waits.err


@pytest.mark.slow
def test_what_is_not_paused_is_made_up_for_when_it_is_served_again(script, poolform):
    body = "etl.serve('x', interval=1, parameters={'day': 1}, pause_on_shutdown=False)"
    for _ in range(2):
        serving = script(body, wait=False)
        before = len(runs(poolform, "--state", "completed"))
        wait_until(lambda: len(runs(poolform, "--state", "completed")) > before)  # noqa: B023
        serving.send_signal(signal.SIGTERM)
        _, err = serving.communicate(timeout=40)
        assert serving.returncode == 0, err
        assert poolform("deployment", "ls", "-o", "json").json[0]["paused"] is False
        time.sleep(2.5)
    times = sorted(int(float(run["scheduled_at"][17:19])) for run in runs(poolform))
    assert len(times) >= 2


@pytest.mark.slow
def test_workers_for_all_pools_leave_served_runs_alone(script, poolform, pool):
    serving = script("etl.serve('x', parameters={'day': 1})", wait=False)
    wait_until(lambda: poolform("deployment", "ls", "-o", "json").json)
    serving.kill()  # so nothing is paused
    serving.communicate(timeout=20)
    assert poolform("deployment", "run", "etl/x").code == 0
    worker = subprocess.Popen(
        [Path(sys.executable).with_name("poolform"), "worker", "start"],
        env=os.environ, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(3)
    worker.terminate()
    _, err = worker.communicate(timeout=20)
    assert [run["state"] for run in runs(poolform)] == ["scheduled"]
    assert "etl" not in err
    serving = script("etl.serve('x', parameters={'day': 1})", wait=False)
    try:
        wait_until(lambda: runs(poolform, "--state", "completed"))
    finally:
        serving.send_signal(signal.SIGTERM)
        serving.communicate(timeout=40)


@pytest.mark.slow
def test_the_pool_of_served_deployments_is_for_them_alone(script, poolform, tmp_path):
    serving = script("etl.serve('x', parameters={'day': 1})", wait=False)
    wait_until(lambda: poolform("deployment", "ls", "-o", "json").json)
    serving.kill()
    serving.communicate(timeout=20)
    (tmp_path / "other.py").write_text("def other(): ...\n")
    for words, said in (
        (("deploy", "other.py:other", "--name", "x", "--pool", "served"), "No worker takes what is deployed to"),
        (("work-pool", "update", "served", "--name", "mine"), "The work pool served keeps its name"),
        (("work-pool", "provision-infra", "served", "--yes"), "The work pool served has no infrastructure"),
        (("work-pool", "render", "served"), "The work pool served has no infrastructure"),
    ):
        refused = poolform(*words)
        assert (refused.code, said in refused.err) == (2, True), refused.err


@pytest.mark.slow
def test_a_second_ctrl_c_leaves_at_once_and_the_next_to_serve_takes_over(script, poolform):
    stubborn = """
from poolform import flow
import signal, time
@flow
def stubborn():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("up", flush=True)
    time.sleep(4)
if __name__ == "__main__":
    stubborn.serve("x")
"""
    file = Path(os.environ["POOLFORM_HOME"]).parent / "stubborn.py"
    file.write_text(stubborn)

    def start():
        return subprocess.Popen([sys.executable, file], cwd=file.parent, stderr=subprocess.PIPE, text=True)

    serving = start()
    wait_until(lambda: poolform("deployment", "ls", "-o", "json").json)
    (run_id,) = poolform("deployment", "run", "stubborn/x").out.split()
    wait_until(lambda: "up" in poolform("flow-run", "logs", run_id).out)
    serving.send_signal(signal.SIGINT)
    time.sleep(1)
    assert serving.poll() is None
    serving.send_signal(signal.SIGINT)
    _, err = serving.communicate(timeout=5)
    assert serving.returncode == 0, err
    assert runs(poolform, "--state", "running")
    serving = start()
    try:
        wait_until(lambda: not runs(poolform, "--state", "running"))
    finally:
        serving.send_signal(signal.SIGINT)
        serving.communicate(timeout=40)


def test_importing_flows_in_a_job_stays_cheap(tmp_path):
    code = """
import time, poolform.core.runs
started = time.perf_counter()
import poolform.core.runs.flows
print(time.perf_counter() - started)
"""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environ["PYTHONPYCACHEPREFIX"] = str(tmp_path)
    times = [float(subprocess.check_output([sys.executable, "-c", code], env=environ)) for _ in range(8)]
    assert min(times[1:]) < 0.001


class Strategy(StrEnum):
    """As Prefect's ConcurrencyLimitStrategy."""

    CANCEL_NEW = "CANCEL_NEW"


@pytest.mark.parametrize(("given", "limit", "collision"), [
    (None, None, "enqueue"),
    (3, 3, "enqueue"),
    (0, 0, "enqueue"),
    ({"limit": 2}, 2, "enqueue"),
    ({"limit": 2, "collision_strategy": "cancel-new"}, 2, "cancel-new"),
    (SimpleNamespace(limit=1, collision_strategy=Strategy.CANCEL_NEW, grace_period_seconds=None), 1, "cancel-new"),
])  # fmt: skip
def test_a_concurrency_limit_may_be_a_number_or_what_prefect_has_for_it(given, limit, collision):
    place = Place("flows.py:etl", Path("/"))
    plan = planned(Description("etl", {}), place, "x", None, None, {"concurrency_limit": given}).plan
    assert (plan.concurrency_limit, plan.collision) == (limit, collision)
