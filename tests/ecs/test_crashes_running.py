"""Every step of a run's way, and of a pool's end, is cut off; the next worker, or the next try, finishes it once."""

from __future__ import annotations

import pytest
from matrix import Matrix
from worlds import ENDS, KILLED, WAYS, WENT_ON, World

from poolform.provisioners.ecs.definition import started_by

from .person import FLOWS, IMAGE, Person
from .test_docs import PAGE

pytestmark = [pytest.mark.aws_provider, pytest.mark.slow]

# The call at which a worker is cut off, and the flow that it runs.
STEPS = {
    "launch: the task definition": ("ecs:RegisterTaskDefinition", "greet"),
    "launch: the task": ("ecs:RunTask", "greet"),
    "poll": ("ecs:DescribeTasks", "greet"),
    "output": ("logs:GetLogEvents", "greet"),
    "cancel": ("ecs:StopTask", "sleeps"),
}
DOWN = {
    "deprovision: the tasks": "ecs:StopTask",
    "deprovision: deregistering definitions": "ecs:DeregisterTaskDefinition",
    "deprovision: deleting definitions": "ecs:DeleteTaskDefinitions",
    "deprovision: the key": "iam:DeleteAccessKey",
}
MATRIX = Matrix((*STEPS, *DOWN), WAYS)


@pytest.fixture(scope="module")
def world(aws, cli_config, tmp_path_factory):
    me = Person.at(tmp_path_factory.mktemp("running"), aws.environment, cli_config)
    aws.tasks.images[IMAGE] = FLOWS
    aws.tasks.stop_timeout = 1.0
    me("work-pool", "create", "p", "--type", "ecs:push", "--provision-infra", "--yes", "--set", "credentials=key")
    world = World(aws, me)
    me.deploy(*ENDS, options=("--job-variable", f"image={IMAGE}"))
    yield world
    aws.faults.clear()


@pytest.mark.parametrize(("step", "way"), MATRIX.cells(STEPS))
def test_a_run_that_is_cut_off_is_finished_and_launched_once(world, step, way):
    action, flow = STEPS[step]
    if action == "ecs:RegisterTaskDefinition":
        forget_definitions(world.cloud)
    run_id = world.finish(flow, {step: world.strike(action, way)})
    launched = world.cloud.tasks.started_by(started_by(f"{run_id}.1"))
    assert len(launched) == 1, "it was launched more or less than once"
    assert world.cloud.tasks.alive() == []
    world.seen[step, way] = f"{ENDS[flow]}, launched once"


def forget_definitions(aws):
    """Another worker would find them."""
    for arn, definition in aws.definitions.by_arn.items():
        if definition["status"] == "ACTIVE" and "poolform-p-" in arn:
            definition["status"] = "INACTIVE"


@pytest.mark.parametrize("turn", MATRIX.rounds(DOWN, KILLED))
def test_deprovisioning_that_is_killed_goes_on_or_back(world, turn):
    """At each call in turn; afterwards the pool is wanted after all, and is brought up again with one key."""
    world.busy()
    world.deprovision(turn, DOWN)
    world.me("work-pool", "provision-infra", "p", "--yes")
    assert world.me("work-pool", "drift", "p").returncode == 0
    assert len(keys_of(world)) == 1
    world.seen |= dict.fromkeys(turn.items(), WENT_ON)


def test_deprovisioning_gets_over_lost_connections_and_leaves_nothing(world):
    world.busy()
    pool_id = world.me.json("work-pool", "inspect", "p")["id"]
    world.deprovision_in_spite(DOWN)
    left = {kind: [name for name in names if pool_id in name] for kind, names in world.cloud.inventory().items()}
    assert {kind: names for kind, names in left.items() if names} == {}
    assert world.cloud.tasks.alive() == []


def keys_of(world):
    iam = world.cloud.client("iam")
    user = f"poolform-p-launcher-{world.me.json('work-pool', 'inspect', 'p')['id']}"
    return iam.list_access_keys(UserName=user)["AccessKeyMetadata"]


def test_the_documentation_shows_what_was_seen(world, everything):
    PAGE.compare_tried("cuts", ("cut off at", *WAYS), MATRIX.told(world.seen, everything=everything))
