"""A pool on Kubernetes from the first command to the last, as a person has it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from poolform.provisioners.kubernetes.permissions import needed, rules
from poolform.provisioners.kubernetes.pool_type import NOUNS

from .somebody import FLOWS, IMAGE, Person

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow
ACCOUNT = "5eed0000-0000-4000-8000-0000c1057e50"
CREATE = ("work-pool", "create", "p", "--type", "kubernetes", "--provision-infra", "--yes")


@dataclass
class Story:
    """What was said and seen at each point."""

    person: Person
    root: Path
    created: object = None
    pool: dict = field(default_factory=dict)
    during: dict = field(default_factory=dict)
    runs: dict = field(default_factory=dict)
    stopped: bool = False
    again: object = None
    clean: object = None
    drifted: object = None
    dismissed: object = None
    mended: object = None
    gone: object = None
    after: dict = field(default_factory=dict)
    left: list = field(default_factory=list)


@pytest.fixture(scope="module")
def story(cluster, tmp_path_factory):
    cluster.node.images[IMAGE], cluster.node.memory_scale, cluster.node.stop_timeout = FLOWS, 0.25, 0.5
    with Person.in_(cluster, tmp_path_factory, "story") as (me, cloud):
        me.on_record()
        told = Story(me, me.root)
        told.created = me(*CREATE, "--set", "credentials=impersonate", "--set", 'quota={"count/jobs.batch": "20"}')
        told.pool, told.during = me.json("work-pool", "inspect", "p"), cloud.counts()
        told.again = me("work-pool", "provision-infra", "p", "--yes")
        variables = ("--job-variable", f"image={IMAGE}", "--job-variable", "memory_limit=512Mi")
        me.deploy("greet", "eats", "sleeps", options=variables)
        told.runs["greet"] = me.watch("greet", "--param", "name=Ada")
        told.runs["fails"] = me.watch("greet", "--param", "fail=true", expect=5)
        told.runs["eats"] = me.watch("eats", expect=5)
        told.runs["sleeps"] = me.cancel(cluster.alive)
        told.stopped = cluster.alive() == []
        told.left = cluster.inventory()
        told.clean = me("work-pool", "drift", "p")
        (role,) = cloud.objects()["kubernetes_role_v1"].values()
        cloud.put("kubernetes_role_v1", role["id"], {"rule": role["rule"][1:]})
        told.drifted = me("work-pool", "drift", "p", expect=4)
        told.mended = me("work-pool", "provision-infra", "p", "--yes")
        cluster.people.denied.add(("create", "batch", "jobs"))
        told.dismissed = me("work-pool", "drift", "p", expect=None)
        cluster.people.denied.clear()
        told.gone = me("work-pool", "deprovision", "p", "--yes")
        told.after = cloud.counts()
        yield told
    cluster.node.memory_scale, cluster.node.stop_timeout = 1.0, 30.0


def test_the_plan_says_what_will_be_made_and_who_asks(story, cluster):
    said = story.created.stderr
    assert f"as admin at {cluster.url} in account {ACCOUNT}" in said
    assert f"Create a namespace poolform-p-{story.pool['id']}" in said
    assert f"Create a role poolform-p-launcher-{story.pool['id']}: launching jobs in this namespace" in said
    assert "successfully provisioned" in said


def test_the_pool_is_ready_and_a_second_time_there_is_nothing_to_do(story):
    assert (story.pool["state"], story.pool["type"]) == ("ready", "kubernetes")
    assert set(story.during) == {noun.partition(".")[0] for noun in NOUNS} - {"kubernetes_limit_range_v1"}
    assert "Create" not in story.again.stderr


def test_a_flow_reads_its_parameters_and_completes_with_its_output(story):
    assert story.runs["greet"]["state"] == "completed"
    assert "hello Ada" in story.runs["greet"]["logs"]


def test_a_flow_that_raises_has_failed(story):
    assert story.runs["fails"]["state"] == "failed"
    assert "the data is not there" in story.runs["fails"]["logs"]


def test_a_flow_out_of_memory_has_crashed_and_says_so(story):
    assert story.runs["eats"]["state"] == "crashed"
    assert "ran out of memory: its limit was 512Mi" in story.runs["eats"]["said"]


def test_a_flow_that_is_cancelled_is_stopped(story):
    assert story.runs["sleeps"]["state"] == "cancelled"
    assert story.stopped


def test_no_job_is_kept_once_its_outcome_is(story):
    assert story.left == []


def test_drift_is_none_until_somebody_changes_something_by_hand(story):
    assert story.clean.returncode == 0
    said = story.drifted.stdout + story.drifted.stderr
    assert "rule" in said
    assert "launching jobs in this namespace" in said
    assert "successfully provisioned" in story.mended.stderr


def test_a_launcher_that_may_launch_no_more_is_drift_too(story):
    assert story.dismissed.returncode == 4
    assert "create jobs.batch: no role allows it" in story.dismissed.stdout + story.dismissed.stderr


def test_nothing_is_left_in_the_cluster(story):
    assert story.after == {}


def test_no_secret_is_written_anywhere_in_clear(story, cluster):
    """Not in the database, a state, a plan, a log, a rendered file, on a command line, or on the screen."""
    secret = cluster.administrator.token
    story.person.assert_told_nobody(secret)
    assert all(secret.encode() not in content for _, content in cluster.api.bodies)


def test_what_somebody_may_not_do_stops_it_before_anything_is_made(cluster, tmp_path_factory):
    few = cluster.user("few", *rules(needed(["kubernetes_namespace_v1", "kubernetes_role_v1"])))
    with Person.in_(cluster, tmp_path_factory, "few", few) as (me, cloud):
        refused = me(*CREATE, expect=None)
        assert refused.returncode == 1
        assert "create serviceaccounts: no role allows it in the cluster" in refused.stderr
        assert "Whoever administers the cluster can grant it" in refused.stderr
        unknown = me(*CREATE, "--set", "context=lap", expect=None)
        assert unknown.returncode == 1
        assert "has no context called lap; it has: lab, nowhere" in unknown.stderr
        assert cloud.counts() == {}
        assert me("work-pool", "ls", "-o", "json").stdout.strip() == "[]"
