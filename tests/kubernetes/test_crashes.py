"""Every resource, and every step of a run and of a pool's end, is cut off; the next try ends as an undisturbed one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from dying import DYING, die_when_struck, struck, trouble
from matrix import Matrix
from worlds import ENDS, WAYS, WENT_ON, World

from poolform.provisioners.kubernetes.manifest import job_name

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
DEATHS = Matrix(RESOURCES, DYING)
# The call at which a worker is cut off, and the flow that it runs.
STEPS = {
    "launch": ("create jobs", "greet"),
    "poll": ("list jobs", "greet"),
    "output": ("get pods/log", "greet"),
    "clearing away": ("delete jobs", "greet"),
    "cancel": ("patch jobs", "sleeps"),
}
DOWN = {"deprovision: the jobs": "deletecollection jobs", "deprovision: their secrets": "deletecollection secrets"}
CUTS = Matrix((*STEPS, *DOWN), WAYS)
MOST_ROUNDS = 12

# Provisioning


@dataclass
class Trial:
    """How a pool got there in spite of one kind of trouble."""

    struck: Counter = field(default_factory=Counter)
    shape: dict = field(default_factory=dict)
    drift: int = -1
    left: dict = field(default_factory=dict)
    told: str = ""


def attempt(me, cloud, way, aimed):
    trial, command = Trial(), CREATE
    cloud.inject(*(trouble(way, type_, RESOURCES[type_]) for type_ in aimed))
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
    trial.struck = Counter(call.type for call in struck(cloud))
    trial.shape = cloud.counts()
    trial.drift = me("work-pool", "drift", "p", expect=None).returncode
    trial.told += me("work-pool", "deprovision", "p", "--yes", expect=None).stderr[-1500:]
    trial.left = cloud.counts()
    return trial


@pytest.fixture(scope="module", params=DYING)
def trial(request, cluster, tmp_path_factory, everything):
    aimed = DEATHS.struck(request.param, everything=everything)
    with Person.in_(cluster, tmp_path_factory, "dying") as (me, cloud):
        return request.param, aimed, attempt(me, cloud, request.param, aimed)


@pytest.fixture(scope="module")
def seen():
    """What became of each resource, in each way."""
    return {}


def test_every_resource_dies_and_is_there_once_in_the_end(trial, seen):
    way, aimed, found = trial
    assert found.struck == {type_: RESOURCES[type_] for type_ in aimed}, found.told
    assert found.shape == RESOURCES, found.told
    assert found.drift == 0, found.told
    assert found.left == {}, found.told
    seen.update({(type_, way): "mended" for type_ in aimed})


def test_the_documentation_shows_what_became_of_resources(seen, everything):
    rows = [(f"`{type_}`", *cells) for type_, *cells in DEATHS.told(seen, everything=everything)]
    PAGE.compare_tried("crashes", ("resource", *DYING.values()), rows)


# Running


@dataclass
class Room(World):
    """A pool whose infrastructure Terraform's stand-in provider makes."""

    infrastructure: object = None


@pytest.fixture(scope="module")
def world(cluster, tmp_path_factory):
    cluster.node.images[IMAGE], cluster.node.stop_timeout = FLOWS, 0.5
    with Person.in_(cluster, tmp_path_factory, "running") as (me, cloud):
        me(*CREATE)
        world = Room(cluster, me, infrastructure=cloud)
        me.deploy(*ENDS, options=("--job-variable", f"image={IMAGE}"))
        yield world
        cluster.faults.clear()
    cluster.node.stop_timeout = 30.0


@pytest.mark.parametrize(("step", "way"), CUTS.cells(STEPS))
def test_a_run_that_is_cut_off_is_finished_and_launched_once(world, step, way):
    action, flow = STEPS[step]
    run_id = world.finish(flow, {step: world.strike(action, way)}, cleared=lambda: world.cloud.inventory() == [])
    assert world.cloud.controller.started.count(job_name(f"{run_id}.1")) == 1, "launched more or less than once"
    world.seen[step, way] = f"{ENDS[flow]}, launched once"


@pytest.mark.parametrize("turn", CUTS.rounds(DOWN))
def test_deprovisioning_that_is_cut_off_goes_on_and_leaves_nothing(world, turn):
    """With a job running that no worker looks after; at each call in turn."""
    world.busy()
    world.deprovision(turn, DOWN)
    world.me("work-pool", "deprovision", "p", "--yes")
    assert world.infrastructure.counts() == {}
    assert world.cloud.inventory() == []
    assert world.cloud.alive() == []
    world.seen |= dict.fromkeys(turn.items(), WENT_ON)


def test_the_documentation_shows_what_became_of_runs(world, everything):
    PAGE.compare_tried("cuts", ("cut off at", *WAYS), CUTS.told(world.seen, everything=everything))
