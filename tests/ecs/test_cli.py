"""A pool on ECS from the first command to the last, as a person has it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from .person import FLOWS, IMAGE, Person

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.aws_provider, pytest.mark.slow]


@dataclass
class Story:
    """What was said and seen at each point."""

    person: Person
    root: Path
    secrets: list[str]
    before: dict
    created: object = None
    again: object = None
    pool: dict = field(default_factory=dict)
    runs: dict = field(default_factory=dict)
    stopped: bool = False
    clean: object = None
    drifted: object = None
    mended: object = None
    open: list = field(default_factory=list)
    keyless: object = None
    rekeyed: object = None
    rotated: object = None
    usable: object = None
    keys: list = field(default_factory=list)
    gone: object = None
    during: dict = field(default_factory=dict)
    after: dict = field(default_factory=dict)


@pytest.fixture(scope="module")
def story(aws, cli_config, tmp_path_factory):
    root = tmp_path_factory.mktemp("story")
    me = Person.at(root, aws.environment, cli_config).on_record()
    aws.tasks.images[IMAGE] = FLOWS
    aws.tasks.memory_scale = 0.25
    told = Story(me, root, [], aws.inventory())
    told.created = me(
        "work-pool", "create", "p", "--type", "ecs:push", "--provision-infra", "--yes", "--set", "credentials=key"
    )
    told.during = aws.inventory()
    told.secrets += launcher_secrets()
    told.again = me("work-pool", "provision-infra", "p", "--yes")
    told.pool = me.json("work-pool", "inspect", "p")
    me.deploy("greet", "fails", "eats", "sleeps", options=("--job-variable", f"image={IMAGE}"))
    for name, code in (("greet", 0), ("fails", 5), ("eats", 5)):
        told.runs[name] = me.watch(name, expect=code)
    told.runs["sleeps"] = me.cancel(lambda: running(aws))
    told.stopped = aws.tasks.alive() == []
    told.clean = me("work-pool", "drift", "p")
    logs = aws.client("logs")
    group = next(name for name in told.during["log groups"] if name.endswith(told.pool["id"]))
    logs.put_retention_policy(logGroupName=group, retentionInDays=1)
    let_in(aws, told.pool["id"])
    told.drifted = me("work-pool", "drift", "p", expect=4)
    told.mended = me("work-pool", "provision-infra", "p", "--yes")
    told.open = [rule for group in groups(aws, told.pool["id"]) for rule in group["IpPermissions"]]
    revoke_by_hand(aws, told.pool["id"])
    told.keyless = me("work-pool", "drift", "p", expect=None)
    told.rekeyed = me("work-pool", "provision-infra", "p", "--yes")
    told.keys = launcher_secrets()
    told.secrets += told.keys
    told.rotated = me("block", "rotate", "aws-credentials/p-credentials")
    told.keys += launcher_secrets()
    told.secrets += told.keys[-1:]
    told.usable = me("work-pool", "drift", "p")
    told.gone = me("work-pool", "deprovision", "p", "--yes")
    told.after = aws.inventory()
    aws.tasks.memory_scale = 1.0
    return told


def revoke_by_hand(aws, pool_id):
    iam, user = aws.client("iam"), f"poolform-p-launcher-{pool_id}"
    for key in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])


def running(aws):
    return any(aws.tasks.get(arn).shown["lastStatus"] == "RUNNING" for arn in aws.tasks.alive())


def groups(aws, pool_id):
    """The security groups of a pool's jobs."""
    found = aws.client("ec2").describe_security_groups()["SecurityGroups"]
    return [group for group in found if group["GroupName"] == f"poolform-p-{pool_id}"]


def let_in(aws, pool_id):
    (group,) = groups(aws, pool_id)
    everybody = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "0.0.0.0/0"}
    aws.client("ec2").authorize_security_group_ingress(GroupId=group["GroupId"], **everybody)


def launcher_secrets():
    from moto.iam.models import iam_backends

    users = iam_backends["123456789012"]["aws"].users.values()
    return [key.secret_access_key for user in users if "launcher" in user.name for key in user.access_keys]


def test_the_plan_says_what_will_be_made_and_who_asks(story):
    said = story.created.stderr
    assert "as arn:aws:iam::123456789012:user/administrator in account 123456789012, region eu-west-1" in said
    assert "Create an ECS cluster named poolform-p-" in said
    story_told = (
        "a network 10.42",
        "a subnet 10.42",
        "an ECS cluster",
        "which running flows have",
        "Attach that policy",
    )
    places = [said.index(words) for words in story_told]
    assert places == sorted(places)
    assert "Create the credentials block" in said
    assert "successfully provisioned" in said


def test_a_second_time_there_is_nothing_to_do_and_no_second_key(story):
    assert len(story.during["access keys"]) == len(story.before["access keys"]) + 1


def test_the_pool_is_ready_with_everything_that_a_job_needs(story):
    assert story.pool["state"] == "ready"
    assert story.pool["image_namespace"].endswith(f".dkr.ecr.eu-west-1.amazonaws.com/poolform-p-{story.pool['id']}")


def test_a_flow_completes_with_its_output(story):
    assert story.runs["greet"]["state"] == "completed"
    assert "hello world" in story.runs["greet"]["logs"]


def test_a_flow_that_raises_has_failed(story):
    assert story.runs["fails"]["state"] == "failed"
    assert "the data is not there" in story.runs["fails"]["logs"]


def test_a_flow_out_of_memory_has_crashed_and_says_so(story):
    assert story.runs["eats"]["state"] == "crashed"
    assert "ran out of memory: it had 512 MiB" in story.runs["eats"]["said"]


def test_a_flow_that_is_cancelled_leaves_no_task(story):
    assert story.runs["sleeps"]["state"] == "cancelled"
    assert story.stopped


def test_drift_is_none_until_somebody_changes_something_by_hand(story):
    assert story.clean.returncode == 0
    assert story.drifted.returncode == 4
    said = story.drifted.stdout + story.drifted.stderr
    assert "retention_in_days" in said
    assert "Change the log group" in said
    assert "nothing in: ingress" in said, "a way in that somebody opened"
    assert "null" not in said


def test_provisioning_again_puts_it_right(story):
    assert "log group" in story.mended.stderr
    assert "successfully provisioned" in story.mended.stderr
    assert story.open == []


def test_a_key_that_somebody_revoked_is_noticed_and_made_anew(story):
    assert story.keyless.returncode == 4
    assert "UnrecognizedClientException" in story.keyless.stdout + story.keyless.stderr
    assert "Create a key for the pool's launcher" in story.rekeyed.stderr


def test_a_key_is_rotated_and_the_new_one_works(story):
    assert "has a new key; the old one is revoked" in story.rotated.stderr
    assert len(story.keys) == 2, "one of provisioning again, one of rotating"
    assert len(set(story.secrets)) == 3
    assert story.usable.returncode == 0


def test_nothing_of_ours_is_left_in_the_account(story):
    assert story.after == story.before


def test_no_secret_is_written_anywhere_in_clear(story, aws):
    """Not in the database, a state, a plan, a log, a rendered file, on a command line, or on the screen."""
    story.person.assert_told_nobody(*story.secrets)
    for secret in story.secrets:
        for request in aws.proxy.requests:
            assert secret.encode() not in request.body, request.name


def test_who_lacks_a_permission_is_told_which_and_nothing_is_made(aws, cli_config, tmp_path):
    everything_but = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "*", "Resource": "*"},
            {"Effect": "Deny", "Action": ["ecs:CreateCluster", "iam:CreateRole"], "Resource": "*"},
        ],
    }
    before = aws.inventory()
    me = Person.at(tmp_path, aws.user("junior", everything_but), cli_config)
    before["users"] = sorted([*before["users"], "junior"])
    done = me("work-pool", "create", "p", "--type", "ecs:push", "--provision-infra", "--yes", expect=1)
    assert "2 permissions are missing; nothing was changed" in done.stderr
    assert (
        "ecs:CreateCluster: a policy denies it on arn:aws:ecs:eu-west-1:123456789012:cluster/poolform-" in done.stderr
    )
    assert "administrator of the account 123456789012" in done.stderr
    assert me.json("work-pool", "ls") == []
    after = aws.inventory()
    assert {**after, "access keys": []} == {**before, "access keys": []}


def test_without_credentials_there_is_a_sentence_and_no_traceback(aws, cli_config, tmp_path):
    nobody = {key: value for key, value in aws.environment.items() if "KEY" not in key}
    me = Person.at(tmp_path, nobody, cli_config)
    done = me("work-pool", "create", "p", "--type", "ecs:push", "--provision-infra", "--yes", expect=1)
    assert "Unable to locate credentials" in done.stderr
    assert "AWS_PROFILE" in done.stderr
    assert "Traceback" not in done.stderr
