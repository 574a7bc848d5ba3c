"""Every step of a run's way, and of a pool's end, is cut off; the next worker, or the next try, finishes it once."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field

import pytest
from clouds.google import Fault
from generated import table

from .conftest import laboratory
from .person import FLOWS, IMAGE, Person, kill_tree
from .test_docs import PAGE

pytestmark = pytest.mark.slow

# The call at which a worker is cut off, for the flow that it runs, and how that should end.
STEPS = {
    "launch: the job": ("run.jobs.create", "greet", "completed"),
    "poll": ("run.jobs.get", "greet", "completed"),
    "output": ("logging.entries.list", "greet", "completed"),
    "cancel": ("run.executions.cancel", "sleeps", "cancelled"),
    "remove: the job": ("run.jobs.delete", "greet", "completed"),
}
DOWN = {
    "deprovision: stopping jobs": "run.executions.cancel",
    "deprovision: deleting jobs": "run.jobs.delete",
    "deprovision: the key": "iam.serviceAccountKeys.delete",
}
WAYS = {
    "killed before": "call",
    "killed after": "call-after",
    "connection lost before": "drop",
    "connection lost after": "drop-after",
}
KILLED, LOST = list(WAYS)[:2], list(WAYS)[2:]
ENDED = ("completed", "failed", "crashed", "cancelled")


@dataclass
class World:
    """A provisioned pool, deployments in it, and whoever works there."""

    google: object
    me: Person
    workers: list = field(default_factory=list)
    seen: dict = field(default_factory=dict)

    def strike(self, action, way, process):
        hook = None if process is None else lambda _: kill_tree(process().pid)
        return self.google.faults.add(Fault(action, WAYS[way], hook=hook))

    def work(self):
        self.workers.append(self.me.start("worker", "start", "--pool", "p", "--lease", "2"))

    def rest(self):
        worker = self.workers[-1]
        if worker.poll() is None:
            worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=60)

    def run(self, run_id):
        return self.me.json("flow-run", "inspect", run_id)

    def wait(self, happened, seconds=90):
        deadline = time.monotonic() + seconds
        while not (found := happened()):
            assert time.monotonic() < deadline, "it did not happen"
            if self.workers[-1].poll() is not None:
                self.workers[-1].communicate()
                self.work()  # as whatever looks after workers would
            time.sleep(0.2)
        return found


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with laboratory(tmp_path_factory.mktemp("google")) as lab:
        lab.google.jobs.images[IMAGE] = FLOWS
        me = Person.at(tmp_path_factory.mktemp("running"), lab.owner)
        me(
            "work-pool",
            "create",
            "p",
            "--type",
            "cloud-run:push",
            "--provision-infra",
            "--yes",
            "--set",
            "credentials=key",
        )
        for name in ("greet", "sleeps"):
            me("deploy", f"flows.py:{name}", "--name", "n", "--pool", "p", "--job-variable", f"image={IMAGE}")
        yield World(lab.google, me)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_is_cut_off_is_finished_and_launched_once(world, step, way):
    action, flow, end = STEPS[step]
    fault = world.strike(action, way, (lambda: world.workers[-1]) if way.startswith("killed") else None)
    started = len(world.google.jobs.started)
    world.me("deployment", "run", f"{flow}/n")
    run_id = world.me.last_run()["id"]
    world.work()
    if flow == "sleeps":
        world.wait(lambda: world.run(run_id)["state"] == "running")
        world.me("flow-run", "cancel", run_id)
    found = world.wait(lambda: (run := world.run(run_id))["state"] in ENDED and run)
    world.wait(lambda: not world.google.jobs.jobs)
    world.rest()
    assert fault.hits == 1, "it was not cut off"
    assert found["state"] == end, found
    assert len(world.google.jobs.started) == started + 1, "it was launched more or less than once"
    assert world.google.vault.secrets == {}
    if flow == "greet":
        assert world.me("flow-run", "logs", run_id).stdout.count("hello world") == 1
    world.seen[step, way] = f"{end}, launched once"


def busy(world):
    """The pool is up, and a job runs in it that no worker looks after."""
    world.me("work-pool", "provision-infra", "p", "--yes")
    world.me("deployment", "run", "sleeps/n")
    run_id = world.me.last_run()["id"]
    world.work()
    world.wait(lambda: world.run(run_id)["state"] == "running")
    world.workers[-1].kill()
    world.workers[-1].communicate()


@pytest.mark.parametrize("way", KILLED)
def test_deprovisioning_that_is_killed_goes_on_or_back(world, way):
    """At each call in turn; afterwards the pool is wanted after all, and is brought up again with one key."""
    busy(world)
    for step, action in DOWN.items():
        process = world.me.start("work-pool", "deprovision", "p", "--yes")
        fault = world.strike(action, way, lambda process=process: process)
        said = process.communicate(timeout=120)
        world.google.faults.clear()
        assert fault.hits == 1, f"it was not cut off at {action}: {said}"
        assert process.returncode == -signal.SIGKILL
        world.seen[step, way] = "went on, nothing left"
    world.me("work-pool", "provision-infra", "p", "--yes")
    assert world.me("work-pool", "drift", "p").returncode == 0
    assert len(world.google.inventory()["keys"]) == 1


def test_deprovisioning_gets_over_lost_connections_and_leaves_nothing(world):
    busy(world)
    faults = {
        (step, way): world.google.faults.add(Fault(action, WAYS[way], skip=order))
        for step, action in DOWN.items()
        for order, way in enumerate(LOST)
    }
    world.me("work-pool", "deprovision", "p", "--yes")
    world.google.faults.clear()
    assert {where: fault.hits for where, fault in faults.items()} == dict.fromkeys(faults, 1)
    world.seen |= dict.fromkeys(faults, "went on, nothing left")
    assert world.google.inventory() == {}


def test_the_documentation_shows_what_was_seen(world):
    rows = [(step, *(world.seen.get((step, way), "not seen") for way in WAYS)) for step in (*STEPS, *DOWN)]
    PAGE.compare("cuts", table(("cut off at", *WAYS), *rows))
