"""Who may: the caller's identity, the permissions that preflight asks about, and the launcher's own credentials."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from clouds.aws.faults import THROTTLED, Fault

from poolform.core.errors import PoolformError
from poolform.core.pools.contract import Connection, Credential
from poolform.provisioners.ecs import keys
from poolform.provisioners.ecs.permissions import BY_TYPE, PREFIX, needed, policy
from poolform.provisioners.ecs.pool_type import EcsPush
from poolform.provisioners.ecs.variables import EcsVariables

from .conftest import REGION, become

ACCOUNT = "123456789012"
DEFAULT = EcsVariables(region=REGION)
TYPES = sorted(BY_TYPE)


def verdicts(findings):
    return {finding.subject: finding.verdict for finding in findings}


@pytest.fixture
def caller(aws, monkeypatch, request):
    """Become a new user with one policy."""

    def make(document):
        name = f"caller-{abs(hash(request.node.name + json.dumps(document)))}"
        become(monkeypatch, aws.user(name, document))
        return f"arn:aws:iam::{ACCOUNT}:user/{name}"

    return make


def test_identity_names_principal_account_and_region(caller):
    arn = caller(None)
    found = EcsPush().identity(DEFAULT)
    assert (found.principal, found.account, found.region) == (arn, ACCOUNT, REGION)


def test_credentials_that_aws_does_not_take_are_said_to_be(aws, monkeypatch):
    become(monkeypatch, {**aws.environment, "AWS_ACCESS_KEY_ID": "AKIAUNKNOWNUNKNOWN00"})
    with pytest.raises(PoolformError, match=r"Asking AWS who you are failed: .*InvalidClientTokenId") as failed:
        EcsPush().identity(DEFAULT)
    assert "Log in to AWS again" in failed.value.hint


def test_no_credentials_at_all_are_said_to_be_missing(aws, monkeypatch, tmp_path):
    given = {key: value for key, value in aws.environment.items() if "KEY" not in key}
    become(monkeypatch, {**given, "HOME": str(tmp_path)})
    with pytest.raises(PoolformError, match="Unable to locate credentials") as failed:
        EcsPush().identity(DEFAULT)
    assert "AWS_PROFILE" in failed.value.hint


def test_the_documented_policy_is_enough(caller):
    caller({**policy(needed(TYPES)), "Statement": [*policy(needed(TYPES))["Statement"], SIMULATE]})
    found = verdicts(EcsPush().preflight(DEFAULT, TYPES))
    assert set(found.values()) == {"allowed"}
    assert len(found) > 90


SIMULATE = {"Effect": "Allow", "Action": "iam:SimulatePrincipalPolicy", "Resource": "*"}


@pytest.mark.parametrize("kind", TYPES)
def test_what_one_resource_type_lacks_is_named(caller, kind):
    """Everything but the first action of the type: exactly that one is missing, with who can grant it."""
    lacking = min(permission.action for permission in BY_TYPE[kind])
    statements = policy(needed(TYPES))["Statement"]
    deny = {"Effect": "Deny", "Action": lacking, "Resource": "*"}
    caller({"Version": "2012-10-17", "Statement": [*statements, SIMULATE, deny]})
    missing = [f for f in EcsPush().preflight(DEFAULT, [kind]) if f.verdict == "missing"]
    assert {finding.subject for finding in missing} == {lacking}
    assert "a policy denies it" in missing[0].message
    assert f"administrator of the account {ACCOUNT}" in missing[0].hint


def test_permissions_on_the_pools_own_names_are_enough(caller):
    own = {"Effect": "Allow", "Action": "ecs:*", "Resource": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/poolform-*"}
    slr = {"Effect": "Allow", "Action": "iam:CreateServiceLinkedRole", "Resource": "*"}
    caller({"Version": "2012-10-17", "Statement": [own, slr, SIMULATE]})
    assert set(verdicts(EcsPush().preflight(DEFAULT, ["aws_ecs_cluster"])).values()) == {"allowed"}
    assert PREFIX.startswith("poolform-")


def test_a_permission_under_a_condition_is_unknown_not_missing(caller):
    tagged = {"StringEquals": {"aws:RequestTag/team": "data"}}
    statement = {"Effect": "Allow", "Action": "ecs:CreateCluster", "Resource": "*", "Condition": tagged}
    rest = {"Effect": "Allow", "Action": ["ecs:D*", "ecs:L*", "ecs:T*", "ecs:U*", "iam:C*"], "Resource": "*"}
    caller({"Version": "2012-10-17", "Statement": [statement, rest, SIMULATE]})
    found = {finding.subject: finding for finding in EcsPush().preflight(DEFAULT, ["aws_ecs_cluster"])}
    assert found["ecs:CreateCluster"].verdict == "unknown"
    assert found["ecs:CreateCluster"].message == "it depends on aws:RequestTag/team"


def test_a_dozen_questions_to_iam_do_not_wait_for_one_another(administrator):
    slow = administrator.faults.add(Fault("iam:SimulatePrincipalPolicy", "lag", seconds=0.4, times=None))
    started = time.monotonic()
    assert len(tuple(EcsPush().preflight(DEFAULT, TYPES))) > 90
    elapsed = time.monotonic() - started
    administrator.faults.clear()
    assert elapsed < 0.7 * 0.4 * slow.hits


def test_ctrl_c_asks_nothing_more(administrator):
    asked = administrator.faults.add(Fault("iam:SimulatePrincipalPolicy", "lag", seconds=0.2, times=None))
    hook = lambda _request: os.kill(os.getpid(), signal.SIGINT)
    administrator.faults.add(Fault("iam:SimulatePrincipalPolicy", "call", hook=hook))
    with pytest.raises(KeyboardInterrupt):
        tuple(EcsPush().preflight(DEFAULT, TYPES))
    administrator.faults.clear()
    assert asked.hits <= 6  # those under way, of a dozen


def test_who_may_not_ask_about_permissions_goes_on_without_an_answer(caller):
    caller(policy(needed(TYPES)))
    (only,) = EcsPush().preflight(DEFAULT, TYPES)
    assert only.verdict == "unknown"
    assert "iam:SimulatePrincipalPolicy" in only.message


def test_a_session_of_a_role_is_judged_by_the_role(aws, monkeypatch, administrator):
    iam = aws.client("iam")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}
        ],
    }
    role = iam.create_role(RoleName="ci", Path="/team/", AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    statement = {"Effect": "Allow", "Action": ["ecs:ListTasks", "iam:Simulate*", "iam:GetRole"], "Resource": "*"}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    iam.put_role_policy(RoleName="ci", PolicyName="p", PolicyDocument=json.dumps(document))
    given = aws.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="session")["Credentials"]
    session = {
        "AWS_ACCESS_KEY_ID": given["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
        "AWS_SESSION_TOKEN": given["SessionToken"],
    }  # fmt: skip
    become(monkeypatch, {**aws.environment, **session})
    found = verdicts(EcsPush().preflight(DEFAULT, ["aws_ecs_cluster"]))
    assert found["ecs:CreateCluster"] == "missing"
    become(monkeypatch, aws.environment)
    iam.delete_role_policy(RoleName="ci", PolicyName="p")
    iam.delete_role(RoleName="ci")


def test_preflight_asks_about_exactly_the_modules_types(caller):
    caller({"Version": "2012-10-17", "Statement": [SIMULATE]})
    assert set(verdicts(EcsPush().preflight(DEFAULT, ["aws_route"]))) == {
        "ec2:CreateRoute", "ec2:DeleteRoute", "ec2:DescribeRouteTables",
    }  # fmt: skip
    keyed = EcsVariables(region=REGION, credentials="key")
    assert "iam:CreateAccessKey" in verdicts(EcsPush().preflight(keyed, ["aws_route"]))


# The launcher's key


@pytest.fixture
def launcher_user(administrator):
    """A launcher user as the module makes it, without the module."""
    iam = administrator.client("iam")
    arn = iam.create_user(UserName="poolform-lab-launcher-a1b2c3d4")["User"]["Arn"]
    cluster = administrator.client("ecs").create_cluster(clusterName="poolform-lab-a1b2c3d4")["cluster"]["clusterArn"]
    listing = {"Effect": "Allow", "Action": "ecs:ListTasks", "Resource": "*"}
    document = {"Version": "2012-10-17", "Statement": [listing]}
    iam.put_user_policy(UserName=arn.rsplit("/", 1)[-1], PolicyName="p", PolicyDocument=json.dumps(document))
    yield Connection({"region": REGION, "credentials": "key", "launcher_arn": arn, "cluster_arn": cluster})
    for key in keys.issued(Connection({"region": REGION, "launcher_arn": arn})):
        iam.delete_access_key(UserName=arn.rsplit("/", 1)[-1], AccessKeyId=key)
    iam.delete_user_policy(UserName=arn.rsplit("/", 1)[-1], PolicyName="p")
    iam.delete_user(UserName=arn.rsplit("/", 1)[-1])
    administrator.client("ecs").delete_cluster(cluster=cluster)


@pytest.mark.slow
def test_a_minted_key_works_until_it_is_revoked(launcher_user, administrator):
    made = keys.mint(launcher_user)
    assert made.block_type == "aws-credentials"
    assert keys.AwsCredentials(**made.data).aws_access_key_id == made.key_id
    assert made.data["aws_secret_access_key"] not in repr(made)
    assert list(keys.issued(launcher_user)) == [made.key_id]
    assert keys.authenticate(launcher_user, made).verdict == "allowed"
    keys.revoke(launcher_user, made.key_id)
    keys.revoke(launcher_user, made.key_id)  # gone is fine
    assert list(keys.issued(launcher_user)) == []
    refused = keys.authenticate(launcher_user, made)
    assert refused.verdict == "missing"
    assert "UnrecognizedClientException" in refused.message
    assert "work-pool provision-infra" in refused.hint


def test_a_users_third_key_is_more_than_aws_gives(launcher_user):
    keys.mint(launcher_user)
    keys.mint(launcher_user)
    with pytest.raises(PoolformError, match="LimitExceeded"):
        keys.mint(launcher_user)


@pytest.mark.slow
def test_trouble_on_the_way_is_no_verdict_on_the_key(launcher_user, administrator):
    made = keys.mint(launcher_user)
    administrator.faults.add(Fault("ecs:ListTasks", "error", error=THROTTLED, times=None))
    try:
        assert keys.authenticate(launcher_user, made).verdict == "unknown"
    finally:
        administrator.faults.clear()


def test_a_pool_without_a_launcher_user_has_no_keys(administrator):
    for arn in (None, f"arn:aws:iam::{ACCOUNT}:role/poolform-lab-launcher-a1b2c3d4"):
        assert list(keys.issued(Connection({"region": REGION, "launcher_arn": arn}))) == []
    gone = Connection({"region": REGION, "launcher_arn": f"arn:aws:iam::{ACCOUNT}:user/gone"})
    assert list(keys.issued(gone)) == []


def test_a_lost_block_is_said_to_be_lost(launcher_user):
    with pytest.raises(PoolformError, match="credentials block is gone"):
        EcsPush().launcher(launcher_user, None)


@pytest.mark.slow
def test_a_role_is_assumed_and_a_stranger_may_not(administrator, monkeypatch, caller, launcher_user):
    iam = administrator.client("iam")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "sts:AssumeRole",
                "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/administrator"},
            }
        ],
    }
    arn = iam.create_role(RoleName="launcher", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    listing = {"Effect": "Allow", "Action": "ecs:ListTasks", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [listing]})
    iam.put_role_policy(RoleName="launcher", PolicyName="p", PolicyDocument=document)
    connection = Connection({**launcher_user.settings, "credentials": "role", "launcher_arn": arn})
    become(monkeypatch, administrator.environment)
    assert keys.authenticate(connection, None).verdict == "allowed"
    caller({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
    refused = keys.authenticate(connection, None)
    assert refused.verdict == "missing"
    assert "sts:AssumeRole" in refused.message
    iam.delete_role_policy(RoleName="launcher", PolicyName="p")
    iam.delete_role(RoleName="launcher")


def test_who_provisions_for_others_need_not_be_able_to_dispatch(launcher_user, caller, administrator, monkeypatch):
    """With trusted principals named, or ambient credentials: that a provisioner may not launch says nothing."""
    others = [f"arn:aws:iam::{ACCOUNT}:role/ci"]
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": others[0]}}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam = administrator.client("iam")
    role = iam.create_role(RoleName="of-others", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    me = caller(None)
    for settings, said in (
        ({"credentials": "ambient", "launcher_arn": None}, "Whoever dispatches has to be allowed to"),
        ({"credentials": "role", "launcher_arn": role, "dispatchers": others}, f"It is for {others[0]}."),
    ):
        found = keys.authenticate(Connection({**launcher_user.settings, **settings}), None)
        assert found.verdict == "unknown", me
        assert said in found.message
    become(monkeypatch, administrator.environment)
    iam.delete_role(RoleName="of-others")


def test_a_block_takes_nothing_but_a_key():
    with pytest.raises(ValueError, match="Extra inputs"):
        keys.AwsCredentials(aws_access_key_id="A", aws_secret_access_key="B", password="C")
    credential = Credential("aws-credentials", {"aws_access_key_id": "A", "aws_secret_access_key": "hush"}, "A")
    assert "hush" not in repr(credential)
