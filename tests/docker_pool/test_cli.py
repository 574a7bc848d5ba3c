"""A Docker pool from the first command to the last, as a person has it, on a real engine."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from people import Person

pytestmark = [pytest.mark.docker, pytest.mark.slow]
FLOWS = Path(__file__).parent / "flows"


@dataclass
class Story:
    """What was said and seen at each point."""

    me: Person
    said: dict = field(default_factory=dict)
    pool: dict = field(default_factory=dict)
    runs: dict = field(default_factory=dict)
    left: list = field(default_factory=list)


def containers(pool_id):
    import docker

    client = docker.from_env()
    found = client.containers.list(all=True, filters={"label": f"poolform-pool-id={pool_id}"})
    client.close()
    return found


@pytest.fixture(scope="module")
def story(engine, base_image, tmp_path_factory):
    root = tmp_path_factory.mktemp("docker-story")
    (root / "terraform.rc").write_text("")
    me = Person.at(root, FLOWS, TF_CLI_CONFIG_FILE=str(root / "terraform.rc")).on_record()
    told = Story(me)
    told.said["declined"] = me("work-pool", "create", "p", "--type", "docker", "--provision-infra", expect=None)
    told.said["planned"] = me("work-pool", "create", "p", "--type", "docker", "--plan", expect=4)
    told.said["created"] = me("work-pool", "create", "p", "--type", "docker", "--provision-infra", "--yes")
    told.pool = me.json("work-pool", "inspect", "p")
    told.said["again"] = me("work-pool", "provision-infra", "p", "--yes")
    limits = ("--job-variable", "mem_limit=64m", "--job-variable", "memswap_limit=64m")
    options = ("--source", "inline", "--job-variable", f"image={base_image}", *limits)
    me.deploy("greet", "fails", "eats", "sleeps", "sees", options=options)
    told.runs["greet"] = me.watch("greet", "--param", "name=docker")
    for name, code in (("fails", 5), ("eats", 5), ("sees", 0)):
        told.runs[name] = me.watch(name, expect=code)
    pool_id = told.pool["id"]
    told.runs["sleeps"] = me.cancel(lambda: asleep(pool_id))
    told.said["clean"] = me("work-pool", "drift", "p")
    me.abandon(lambda: asleep(pool_id))
    told.said["deprovisioned"] = me("work-pool", "deprovision", "p", "--yes")
    told.left = containers(pool_id)
    return told


def asleep(pool_id):
    return any(b"asleep" in found.logs() for found in containers(pool_id) if found.status == "running")


def test_the_plan_says_which_engine_and_asks(story):
    said = story.said["planned"].stderr + story.said["planned"].stdout
    assert "a user of the Docker engine" in said
    assert "Create a Docker pool on unix:///var/run/docker.sock" in said
    assert story.said["declined"].returncode != 0, "without a terminal, only --yes applies"


def test_a_pool_is_ready_and_a_second_time_there_is_nothing_to_do(story):
    assert "successfully provisioned" in story.said["created"].stderr
    assert story.pool["state"] == "ready"
    assert "Nothing to change" in story.said["again"].stderr


def test_a_flow_reads_its_parameters_and_its_output_is_kept(story):
    assert story.runs["greet"]["state"] == "completed"
    assert story.runs["greet"]["logs"].count("hello docker") == 1


def test_a_flow_that_raises_has_failed(story):
    assert story.runs["fails"]["state"] == "failed"
    assert "the data is not there" in story.runs["fails"]["logs"]


def test_a_flow_out_of_memory_has_crashed_and_says_so(story):
    assert story.runs["eats"]["state"] == "crashed"
    assert "ran out of memory: it had 64 MiB" in story.runs["eats"]["said"]


def test_a_flow_sees_nothing_of_the_dispatcher_s_own(story):
    assert "[]" in story.runs["sees"]["logs"]


def test_a_cancellation_reaches_the_container(story):
    assert story.runs["sleeps"]["state"] == "cancelled"


def test_there_is_no_drift(story):
    assert "No drift" in story.said["clean"].stdout + story.said["clean"].stderr


def test_deprovisioning_leaves_no_container(story):
    assert story.left == []


def test_no_provider_was_asked_for(story):
    """Terraform's builtin is enough, so the pool needs no network."""
    assert "init" not in (story.me.root / "record" / "argv").read_text()


def test_json_is_json_and_nothing_else(story):
    for noun in (("work-pool", "ls"), ("flow-run", "ls"), ("deployment", "ls")):
        done = story.me(*noun, "-o", "json")
        assert isinstance(json.loads(done.stdout), list)
        assert done.stderr == ""
