"""Every step of a run's way, and of a pool's end, is cut off; the next worker, or the next try, finishes it once."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field

import pytest
from clouds.aws.faults import Fault
from generated import table

from poolform.provisioners.ecs.definition import started_by

from .person import FLOWS, IMAGE, Person, kill_tree
from .test_docs import PAGE

pytestmark = [pytest.mark.aws_provider, pytest.mark.slow]

# The call at which a worker is cut off, for the flow that it runs, and how that should end.
STEPS = {
    "launch: the task definition": ("ecs:RegisterTaskDefinition", "greet", "completed"),
    "launch: the task": ("ecs:RunTask", "greet", "completed"),
    "poll": ("ecs:DescribeTasks", "greet", "completed"),
    "output": ("logs:GetLogEvents", "greet", "completed"),
    "cancel": ("ecs:StopTask", "sleeps", "cancelled"),
}
DOWN = {
    "deprovision: the tasks": "ecs:StopTask",
    "deprovision: deregistering definitions": "ecs:DeregisterTaskDefinition",
    "deprovision: deleting definitions": "ecs:DeleteTaskDefinitions",
    "deprovision: the key": "iam:DeleteAccessKey",
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

    aws: object
    me: Person
    workers: list = field(default_factory=list)
    seen: dict = field(default_factory=dict)

    def strike(self, action, way, process):
        hook = None if process is None else lambda _: kill_tree(process().pid)
        return self.aws.faults.add(Fault(action, WAYS[way], hook=hook))

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
def world(aws, cli_config, tmp_path_factory):
    me = Person.at(tmp_path_factory.mktemp("running"), aws.environment, cli_config)
    aws.tasks.images[IMAGE] = FLOWS
    aws.tasks.stop_timeout = 1.0
    me("work-pool", "create", "p", "--type", "ecs:push", "--provision-infra", "--yes", "--set", "credentials=key")
    for name in ("greet", "sleeps"):
        me("deploy", f"flows.py:{name}", "--name", "n", "--pool", "p", "--job-variable", f"image={IMAGE}")
    yield World(aws, me)
    aws.faults.clear()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_is_cut_off_is_finished_and_launched_once(world, step, way):
    action, flow, end = STEPS[step]
    if action == "ecs:RegisterTaskDefinition":
        forget_definitions(world.aws)
    fault = world.strike(action, way, (lambda: world.workers[-1]) if way.startswith("killed") else None)
    world.me("deployment", "run", f"{flow}/n")
    run_id = world.me.last_run()["id"]
    world.work()
    if flow == "sleeps":
        world.wait(lambda: world.run(run_id)["state"] == "running")
        world.me("flow-run", "cancel", run_id)
    found = world.wait(lambda: (run := world.run(run_id))["state"] in ENDED and run)
    world.rest()
    assert fault.hits == 1, "it was not cut off"
    assert found["state"] == end, found
    launched = world.aws.tasks.started_by(started_by(f"{run_id}.1"))
    assert len(launched) == 1, "it was launched more or less than once"
    assert world.aws.tasks.alive() == []
    if flow == "greet":
        assert world.me("flow-run", "logs", run_id).stdout.count("hello world") == 1
    world.seen[step, way] = f"{end}, launched once"


def forget_definitions(aws):
    """Another worker would find them."""
    for arn, definition in aws.definitions.by_arn.items():
        if definition["status"] == "ACTIVE" and "poolform-p-" in arn:
            definition["status"] = "INACTIVE"


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
        world.aws.faults.clear()
        assert fault.hits == 1, f"it was not cut off at {action}: {said}"
        assert process.returncode == -signal.SIGKILL
        world.seen[step, way] = "went on, nothing left"
    world.me("work-pool", "provision-infra", "p", "--yes")
    assert world.me("work-pool", "drift", "p").returncode == 0
    assert len(keys_of(world)) == 1


def test_deprovisioning_gets_over_lost_connections_and_leaves_nothing(world):
    busy(world)
    pool_id = world.me.json("work-pool", "inspect", "p")["id"]
    faults = {
        (step, way): world.aws.faults.add(Fault(action, WAYS[way], skip=order))
        for step, action in DOWN.items()
        for order, way in enumerate(LOST)
    }
    world.me("work-pool", "deprovision", "p", "--yes")
    world.aws.faults.clear()
    assert {where: fault.hits for where, fault in faults.items()} == dict.fromkeys(faults, 1)
    world.seen |= dict.fromkeys(faults, "went on, nothing left")
    left = {kind: [name for name in names if pool_id in name] for kind, names in world.aws.inventory().items()}
    assert {kind: names for kind, names in left.items() if names} == {}
    assert world.aws.tasks.alive() == []


def keys_of(world):
    iam = world.aws.client("iam")
    user = f"poolform-p-launcher-{world.me.json('work-pool', 'inspect', 'p')['id']}"
    return iam.list_access_keys(UserName=user)["AccessKeyMetadata"]


def test_the_documentation_shows_what_was_seen(world):
    rows = [(step, *(world.seen.get((step, way), "not seen") for way in WAYS)) for step in (*STEPS, *DOWN)]
    PAGE.compare("cuts", table(("cut off at", *WAYS), *rows))
