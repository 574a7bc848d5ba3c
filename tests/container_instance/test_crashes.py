"""Every resource, and every step of a run and of a pool's end, is cut off; the next try ends as an undisturbed one."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field

import pytest
from clouds.azure.wire import REFUSED
from clouds.faults import Fault
from dying import DYING, die_when_struck, trouble
from matrix import Matrix
from worlds import ENDS, WAYS, WENT_ON, World

from poolform.provisioners.container_instance.group import group_name

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
DEATHS = Matrix((*RESOURCES, SECRET), DYING)
# The calls at which workers are cut off, all of a flow's in one run.
STEPS = {
    "greet": {
        "launch": "PUT groups", "find, poll": "GET groups", "output": "GET logs", "clearing away": "DELETE groups",
    },
    "sleeps": {"cancel": "POST stop"},
}  # fmt: skip
DOWN = {"deprovision: container groups": "DELETE groups", "deprovision: the secret": "POST removePassword"}
RUNNING = [step for steps in STEPS.values() for step in steps]
CUTS = Matrix((*RUNNING, *DOWN), WAYS)
MOST_ROUNDS = 14

# Provisioning


@dataclass
class Trial:
    """How a pool got there in spite of one kind of trouble."""

    struck: Counter = field(default_factory=Counter)
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


def strike_secret(azure, way, process):
    kinds = {
        "refused": {"kind": "error", "error": REFUSED},
        "refused after": {"kind": "error-after", "error": REFUSED},
        "killed": {"kind": "call-after", "hook": lambda _: kill_tree(process().pid)},
    }
    return azure.faults.add(Fault("POST addPassword", **kinds[way]))


def attempt(azure, stand_ins, me, way, aimed):
    trial, command, started = Trial(), CREATE, []
    beginning = len(azure.cloud.calls("create"))
    azure.cloud.inject(*(trouble(way, type_, RESOURCES[type_]) for type_ in aimed if type_ != SECRET))
    secret = strike_secret(azure, way, lambda: started[-1]) if SECRET in aimed else None
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
    trial.struck = Counter(call.type for call in azure.cloud.calls("create")[beginning:] if call.fault)
    trial.struck[SECRET] = secret.hits if secret else 0
    pool_id = me.json("work-pool", "inspect", "p")["id"]
    trial.shape = shape(azure, pool_id)
    applications = azure.directory.applications().items()
    trial.secrets = sum(len(azure.directory.passwords(id_)) for id_, item in applications if pool_id in str(item))
    trial.drift = me("work-pool", "drift", "p", expect=None).returncode
    trial.told += me("work-pool", "deprovision", "p", "--yes", expect=None).stderr[-1500:]
    trial.left = shape(azure, pool_id)
    return trial


@pytest.fixture(scope="module", params=DYING)
def trial(request, azure, stand_ins, providers, tmp_path_factory, everything):
    me = Person.at(tmp_path_factory.mktemp("dying"), {**azure.environment, **providers})
    aimed = DEATHS.struck(request.param, everything=everything)
    return request.param, aimed, attempt(azure, stand_ins, me, request.param, aimed)


@pytest.fixture(scope="module")
def seen():
    """What became of each resource, in each way."""
    return {}


def test_every_resource_dies_and_is_there_once_in_the_end(trial, seen):
    way, aimed, found = trial
    assert found.struck == Counter({name: {**RESOURCES, SECRET: 1}[name] for name in aimed}), found.told
    assert found.shape == RESOURCES, found.told
    assert found.secrets == 1, found.told
    assert found.drift == 0, found.told
    assert found.left == {}, found.told
    seen.update({(name, way): "mended" for name in aimed})


def test_the_documentation_shows_what_became_of_resources(seen, everything):
    told = DEATHS.told(seen, everything=everything)
    rows = [(name if " " in name else f"`{name}`", *cells) for name, *cells in told]
    PAGE.compare_tried("crashes", ("resource", *DYING.values()), rows)


# Running


@dataclass
class Room(World):
    """A pool whose container groups are told apart by its id."""

    pool_id: str = ""

    def left(self):
        return [name for name in self.cloud.groups.names() if self.pool_id in name]


@pytest.fixture(scope="module")
def world(azure, providers, tmp_path_factory):
    me = Person.at(tmp_path_factory.mktemp("running"), {**azure.environment, **providers})
    azure.groups.images[IMAGE], azure.groups.stop_timeout, azure.groups.making = FLOWS, 0.5, 0.1
    me(*CREATE)
    world = Room(azure, me, pool_id=me.json("work-pool", "inspect", "p")["id"])
    me.deploy(*ENDS, options=("--job-variable", f"image={IMAGE}"))
    yield world
    azure.faults.clear()
    azure.groups.stop_timeout = 30.0


@pytest.mark.parametrize("turn", CUTS.rounds(RUNNING))
@pytest.mark.parametrize("flow", STEPS)
def test_a_run_that_is_cut_off_at_each_step_is_finished_and_launched_once(world, flow, turn):
    faults = {step: world.strike(action, turn[step]) for step, action in STEPS[flow].items()}
    run_id = world.finish(flow, faults, cleared=lambda: world.left() == [])
    made = [group for group in world.cloud.groups.all if group.name == group_name(world.pool_id, f"{run_id}.1")]
    assert [group.starts for group in made] == [1], "launched more or less than once"
    world.seen.update({(step, turn[step]): f"{ENDS[flow]}, launched once" for step in faults})


@pytest.mark.parametrize("turn", CUTS.rounds(DOWN))
def test_deprovisioning_that_is_cut_off_goes_on_and_leaves_nothing(world, turn):
    """With a job running that no worker looks after; at each call in turn."""
    world.busy()
    world.deprovision(turn, DOWN)
    world.me("work-pool", "deprovision", "p", "--yes")
    assert shape(world.cloud, world.pool_id) == {}
    assert world.left() == []
    world.seen |= dict.fromkeys(turn.items(), WENT_ON)


def test_the_documentation_shows_what_became_of_runs(world, everything):
    PAGE.compare_tried("cuts", ("cut off at", *WAYS), CUTS.told(world.seen, everything=everything))
