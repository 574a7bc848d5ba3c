"""A worker is cut off at each call that matters; the next one finishes its run, launched once."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from clouds.engine import Front, in_front
from clouds.faults import Fault
from generated import Page, table
from people import Person, kill_tree

pytestmark = [pytest.mark.docker, pytest.mark.slow]
FLOWS = Path(__file__).parent / "flows"
PAGE = Page("pool-types/docker.md")
# The call at which a worker is cut off, for the flow that it runs, and how that should end.
STEPS = {
    "launch: making the container": ("POST containers/create", "greet", "completed"),
    "launch: starting it": ("POST containers/*/start", "greet", "completed"),
    "poll": ("GET containers/json", "greet", "completed"),
    "output": ("GET containers/*/logs", "greet", "completed"),
    "cancel": ("POST containers/*/stop", "sleeps", "cancelled"),
    "removing the container": ("DELETE containers/*", "greet", "completed"),
}
READS = ("poll", "output")  # before or after makes no difference to a question
WAYS = {
    "killed before": "call",
    "killed after": "call-after",
    "connection lost before": "drop",
    "connection lost after": "drop-after",
}
CUTS = [(step, way) for step in STEPS for way in WAYS if step not in READS or way.endswith("before")]
ENDED = ("completed", "failed", "crashed", "cancelled")


@dataclass
class World:
    """A provisioned pool, deployments in it, and whoever works there."""

    front: Front
    me: Person
    marks: Path
    workers: list = field(default_factory=list)
    seen: dict = field(default_factory=dict)

    def work(self):
        self.workers.append(self.me.start("worker", "start", "--pool", "p", "--lease", "2"))

    def rest(self):
        worker = self.workers[-1]
        if worker.poll() is None:
            worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=60)

    def wait(self, happened, seconds=90):
        deadline = time.monotonic() + seconds
        while not (found := happened()):
            assert time.monotonic() < deadline, "it did not happen"
            if self.workers[-1].poll() is not None:
                self.workers[-1].communicate()
                self.work()  # as whatever looks after workers would
            time.sleep(0.2)
        return found

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
        for name in ("greet", "sleeps"):
            where = ("--job-variable", f"image={base_image}", "--job-variable", f'volumes=["{marks}:/marks"]')
            me("deploy", f"flows.py:{name}", "--name", "n", "--pool", "p", "--source", "inline", *where)
        yield World(front, me, marks)
        front.faults.clear()
        me("work-pool", "deprovision", "p", "--yes")


@pytest.mark.parametrize(("step", "way"), CUTS)
def test_a_run_that_is_cut_off_is_finished_and_launched_once(world, step, way):
    action, flow, end = STEPS[step]
    world.me("deployment", "run", f"{flow}/n")
    run_id = world.me.last_run()["id"]
    hook = (lambda _: kill_tree(world.workers[-1].pid)) if way.startswith("killed") else None
    fault = world.front.faults.add(Fault(action, WAYS[way], hook=hook))
    world.work()
    state = lambda: world.me.json("flow-run", "inspect", run_id)["state"]
    if flow == "sleeps":
        world.wait(lambda: state() == "running")
        world.me("flow-run", "cancel", run_id)
    found = world.wait(lambda: (now := state()) in ENDED and now)
    world.wait(lambda: world.left() == [])
    world.rest()
    assert fault.hits == 1, "it was not cut off"
    assert found == end
    assert (world.marks / run_id).read_text() == ".", "it was run more or less than once"
    if flow == "greet":
        assert world.me("flow-run", "logs", run_id).stdout.count("hello world") == 1
    world.seen[step, way] = f"{end}, run once"


def test_the_documentation_shows_what_was_seen(world):
    rows = [(step, *(_seen(world, step, way) for way in WAYS)) for step in STEPS]
    PAGE.compare("cuts", table(("cut off at", *WAYS), *rows))


def _seen(world, step, way):
    return world.seen.get((step, way), "not seen" if (step, way) in CUTS else "no other than before")
