"""Every resource, and every step of a run and of a pool's end, is cut off; the next try ends as an undisturbed one."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field

import pytest
from clouds.faults import Fault
from generated import table
from people import kill_tree

from poolform.provisioners.kubernetes.manifest import job_name
from poolform.testing.standin import fail, slow

from .somebody import FLOWS, IMAGE, Person
from .test_docs import PAGE

pytestmark = pytest.mark.slow

CREATE = (
    "work-pool", "create", "p", "--type", "kubernetes", "--provision-infra", "--yes",
    "--set", 'quota={"pods": "20"}', "--set", 'max_limits={"cpu": "2"}', "--set", "credentials=impersonate",
)  # fmt: skip
RESOURCES = {
    "kubernetes_limit_range_v1": 1, "kubernetes_namespace_v1": 1, "kubernetes_network_policy_v1": 1,
    "kubernetes_resource_quota_v1": 1, "kubernetes_role_binding_v1": 1, "kubernetes_role_v1": 1,
    "kubernetes_service_account_v1": 2,
}  # fmt: skip
DYING = {
    "refused": "the call is refused",
    "refused after": "it is done, and answered with an error",
    "killed": "power cut between the object and the state",
}
# The call at which a worker is cut off, for the flow that it runs, and how that should end.
STEPS = {
    "launch": ("create jobs", "greet", "completed"),
    "poll": ("list jobs", "greet", "completed"),
    "output": ("get pods/log", "greet", "completed"),
    "clearing away": ("delete jobs", "greet", "completed"),
    "cancel": ("patch jobs", "sleeps", "cancelled"),
}
DOWN = {"deprovision: the jobs": "deletecollection jobs", "deprovision: their secrets": "deletecollection secrets"}
WAYS = {
    "killed before": "call",
    "killed after": "call-after",
    "connection lost before": "drop",
    "connection lost after": "drop-after",
}
ENDED = ("completed", "failed", "crashed", "cancelled")
MOST_ROUNDS = 12

# Provisioning


@dataclass
class Trial:
    """How a pool got there in spite of one kind of trouble."""

    struck: dict = field(default_factory=dict)
    shape: dict = field(default_factory=dict)
    drift: int = -1
    left: dict = field(default_factory=dict)
    told: str = ""


def trouble(way, type_):
    if way == "killed":
        return slow("create", type_, seconds=120, when="after", interruptible=True, times=RESOURCES[type_])
    return fail("create", type_, when="after" if "after" in way else "before", times=RESOURCES[type_])


def attempt(me, cloud, way):
    trial, command = Trial(), CREATE
    cloud.inject(*(trouble(way, type_) for type_ in RESOURCES))
    for _ in range(MOST_ROUNDS):
        process = me.start(*command)
        if way == "killed":
            die_when_struck(process, cloud)
        out, err = process.communicate(timeout=120)
        trial.told += f"\n--- {way}: {process.returncode}\n{out[-1500:]}\n{err[-2500:]}"
        if process.returncode == 0:
            break
        if "p" in me("work-pool", "ls").stdout.split():
            command = ("work-pool", "provision-infra", "p", "--yes")
    struck = [call.type for call in cloud.calls("create") if call.fault]
    trial.struck = {type_: struck.count(type_) for type_ in RESOURCES}
    trial.shape = cloud.counts()
    trial.drift = me("work-pool", "drift", "p", expect=None).returncode
    trial.told += me("work-pool", "deprovision", "p", "--yes", expect=None).stderr[-1500:]
    trial.left = cloud.counts()
    return trial


def die_when_struck(process, cloud):
    """Let everything that can be made at once be made, then cut the power."""
    before, quiet = len(struck(cloud)), 0.0
    while process.poll() is None:
        time.sleep(0.1)
        now = len(struck(cloud))
        quiet = quiet + 0.1 if now > before else 0.0
        if quiet > 0.8:
            kill_tree(process.pid)


def struck(cloud):
    return [call for call in cloud.calls("create") if call.fault]


@pytest.fixture(scope="module", params=DYING)
def trial(request, cluster, tmp_path_factory):
    with Person.in_(cluster, tmp_path_factory, "dying") as (me, cloud):
        return request.param, attempt(me, cloud, request.param)


@pytest.fixture(scope="module")
def seen():
    """What became of each resource, in each way."""
    return {}


def test_every_resource_dies_and_is_there_once_in_the_end(trial, seen):
    way, found = trial
    assert found.struck == RESOURCES, found.told
    assert found.shape == RESOURCES, found.told
    assert found.drift == 0, found.told
    assert found.left == {}, found.told
    seen.update({(type_, way): "mended" for type_ in RESOURCES})


def test_the_documentation_shows_what_became_of_resources(seen):
    rows = [(f"`{type_}`", *(seen.get((type_, way), "not seen") for way in DYING)) for type_ in RESOURCES]
    PAGE.compare("crashes", table(("resource", *DYING.values()), *rows))


# Running


@dataclass
class World:
    """A provisioned pool, deployments in it, and whoever works there."""

    cluster: object
    me: Person
    cloud: object
    workers: list = field(default_factory=list)
    seen: dict = field(default_factory=dict)

    def strike(self, action, way, process):
        hook = (lambda _: kill_tree(process().pid)) if way.startswith("killed") else None
        return self.cluster.faults.add(Fault(action, WAYS[way], hook=hook))

    def work(self):
        self.workers.append(self.me.start("worker", "start", "--pool", "p", "--lease", "2"))

    def rest(self):
        worker = self.workers[-1]
        if worker.poll() is None:
            worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=60)

    def run(self, run_id):
        return self.me.json("flow-run", "inspect", run_id)

    def wait(self, happened, seconds=60):
        deadline = time.monotonic() + seconds
        while not (found := happened()):
            assert time.monotonic() < deadline, "it did not happen"
            if self.workers[-1].poll() is not None:
                self.workers[-1].communicate()
                self.work()  # as whatever looks after workers would
            time.sleep(0.2)
        return found


@pytest.fixture(scope="module")
def world(cluster, tmp_path_factory):
    cluster.node.images[IMAGE], cluster.node.stop_timeout = FLOWS, 0.5
    with Person.in_(cluster, tmp_path_factory, "running") as (me, cloud):
        me(*CREATE)
        for name in ("greet", "sleeps"):
            me("deploy", f"flows.py:{name}", "--name", "n", "--pool", "p", "--job-variable", f"image={IMAGE}")
        yield World(cluster, me, cloud)
        cluster.faults.clear()
    cluster.node.stop_timeout = 30.0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_is_cut_off_is_finished_and_launched_once(world, step, way):
    action, flow, end = STEPS[step]
    fault = world.strike(action, way, lambda: world.workers[-1])
    world.me("deployment", "run", f"{flow}/n")
    run_id = world.me.last_run()["id"]
    world.work()
    if flow == "sleeps":
        world.wait(lambda: world.run(run_id)["state"] == "running")
        world.me("flow-run", "cancel", run_id)
    found = world.wait(lambda: (run := world.run(run_id))["state"] in ENDED and run)
    world.wait(lambda: world.cluster.inventory() == [])
    world.rest()
    assert fault.hits == 1, "it was not cut off"
    assert found["state"] == end, found
    assert world.cluster.controller.started.count(job_name(f"{run_id}.1")) == 1, "launched more or less than once"
    if flow == "greet":
        assert world.me("flow-run", "logs", run_id).stdout.count("hello world") == 1
    world.seen[step, way] = f"{end}, launched once"


@pytest.mark.parametrize("way", WAYS)
def test_deprovisioning_that_is_cut_off_goes_on_and_leaves_nothing(world, way):
    """With a job running that no worker looks after; at each call in turn."""
    world.me("work-pool", "provision-infra", "p", "--yes")
    world.me("deployment", "run", "sleeps/n")
    world.work()
    world.wait(world.cluster.alive)
    world.workers[-1].kill()
    world.workers[-1].communicate()
    for step, action in DOWN.items():
        process = world.me.start("work-pool", "deprovision", "p", "--yes")
        fault = world.strike(action, way, lambda process=process: process)
        said = process.communicate(timeout=120)
        world.cluster.faults.clear()
        assert fault.hits == 1, f"it was not cut off at {action}: {said}"
        assert process.returncode != 0, said
        world.seen[step, way] = "went on, nothing left"
    world.me("work-pool", "deprovision", "p", "--yes")
    assert world.cloud.counts() == {}
    assert world.cluster.inventory() == []
    assert world.cluster.alive() == []


def test_the_documentation_shows_what_became_of_runs(world):
    rows = [(step, *(world.seen.get((step, way), "not seen") for way in WAYS)) for step in (*STEPS, *DOWN)]
    PAGE.compare("cuts", table(("cut off at", *WAYS), *rows))
