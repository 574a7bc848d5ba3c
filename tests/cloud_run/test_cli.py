"""A pool on Cloud Run from the first command to the last, as a person has it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pexpect
import pytest
from clouds.google import PROJECT

from .conftest import laboratory
from .person import FLOWS, IMAGE, Person

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

TYPE = ("--type", "cloud-run:push")
KEYED = ("--set", "credentials=key")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A project of its own: its inventory is compared."""
    with laboratory(tmp_path_factory.mktemp("google")) as made:
        made.google.jobs.images[IMAGE] = FLOWS
        made.google.jobs.memory_scale = 0.25
        yield made


@dataclass
class Story:
    """What was said and seen at each point."""

    person: Person
    root: Path
    secrets: list[str] = field(default_factory=list)
    declined: str = ""
    created: object = None
    again: object = None
    pool: dict = field(default_factory=dict)
    runs: dict = field(default_factory=dict)
    stopped: bool = False
    clean: object = None
    drifted: object = None
    mended: object = None
    keyless: object = None
    rekeyed: object = None
    rotated: object = None
    usable: object = None
    keys: list = field(default_factory=list)
    gone: object = None
    during: dict = field(default_factory=dict)
    after: dict = field(default_factory=dict)


@pytest.fixture(scope="module")
def story(lab, tmp_path_factory):
    root = tmp_path_factory.mktemp("story")
    google = lab.google
    me = Person.at(root, lab.owner).on_record()
    told = Story(me, root)
    told.declined = decline(me)
    told.created = me("work-pool", "create", "p", *TYPE, "--provision-infra", "--yes", *KEYED)
    told.during = google.inventory()
    told.secrets += private_keys(root, me)
    told.again = me("work-pool", "provision-infra", "p", "--yes")
    told.pool = me.json("work-pool", "inspect", "p")
    me.deploy("greet", "fails", "eats", "sleeps", options=("--job-variable", f"image={IMAGE}"))
    for name, code in (("greet", 0), ("fails", 5), ("eats", 5)):
        told.runs[name] = me.watch(name, expect=code)
    told.runs["sleeps"] = me.cancel(lambda: any("asleep" in str(entry) for _, entry in google.output.entries))
    told.stopped = google.jobs.alive() == []
    told.clean = me("work-pool", "drift", "p")
    repository = next(iter(told.during["google_artifact_registry_repository"]))
    lab.google.cloud.put("google_artifact_registry_repository", repository, {"description": "by hand"})
    told.drifted = me("work-pool", "drift", "p", expect=4)
    told.mended = me("work-pool", "provision-infra", "p", "--yes")
    for key in told.during["keys"]:
        del google.accounts.keys[key]
    told.keyless = me("work-pool", "drift", "p", expect=None)
    told.rekeyed = me("work-pool", "provision-infra", "p", "--yes")
    told.keys = google.inventory()["keys"]
    told.secrets += private_keys(root, me)
    told.rotated = me("block", "rotate", "gcp-credentials/p-credentials")
    told.keys += google.inventory()["keys"]
    told.secrets += private_keys(root, me)
    told.usable = me("work-pool", "drift", "p")
    told.gone = me("work-pool", "deprovision", "p", "--yes")
    told.after = google.inventory()
    return told


def decline(me):
    """On a terminal, to the question."""
    command = ["-m", "poolform.cli.app", "work-pool", "create", "p", *TYPE, "--provision-infra", *KEYED]
    child = pexpect.spawn(
        sys.executable, command, env=me.environment, cwd=str(me.folder), encoding="utf-8", dimensions=(60, 200)
    )
    child.expect(r"\[y/N\]", timeout=60)
    said = child.before + child.after
    child.sendline("n")
    child.expect(pexpect.EOF, timeout=60)
    child.close()
    assert child.exitstatus == 3, said
    return said


def private_keys(root, me):
    """What the pool's block holds, as its owner may see it."""
    (block,) = [item for item in me.json("block", "ls") if item["type"] == "gcp-credentials"]
    shown = me.json("block", "inspect", f"gcp-credentials/{block['name']}", "--reveal")
    me.said.pop()
    info = shown.get("data", shown)["service_account_info"]
    return [json.loads(info)["private_key"].split("\n")[3]]


def test_the_plan_reads_like_a_tutorial_and_asks(story):
    said = story.declined.replace("\r", "")
    steps = [
        "Activate the Cloud Run API", "Activate the Artifact Registry API",
        "Create an Artifact Registry repository named poolform-p-",
        "Create a service account poolform-launch-", "Grant the launcher roles/run.developer",
        "Grant the launcher roles/iam.serviceAccountUser", "Create a key for the pool's launcher",
        "Create the credentials block", "[y/N]",
    ]  # fmt: skip
    found = [said.find(step) for step in steps]
    assert -1 not in found, said
    assert found == sorted(found), said


def test_a_yes_provisions_and_says_so(story):
    said = story.created.stderr
    assert f"as owner@{PROJECT}.iam.gserviceaccount.com in account {PROJECT}, region us-central1" in said
    assert "Infrastructure successfully provisioned" in said


def test_a_second_time_there_is_nothing_to_do_and_no_second_key(story):
    assert "Nothing to change" in story.again.stderr
    assert len(story.during["keys"]) == 1


def test_the_pool_is_ready_with_everything_that_a_job_needs(story):
    assert story.pool["state"] == "ready"
    assert story.pool["image_namespace"] == f"us-central1-docker.pkg.dev/{PROJECT}/poolform-p-{story.pool['id']}"


def test_a_flow_completes_with_its_output(story):
    assert story.runs["greet"]["state"] == "completed"
    assert "hello world" in story.runs["greet"]["logs"]


def test_a_flow_that_raises_has_failed(story):
    assert story.runs["fails"]["state"] == "failed"
    assert "the data is not there" in story.runs["fails"]["logs"]


def test_a_flow_out_of_memory_has_crashed_and_says_so(story):
    assert story.runs["eats"]["state"] == "crashed"
    assert "ran out of memory: it had 512Mi" in story.runs["eats"]["said"]


def test_a_flow_that_is_cancelled_leaves_no_job(story):
    assert story.runs["sleeps"]["state"] == "cancelled"
    assert story.stopped


def test_drift_is_none_until_somebody_changes_something_by_hand(story):
    assert story.clean.returncode == 0
    said = story.drifted.stdout + story.drifted.stderr
    assert "Change the Artifact Registry repository" in said
    assert "description was changed outside Poolform" in said


def test_provisioning_again_puts_it_right(story):
    assert "Artifact Registry repository" in story.mended.stderr
    assert "successfully provisioned" in story.mended.stderr


def test_a_key_that_somebody_revoked_is_noticed_and_made_anew(story):
    assert story.keyless.returncode == 4
    assert "Invalid JWT Signature" in story.keyless.stdout + story.keyless.stderr
    assert "Create a key for the pool's launcher" in story.rekeyed.stderr


def test_a_key_is_rotated_and_the_new_one_works(story):
    assert "has a new key; the old one is revoked" in story.rotated.stderr
    assert len(set(story.keys)) == 2, "one of provisioning again, one of rotating"
    assert len(set(story.secrets)) == 3
    assert story.usable.returncode == 0


def test_nothing_of_ours_is_left_in_the_project(story, lab):
    assert story.after == {}
    assert "Leave active the Cloud Run API" in story.gone.stderr
    assert any(
        item["service"] == "run.googleapis.com"
        for item in lab.google.cloud.objects()["google_project_service"].values()
    )


def test_no_secret_is_written_anywhere_in_clear(story, lab):
    """Not in the database, a state, a plan, a log, a rendered file, on a command line, or on the screen."""
    story.person.assert_told_nobody(*story.secrets)
    for secret in story.secrets:
        for seen in lab.google.door.seen:
            assert secret.encode() not in seen.body, seen.name


def test_without_a_key_whoever_provisioned_launches_as_the_pools_account(lab, tmp_path):
    before = lab.google.inventory()
    me = Person.at(tmp_path, lab.owner)
    me("work-pool", "create", "keyless", *TYPE, "--provision-infra", "--yes")
    assert "keys" not in lab.google.inventory()
    assert me.json("block", "ls") == []
    me.deploy("greet", pool="keyless", options=("--job-variable", f"image={IMAGE}"))
    seen = len(lab.google.door.seen)
    assert me.watch("greet")["state"] == "completed"
    (launched,) = [item for item in lab.google.door.seen[seen:] if item.name == "run.jobs.create"]
    pool = me.json("work-pool", "inspect", "keyless")
    assert launched.caller == f"poolform-launch-{pool['id']}@{PROJECT}.iam.gserviceaccount.com"
    assert me.json("work-pool", "drift", "keyless")["changes"] == []
    me("work-pool", "deprovision", "keyless", "--yes")
    assert lab.google.inventory() == before


def test_who_lacks_permissions_is_told_which_and_nothing_is_made(lab, tmp_path):
    before = lab.google.inventory()
    me = Person.at(tmp_path, lab.person("junior", frozenset({"resourcemanager.projects.get"})))
    done = me("work-pool", "create", "q", *TYPE, "--provision-infra", "--yes", expect=1)
    assert "permissions are missing; nothing was changed" in done.stderr
    assert f"artifactregistry.repositories.create: no role on {PROJECT} has it" in done.stderr
    assert f"An owner of the project {PROJECT}" in done.stderr
    assert me.json("work-pool", "ls") == []
    assert lab.google.inventory() == before


def test_without_credentials_there_is_a_sentence_and_no_traceback(lab, tmp_path):
    nobody = {key: value for key, value in lab.owner.items() if "CREDENTIALS" not in key}
    me = Person.at(tmp_path, nobody)
    done = me("work-pool", "create", "q", *TYPE, "--provision-infra", "--yes", expect=1)
    assert "gcloud auth application-default login" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_project_the_ones_that_can_be_seen_are_named(lab, tmp_path):
    given = {key: value for key, value in lab.owner.items() if key != "GOOGLE_CLOUD_PROJECT"}
    key = json.loads((lab.folder / "owner.json").read_text())
    stripped = tmp_path / "key.json"
    stripped.write_text(json.dumps({name: value for name, value in key.items() if name != "project_id"}))
    me = Person.at(tmp_path, {**given, "GOOGLE_APPLICATION_CREDENTIALS": str(stripped)})
    done = me("work-pool", "create", "q", *TYPE, "--provision-infra", "--yes", expect=2)
    assert "project: it is required and was not given" in done.stderr
    assert f"Known for project: {PROJECT}." in done.stderr
