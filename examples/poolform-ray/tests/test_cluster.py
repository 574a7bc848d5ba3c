"""Flows on a real cluster of two nodes, of which one is killed, as people run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

FLOWS = """
import os, sys, time
from poolform import flow


@flow
def hello(name: str):
    print(f"Hello, {name}, from", os.environ["GREETER"])


@flow
def tasks():
    import ray

    @ray.remote(num_cpus=0.1)
    def square(n):
        return n * n

    ray.init(log_to_driver=False)
    print(sum(ray.get([square.remote(n) for n in range(10)])))


@flow
def packaged():
    import acorn

    print(acorn.WORD)


@flow
def slow(seconds: float = 120):
    print("at work", flush=True)
    time.sleep(seconds)
    print("done")


@flow
def broken():
    raise ValueError("boom")
"""


class Person:
    """Somebody at a command line."""

    def __init__(self, folder):
        self.folder = folder
        self.program = Path(sys.executable).with_name("poolform")

    def try_(self, *args):
        return subprocess.run([self.program, *args], cwd=self.folder, capture_output=True, text=True, check=False)

    def do(self, *args):
        done = self.try_(*args)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def deploy(self, flow, *options):
        self.do("deploy", f"flows.py:{flow}", "--name", "x", "--pool", "cluster", *options)

    def state(self, run_id):
        return json.loads(self.do("flow-run", "inspect", run_id, "-o", "json"))

    def wait(self, run_id, *states, seconds=120):
        deadline = time.monotonic() + seconds
        while (found := self.state(run_id))["state"] not in states:
            assert time.monotonic() < deadline, found
            time.sleep(0.3)
        return found


@pytest.fixture
def person(throwaway_home, tmp_path, cluster):
    (tmp_path / "flows.py").write_text(FLOWS)
    one = Person(tmp_path)
    one.do("work-pool", "create", "cluster", "--type", "ray", "--set", f"address={cluster.address}",
           "--provision-infra", "--yes")  # fmt: skip
    return one


@pytest.fixture
def worker(person):
    process = subprocess.Popen([person.program, "worker", "start"], cwd=person.folder, stderr=subprocess.DEVNULL)
    yield process
    process.terminate()
    process.wait(30)


def test_flows_run_there_with_their_tasks_and_packages(person, tmp_path):
    person.deploy("hello", "--job-variable", "env.GREETER=Ray ${HOME} $PATH", "--job-variable", "cpu=0.5")
    assert person.do("deployment", "run", "hello/x", "--watch", "--param", "name=you") == (
        "Hello, you, from Ray ${HOME} $PATH\n"
    )
    person.deploy("tasks", "--job-variable", "cpu=0.5")
    assert person.do("deployment", "run", "tasks/x", "--watch").splitlines()[-1] == "285"
    wheel = tmp_path / "acorn-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("acorn.py", "WORD = 'from a package'\n")
        file.writestr("acorn-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: acorn\nVersion: 1\n")
        file.writestr("acorn-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("acorn-1.dist-info/RECORD", "")
    person.deploy("packaged", "--job-variable", f"pip_packages={json.dumps([str(wheel)])}")
    assert person.do("deployment", "run", "packaged/x", "--watch").splitlines()[-1] == "from a package"
    assert json.loads(person.do("work-pool", "drift", "cluster", "-o", "json"))["clean"]


def test_how_runs_end(person):
    person.deploy("broken")
    failed = person.try_("deployment", "run", "broken/x", "--watch")
    assert (failed.returncode, "failed: ValueError: boom" in failed.stderr) == (5, True), failed.stderr
    person.deploy("hello", "--job-variable", 'pip_packages=["/no/such/package.whl"]')
    crashed = person.try_("deployment", "run", "hello/x", "--watch", "--param", "name=x")
    assert (crashed.returncode, "crashed: Ray: runtime_env setup failed" in crashed.stderr) == (5, True), crashed.stderr


def test_a_run_is_cancelled_and_another_outlives_its_worker(person, worker):
    person.deploy("slow", "--job-variable", "cpu=0.5")
    cancelled = person.do("deployment", "run", "slow/x").strip()
    kept = person.do("deployment", "run", "slow/x", "--param", "seconds=8").strip()
    person.wait(cancelled, "running")
    person.wait(kept, "running")
    worker.kill()
    worker.wait()
    person.do("flow-run", "cancel", cancelled)
    again = subprocess.Popen([person.program, "worker", "start"], cwd=person.folder, stderr=subprocess.DEVNULL)
    try:
        assert person.wait(cancelled, "cancelled", "crashed", "completed")["state"] == "cancelled"
        ended = person.wait(kept, "completed", "crashed")
    finally:
        again.terminate()
        again.wait(30)
    assert (ended["state"], ended["attempt"]) == ("completed", 1)
    assert person.do("flow-run", "logs", kept) == "at work\ndone\n"


def test_a_node_that_is_killed_crashes_its_run_and_no_other(person, worker, cluster):
    there = ("--job-variable", 'resources={"other": 0.1}', "--job-variable", "cpu=0.5")
    person.deploy("slow", *there)
    doomed = person.do("deployment", "run", "slow/x").strip()
    person.wait(doomed, "running")
    person.deploy("slow", "--job-variable", "cpu=0")  # on the head
    kept = person.do("deployment", "run", "slow/x", "--param", "seconds=20").strip()
    person.wait(kept, "running")
    cluster.kill_node()
    crashed = person.wait(doomed, "crashed", "failed", "completed", seconds=180)
    assert (crashed["state"], crashed["attempt"]) == ("crashed", 1)
    assert "died" in crashed["reason"], crashed["reason"]
    assert person.wait(kept, "completed", "crashed")["state"] == "completed"
    cluster.bring_node_back()
    person.deploy("hello", *there, "--job-variable", "env.GREETER=the node that is back")
    run = person.do("deployment", "run", "hello/x", "--param", "name=you").strip()
    assert person.wait(run, "completed", "crashed")["state"] == "completed"


def test_a_cluster_that_is_not_there_is_named_before_anything_is_stored(person):
    made = person.try_("work-pool", "create", "far", "--type", "ray", "--set", "address=http://127.0.0.1:9",
                       "--provision-infra", "--yes")  # fmt: skip
    assert (made.returncode, "No Ray cluster answers at http://127.0.0.1:9" in made.stderr) == (1, True), made.stderr
    assert [pool["name"] for pool in json.loads(person.do("work-pool", "ls", "-o", "json"))] == ["cluster"]
    assert os.environ["POOLFORM_HOME"]
