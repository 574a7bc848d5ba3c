"""A worker is cut off at each call that matters; the next one finishes its run, launched once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from clouds.engine import in_front
from generated import Page
from matrix import Matrix
from people import Person
from worlds import ENDS, WAYS, World

pytestmark = [pytest.mark.docker, pytest.mark.slow]
FLOWS = Path(__file__).parent / "flows"
PAGE = Page("pool-types/docker.md")
# The call at which a worker is cut off, and the flow that it runs.
STEPS = {
    "launch: making the container": ("POST containers/create", "greet"),
    "launch: starting it": ("POST containers/*/start", "greet"),
    "poll": ("GET containers/json", "greet"),
    "output": ("GET containers/*/logs", "greet"),
    "cancel": ("POST containers/*/stop", "sleeps"),
    "removing the container": ("DELETE containers/*", "greet"),
}
READS = ("poll", "output")  # before or after makes no difference to a question
MATRIX = Matrix(STEPS, WAYS, lambda step, way: step not in READS or way.endswith("before"))


@dataclass
class Room(World):
    """A pool on a real engine, behind a front that brings trouble; each run leaves a mark."""

    marks: Path = field(default_factory=Path)

    def left(self):
        import docker

        client = docker.from_env()
        pool_id = self.me.json("work-pool", "inspect", "p")["id"]
        found = client.containers.list(all=True, filters={"label": f"poolform-pool-id={pool_id}"})
        client.close()
        return [container.name for container in found]


@pytest.fixture(scope="module")
def world(engine, base_image, tmp_path_factory):
    root = tmp_path_factory.mktemp("docker-crashes")
    (root / "terraform.rc").write_text("")
    marks = root / "marks"
    marks.mkdir()
    with in_front() as front:
        me = Person.at(root, FLOWS, TF_CLI_CONFIG_FILE=str(root / "terraform.rc"))
        asked = ("--type", "docker", "--set", f"host={front.host}")
        me("work-pool", "create", "p", *asked, "--provision-infra", "--yes")
        world = Room(front, me, marks=marks)
        where = ("--job-variable", f"image={base_image}", "--job-variable", f'volumes=["{marks}:/marks"]')
        me.deploy(*ENDS, options=("--source", "inline", *where))
        yield world
        front.faults.clear()
        me("work-pool", "deprovision", "p", "--yes")


@pytest.mark.parametrize(("step", "way"), MATRIX.cells())
def test_a_run_that_is_cut_off_is_finished_and_launched_once(world, step, way):
    action, flow = STEPS[step]
    run_id = world.finish(flow, {step: world.strike(action, way)}, cleared=lambda: world.left() == [])
    assert (world.marks / run_id).read_text() == ".", "it was run more or less than once"
    world.seen[step, way] = f"{ENDS[flow]}, run once"


def test_the_documentation_shows_what_was_seen(world, everything):
    PAGE.compare_tried("cuts", ("cut off at", *WAYS), MATRIX.told(world.seen, everything=everything))
