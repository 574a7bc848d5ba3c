"""Every resource, and every step of a run and of a pool's end, is cut off; the next try ends as an undisturbed one."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import dataclass, field

import pytest
from clouds.azure.wire import REFUSED
from clouds.faults import Fault
from generated import table

from poolform.provisioners.container_instance.group import group_name
from poolform.testing.standin import fail, slow

from .person import FLOWS, IMAGE, Person, kill_tree
from .test_docs import PAGE

pytestmark = pytest.mark.slow

CREATE = (
    "work-pool", "create", "p", "--type", "azure-container-instance:push", "--provision-infra", "--yes",
    "--set", "credentials=key",
)  # fmt: skip
RESOURCES = {
    "azurerm_resource_group": 1, "azurerm_container_registry": 1, "azurerm_user_assigned_identity": 1,
    "azurerm_role_assignment": 2, "azuread_application_registration": 1, "azuread_service_principal": 1,
    "azurerm_role_definition": 1,
}  # fmt: skip
SECRET = "the launcher's secret"
DYING = {
    "refused": "the call is refused",
    "refused after": "it is done, and answered with an error",
    "killed": "power cut between the object and the state",
}
# The calls at which workers are cut off, all of a flow's in one run, and how that should end.
STEPS = {
    "greet": {
        "launch": "PUT groups", "find, poll": "GET groups", "output": "GET logs", "clearing away": "DELETE groups",
    },
    "sleeps": {"cancel": "POST stop"},
}  # fmt: skip
ENDS = {"greet": "completed", "sleeps": "cancelled"}
DOWN = {"deprovision: container groups": "DELETE groups", "deprovision: the secret": "POST removePassword"}
WAYS = {
    "killed before": "call",
    "killed after": "call-after",
    "connection lost before": "drop",
    "connection lost after": "drop-after",
}
ENDED = ("completed", "failed", "crashed", "cancelled")
MOST_ROUNDS = 14

# Provisioning


@dataclass
class Trial:
    """How a pool got there in spite of one kind of trouble."""

    struck: dict = field(default_factory=dict)
    shape: dict = field(default_factory=dict)
    secrets: int = 0
    drift: int = -1
    left: dict = field(default_factory=dict)
    told: str = ""


def shape(azure, pool_id):
    """How many objects of each type bear the pool's id."""
    objects = azure.cloud.objects()
    found = {type_: sum(pool_id in json.dumps(item) for item in objects.get(type_, {}).values()) for type_ in RESOURCES}
    return {type_: number for type_, number in found.items() if number}


def trouble(way, type_):
    if way == "killed":
        return slow("create", type_, seconds=120, when="after", interruptible=True, times=RESOURCES[type_])
    return fail("create", type_, when="after" if "after" in way else "before", times=RESOURCES[type_])


def strike_secret(azure, way, process):
    kinds = {
        "refused": {"kind": "error", "error": REFUSED},
        "refused after": {"kind": "error-after", "error": REFUSED},
        "killed": {"kind": "call-after", "hook": lambda _: kill_tree(process().pid)},
    }
    return azure.faults.add(Fault("POST addPassword", **kinds[way]))


def attempt(azure, stand_ins, me, way):
    trial, command, started = Trial(), CREATE, []
    beginning = len(azure.cloud.calls("create"))
    azure.cloud.inject(*(trouble(way, type_) for type_ in RESOURCES))
    secret = strike_secret(azure, way, lambda: started[-1])
    for _ in range(MOST_ROUNDS):
        started.append(me.start(*command))
        if way == "killed":
            die_when_struck(started[-1], azure.cloud)
            for one in stand_ins:
                one.provider.stop.set()  # as when its own process dies, too: its calls end, and nobody hears of them
        out, err = started[-1].communicate(timeout=120)
        trial.told += f"\n--- {way}: {started[-1].returncode}\n{out[-1500:]}\n{err[-2500:]}"
        if started[-1].returncode == 0:
            break
        if "p" in me("work-pool", "ls").stdout.split():
            command = ("work-pool", "provision-infra", "p", "--yes")
    azure.faults.clear()
    azure.cloud.heal()
    struck = [call.type for call in azure.cloud.calls("create")[beginning:] if call.fault]
    trial.struck = {**{type_: struck.count(type_) for type_ in RESOURCES}, SECRET: secret.hits}
    pool_id = me.json("work-pool", "inspect", "p")["id"]
    trial.shape = shape(azure, pool_id)
    applications = azure.directory.applications().items()
    trial.secrets = sum(len(azure.directory.passwords(id_)) for id_, item in applications if pool_id in str(item))
    trial.drift = me("work-pool", "drift", "p", expect=None).returncode
    trial.told += me("work-pool", "deprovision", "p", "--yes", expect=None).stderr[-1500:]
    trial.left = shape(azure, pool_id)
    return trial


def die_when_struck(process, cloud):
    """Let everything that can be made at once be made, then cut the power."""
    before, quiet = len(hits(cloud)), 0.0
    while process.poll() is None:
        time.sleep(0.1)
        quiet = quiet + 0.1 if len(hits(cloud)) > before else 0.0
        if quiet > 0.8:
            kill_tree(process.pid)


def hits(cloud):
    return [call for call in cloud.calls("create") if call.fault]


@pytest.fixture(scope="module", params=DYING)
def trial(request, azure, stand_ins, providers, tmp_path_factory):
    me = Person.at(tmp_path_factory.mktemp("dying"), {**azure.environment, **providers})
    return request.param, attempt(azure, stand_ins, me, request.param)


@pytest.fixture(scope="module")
def seen():
    """What became of each resource, in each way."""
    return {}


def test_every_resource_dies_and_is_there_once_in_the_end(trial, seen):
    way, found = trial
    assert found.struck == {**RESOURCES, SECRET: 1}, found.told
    assert found.shape == RESOURCES, found.told
    assert found.secrets == 1, found.told
    assert found.drift == 0, found.told
    assert found.left == {}, found.told
    seen.update({(type_, way): "mended" for type_ in (*RESOURCES, SECRET)})


def test_the_documentation_shows_what_became_of_resources(seen):
    rows = [
        (name if " " in name else f"`{name}`", *(seen.get((name, way), "not seen") for way in DYING))
        for name in (*RESOURCES, SECRET)
    ]
    PAGE.compare("crashes", table(("resource", *DYING.values()), *rows))


# Running


@dataclass
class World:
    """A provisioned pool, deployments in it, and whoever works there."""

    azure: object
    me: Person
    pool_id: str
    workers: list = field(default_factory=list)
    seen: dict = field(default_factory=dict)

    def strike(self, action, way, process):
        hook = (lambda _: kill_tree(process().pid)) if way.startswith("killed") else None
        return self.azure.faults.add(Fault(action, WAYS[way], hook=hook))

    def work(self):
        self.workers.append(self.me.start("worker", "start", "--pool", "p", "--lease", "2"))

    def rest(self):
        worker = self.workers[-1]
        if worker.poll() is None:
            worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=60)

    def run(self, run_id):
        return self.me.json("flow-run", "inspect", run_id)

    def alive(self):
        mine = f"poolform-{self.pool_id}-"
        groups = self.azure.groups
        return [name for name in groups.names() if name.startswith(mine) and not groups.named(name).ended]

    def left(self):
        return [name for name in self.azure.groups.names() if self.pool_id in name]

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
def world(azure, providers, tmp_path_factory):
    me = Person.at(tmp_path_factory.mktemp("running"), {**azure.environment, **providers})
    azure.groups.images[IMAGE], azure.groups.stop_timeout, azure.groups.making = FLOWS, 0.5, 0.1
    me(*CREATE)
    for name in ("greet", "sleeps"):
        me("deploy", f"flows.py:{name}", "--name", "n", "--pool", "p", "--job-variable", f"image={IMAGE}")
    yield World(azure, me, me.json("work-pool", "inspect", "p")["id"])
    azure.faults.clear()
    azure.groups.stop_timeout = 30.0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("flow", STEPS)
def test_a_run_that_is_cut_off_at_each_step_is_finished_and_launched_once(world, flow, way):
    struck = {step: world.strike(action, way, lambda: world.workers[-1]) for step, action in STEPS[flow].items()}
    world.me("deployment", "run", f"{flow}/n")
    run_id = world.me.last_run()["id"]
    world.work()
    if flow == "sleeps":
        world.wait(lambda: world.run(run_id)["state"] == "running")
        world.me("flow-run", "cancel", run_id)
    found = world.wait(lambda: (run := world.run(run_id))["state"] in ENDED and run)
    world.wait(lambda: world.left() == [])
    world.rest()
    assert [step for step, fault in struck.items() if fault.hits != 1] == [], "not cut off there"
    assert found["state"] == ENDS[flow], found
    made = [group for group in world.azure.groups.all if group.name == group_name(world.pool_id, f"{run_id}.1")]
    assert [group.starts for group in made] == [1], "launched more or less than once"
    if flow == "greet":
        assert world.me("flow-run", "logs", run_id).stdout.count("hello world") == 1
    world.seen.update({(step, way): f"{ENDS[flow]}, launched once" for step in struck})


@pytest.mark.parametrize("way", WAYS)
def test_deprovisioning_that_is_cut_off_goes_on_and_leaves_nothing(world, way):
    """With a job running that no worker looks after; at each call in turn."""
    world.me("work-pool", "provision-infra", "p", "--yes")
    world.me("deployment", "run", "sleeps/n")
    world.work()
    world.wait(world.alive)
    world.workers[-1].kill()
    world.workers[-1].communicate()
    for step, action in DOWN.items():
        process = world.me.start("work-pool", "deprovision", "p", "--yes")
        fault = world.strike(action, way, lambda process=process: process)
        said = process.communicate(timeout=120)
        world.azure.faults.clear()
        assert fault.hits == 1, f"it was not cut off at {action}: {said}"
        assert process.returncode != 0, said
        world.seen[step, way] = "went on, nothing left"
    world.me("work-pool", "deprovision", "p", "--yes")
    assert shape(world.azure, world.pool_id) == {}
    assert world.left() == []


def test_the_documentation_shows_what_became_of_runs(world):
    steps = [*(step for steps in STEPS.values() for step in steps), *DOWN]
    rows = [(step, *(world.seen.get((step, way), "not seen") for way in WAYS)) for step in steps]
    PAGE.compare("cuts", table(("cut off at", *WAYS), *rows))
