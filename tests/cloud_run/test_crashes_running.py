"""Every step of a run's way, and of a pool's end, is cut off; the next worker, or the next try, finishes it once."""

from __future__ import annotations

import pytest
from matrix import Matrix
from worlds import ENDS, KILLED, WAYS, WENT_ON, World

from .conftest import laboratory
from .person import FLOWS, IMAGE, Person
from .test_docs import PAGE

pytestmark = pytest.mark.slow

# The call at which a worker is cut off, and the flow that it runs.
STEPS = {
    "launch: the job": ("run.jobs.create", "greet"),
    "poll": ("run.jobs.get", "greet"),
    "output": ("logging.entries.list", "greet"),
    "cancel": ("run.executions.cancel", "sleeps"),
    "remove: the job": ("run.jobs.delete", "greet"),
}
DOWN = {
    "deprovision: stopping jobs": "run.executions.cancel",
    "deprovision: deleting jobs": "run.jobs.delete",
    "deprovision: the key": "iam.serviceAccountKeys.delete",
}
MATRIX = Matrix((*STEPS, *DOWN), WAYS)
CREATE = (
    "work-pool", "create", "p", "--type", "cloud-run:push", "--provision-infra", "--yes", "--set", "credentials=key",
)  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with laboratory(tmp_path_factory.mktemp("google")) as lab:
        lab.google.jobs.images[IMAGE] = FLOWS
        me = Person.at(tmp_path_factory.mktemp("running"), lab.owner)
        me(*CREATE)
        world = World(lab.google, me)
        me.deploy(*ENDS, options=("--job-variable", f"image={IMAGE}"))
        yield world


@pytest.mark.parametrize(("step", "way"), MATRIX.cells(STEPS))
def test_a_run_that_is_cut_off_is_finished_and_launched_once(world, step, way):
    action, flow = STEPS[step]
    started = len(world.cloud.jobs.started)
    world.finish(flow, {step: world.strike(action, way)}, cleared=lambda: not world.cloud.jobs.jobs)
    assert len(world.cloud.jobs.started) == started + 1, "it was launched more or less than once"
    assert world.cloud.vault.secrets == {}
    world.seen[step, way] = f"{ENDS[flow]}, launched once"


@pytest.mark.parametrize("turn", MATRIX.rounds(DOWN, KILLED))
def test_deprovisioning_that_is_killed_goes_on_or_back(world, turn):
    """At each call in turn; afterwards the pool is wanted after all, and is brought up again with one key."""
    world.busy()
    world.deprovision(turn, DOWN)
    world.me("work-pool", "provision-infra", "p", "--yes")
    assert world.me("work-pool", "drift", "p").returncode == 0
    assert len(world.cloud.inventory()["keys"]) == 1
    world.seen |= dict.fromkeys(turn.items(), WENT_ON)


def test_deprovisioning_gets_over_lost_connections_and_leaves_nothing(world):
    world.busy()
    world.deprovision_in_spite(DOWN)
    assert world.cloud.inventory() == {}


def test_the_documentation_shows_what_was_seen(world, everything):
    PAGE.compare_tried("cuts", ("cut off at", *WAYS), MATRIX.told(world.seen, everything=everything))
