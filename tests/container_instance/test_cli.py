"""A pool on Azure Container Instances from the first command to the last, as a person has it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from poolform.provisioners.container_instance.permissions import role

from .person import FLOWS, IMAGE, Person

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


@dataclass
class Story:
    """What was said and seen at each point."""

    person: Person
    root: Path
    before: dict
    created: object = None
    declined: object = None
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
    passwords: list = field(default_factory=list)
    gone: object = None
    during: dict = field(default_factory=dict)
    after: dict = field(default_factory=dict)
    groups: list = field(default_factory=list)


@pytest.fixture(scope="module")
def story(azure, providers, tmp_path_factory):
    root = tmp_path_factory.mktemp("story")
    me = Person.at(root, {**azure.environment, **providers}).on_record()
    azure.groups.images[IMAGE] = FLOWS
    azure.groups.memory_scale, azure.groups.stop_timeout = 0.1, 1.0
    told = Story(me, root, azure.cloud.counts())
    create = ("work-pool", "create", "p", "--type", "azure-container-instance:push", "--provision-infra")
    told.declined = me(*create, "--set", "credentials=key", expect=3)
    told.created = me(*create, "--yes", "--set", "credentials=key")
    told.during = azure.cloud.counts()
    told.again = me("work-pool", "provision-infra", "p", "--yes")
    told.pool = me.json("work-pool", "inspect", "p")
    told.passwords.append(passwords(azure, told))
    me.deploy("greet", "fails", "eats", "sleeps", options=("--job-variable", f"image={IMAGE}"))
    for name, code in (("greet", 0), ("fails", 5), ("eats", 5)):
        told.runs[name] = me.watch(name, expect=code)
    told.runs["sleeps"] = me.cancel(lambda: running(azure))
    told.stopped = running(azure) == []
    told.groups = azure.groups.names()
    told.clean = me("work-pool", "drift", "p")
    registry = next(id_ for id_ in azure.cloud.objects()["azurerm_container_registry"] if told.pool["id"] in id_)
    azure.cloud.put("azurerm_container_registry", registry, {"admin_enabled": True})
    told.drifted = me("work-pool", "drift", "p", expect=4)
    told.mended = me("work-pool", "provision-infra", "p", "--yes")
    revoke_by_hand(azure, told)
    told.keyless = me("work-pool", "drift", "p", expect=4)
    told.rekeyed = me("work-pool", "provision-infra", "p", "--yes")
    told.passwords.append(passwords(azure, told))
    told.rotated = me("block", "rotate", told.person.json("work-pool", "inspect", "p")["credential_block"])
    told.passwords.append(passwords(azure, told))
    me.abandon(lambda: running(azure))
    told.gone = me("work-pool", "deprovision", "p", "--yes")
    told.after = azure.cloud.counts()
    azure.groups.memory_scale, azure.groups.stop_timeout = 1.0, 30.0
    return told


def application(azure, told):
    return next(
        id_ for id_, item in azure.directory.applications().items() if item["display_name"].endswith(told.pool["id"])
    )


def passwords(azure, told):
    return azure.directory.passwords(application(azure, told))


def revoke_by_hand(azure, told):
    azure.directory._passwords[application(azure, told)].clear()


def running(azure):
    return [group for group in azure.groups.all if group.container is not None and not group.ended]


def test_the_plan_says_what_will_be_made_and_who_asks(story):
    said = story.created.stderr
    assert "region westeurope" in said
    told = [
        "Create a resource group named poolform-p-", "Create a container registry named poolformp",
        "Create an identity poolform-p-pull-", "Grant the role AcrPull on the registry to that identity",
        "Create an application registration poolform-p-launcher-", "Create a service principal for that application",
        "Create a role poolform-p-launcher-", "Grant that role to whoever launches jobs",
        "Create a key for the pool's launcher", "Create the credentials block",
    ]  # fmt: skip
    at = [said.index(sentence) for sentence in told]
    assert at == sorted(at)
    assert "successfully provisioned" in said


def test_declining_leaves_nothing(story):
    assert "--yes" in story.declined.stderr


def test_a_second_time_there_is_nothing_to_do_and_no_second_secret(story):
    assert [len(keys) for keys in story.passwords] == [1, 1, 1]


def test_the_pool_is_ready_with_everything_that_a_job_needs(story):
    assert story.pool["state"] == "ready"
    assert story.pool["image_namespace"] == f"poolformp{story.pool['id']}.azurecr.io"
    assert story.during["azurerm_role_assignment"] == story.before.get("azurerm_role_assignment", 0) + 2


def test_a_flow_completes_with_its_output(story):
    assert story.runs["greet"]["state"] == "completed"
    assert "hello world" in story.runs["greet"]["logs"]


def test_a_flow_that_raises_has_failed(story):
    assert story.runs["fails"]["state"] == "failed"
    assert "the data is not there" in story.runs["fails"]["logs"]


def test_a_flow_out_of_memory_has_crashed_and_says_so(story):
    assert story.runs["eats"]["state"] == "crashed"
    assert "ran out of memory: it had 1 GB" in story.runs["eats"]["said"]


def test_a_flow_that_is_cancelled_leaves_no_job(story):
    assert story.runs["sleeps"]["state"] == "cancelled"
    assert story.stopped


def test_no_container_group_stays_once_its_output_is_stored(story):
    assert story.groups == []


def test_drift_is_none_until_somebody_changes_something_by_hand(story):
    assert story.clean.returncode == 0
    said = story.drifted.stdout + story.drifted.stderr
    assert "admin_enabled" in said
    assert "container registry" in said
    assert "successfully provisioned" in story.mended.stderr


def test_a_secret_that_somebody_revoked_is_noticed_and_made_anew(story):
    assert "AADSTS7000215" in story.keyless.stdout + story.keyless.stderr
    assert "Create a key for the pool's launcher" in story.rekeyed.stderr
    assert len({key for keys in story.passwords for key in keys}) == 3, "made, made anew, rotated"


def test_deprovisioning_ends_what_still_runs_and_leaves_nothing(story, azure):
    assert story.after == story.before
    assert running(azure) == []


def test_what_programs_read_is_json_and_nothing_else(story):
    found = story.person.json("flow-run", "ls", "--limit", "10")
    assert [run["state"] for run in found][-4:] == ["cancelled", "crashed", "failed", "completed"]
    types = story.person.json("work-pool", "types")
    assert {"azure-container-instance", "azure-container-instance:push"} <= {item["type"] for item in types}


def test_no_secret_is_written_anywhere_in_clear(story, azure):
    """Not in the database, a state, a plan, a log, a rendered file, on a command line, or on the screen."""
    assert len(azure.directory.minted) >= 3
    story.person.assert_told_nobody(*azure.directory.minted)
    for secret in azure.directory.minted:
        # Whoever logs in with it shows it to the login page, and to nobody else.
        carrying = {request.api for request in azure.requests if secret.encode() in request.body}
        assert carrying <= {"login"}
        assert not any(secret in json.dumps(request.query) + request.path for request in azure.requests)


# Without any secret: one provisions, another launches, and neither may do more than that.


@dataclass
class Keyless:
    """What became of a pool that has no secret."""

    provisioned: object
    ran: object
    refused: object
    clean: object
    left: list
    groups: list


@pytest.fixture(scope="module")
def keyless(azure, providers, tmp_path_factory):
    root = tmp_path_factory.mktemp("keyless")
    azure.groups.images[IMAGE] = FLOWS
    worker, stranger = azure.directory.add("worker"), azure.directory.add("stranger")
    provisioner = azure.principal("provisioner", role()["Actions"], graph_roles=())
    me = Person.at(root, {**provisioner, **providers})
    provisioned = me(
        "work-pool", "create", "k", "--type", "azure-container-instance", "--provision-infra", "--yes",
        "--set", f"launcher_principal_ids={json.dumps([worker.object_id])}",
    )  # fmt: skip
    pool_id = me.json("work-pool", "inspect", "k")["id"]
    me.deploy("greet", pool="k", options=("--job-variable", f"image={IMAGE}"))
    dispatcher = Person.at(root, {**azure.environment_of(worker), **providers})
    ran = dispatcher("deployment", "run", "greet/n", "--watch", expect=None)
    outsider = Person.at(root, {**azure.environment_of(stranger), **providers})
    refused = outsider("work-pool", "drift", "k", expect=None)
    clean = me("work-pool", "drift", "k", expect=None)
    me("work-pool", "deprovision", "k", "--yes")
    left = [id_ for items in azure.cloud.objects().values() for id_ in items if pool_id in id_]
    return Keyless(provisioned, ran, refused, clean, left, azure.groups.names())


def test_who_provisions_needs_no_more_than_the_documented_role(keyless):
    assert "successfully provisioned" in keyless.provisioned.stderr
    assert "key" not in keyless.provisioned.stderr
    assert keyless.clean.returncode == 0
    assert keyless.left == []


def test_who_was_named_launches_with_the_launchers_role_alone(keyless):
    assert keyless.ran.returncode == 0, keyless.ran.stderr
    assert "hello world" in keyless.ran.stdout + keyless.ran.stderr
    assert keyless.groups == []


def test_a_stranger_is_told_that_they_see_nothing(keyless):
    assert keyless.refused.returncode == 1
    assert "does not see the subscription" in keyless.refused.stderr
