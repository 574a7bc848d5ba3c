"""Every resource dies in every way, and the next run ends where an undisturbed one does."""

from __future__ import annotations

import json
import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from clouds.aws.faults import Fault
from clouds.aws.wire import AwsError
from matrix import Matrix

from .person import Person, kill_tree
from .test_docs import PAGE

pytestmark = [pytest.mark.aws_provider, pytest.mark.slow]

VARIABLES = (
    "credentials=key", "subnets=private", "zones=1", "encryption=kms",
    'task_policies=["arn:aws:iam::123456789012:policy/flows"]',
)  # fmt: skip
MOST_ROUNDS = 60


def named(part):
    return lambda request: part in str(request.params)


# The call that makes each resource; `where` tells apart those that the same call makes.
MAKES = {
    "aws_cloudwatch_log_group.jobs": ("logs:CreateLogGroup", None),
    "aws_default_security_group.closed": ("ec2:RevokeSecurityGroupEgress", None),
    "aws_ecr_lifecycle_policy.images": ("ecr:PutLifecyclePolicy", None),
    "aws_ecr_repository.images": ("ecr:CreateRepository", None),
    "aws_ecs_cluster.this": ("ecs:CreateCluster", None),
    "aws_ecs_cluster_capacity_providers.this": ("ecs:PutClusterCapacityProviders", None),
    "aws_eip.nat": ("ec2:AllocateAddress", None),
    "aws_iam_policy.launcher": ("iam:CreatePolicy", None),
    "aws_iam_role.execution": ("iam:CreateRole", named("-execution-")),
    "aws_iam_role.task": ("iam:CreateRole", named("-task-")),
    "aws_iam_role_policy.execution": ("iam:PutRolePolicy", None),
    "aws_iam_role_policy_attachment.task": ("iam:AttachRolePolicy", None),
    "aws_iam_user.launcher": ("iam:CreateUser", None),
    "aws_iam_user_policy_attachment.launcher": ("iam:AttachUserPolicy", None),
    "aws_internet_gateway.this": ("ec2:CreateInternetGateway", None),
    "aws_internet_gateway.this, attached": ("ec2:AttachInternetGateway", None),
    "aws_kms_alias.this": ("kms:CreateAlias", None),
    "aws_kms_key.this": ("kms:CreateKey", None),
    "aws_kms_key_policy.this": ("kms:PutKeyPolicy", None),
    "aws_nat_gateway.this": ("ec2:CreateNatGateway", None),
    "aws_route.jobs": ("ec2:CreateRoute", named("NatGatewayId")),
    "aws_route.nat": ("ec2:CreateRoute", named("igw-")),
    "aws_route_table.jobs": ("ec2:CreateRouteTable", lambda request: "-nat'" not in str(request.params)),
    "aws_route_table.nat": ("ec2:CreateRouteTable", named("-nat'")),
    "aws_route_table_association.jobs": ("ec2:AssociateRouteTable", None),
    "aws_security_group.jobs": ("ec2:CreateSecurityGroup", None),
    "aws_subnet.jobs": ("ec2:CreateSubnet", lambda request: "-nat'" not in str(request.params)),
    "aws_subnet.nat": ("ec2:CreateSubnet", named("-nat'")),
    "aws_vpc.this": ("ec2:CreateVpc", None),
    "aws_vpc_endpoint.s3": ("ec2:CreateVpcEndpoint", None),
    "aws_vpc_security_group_egress_rule.jobs": ("ec2:AuthorizeSecurityGroupEgress", None),
    "the launcher's key": ("iam:CreateAccessKey", None),
}
WAYS = {
    "refused": "the call is refused",
    "refused after": "it is done, and answered with an error",
    "killed": "power cut between the object and the state",
    "interrupted": "Ctrl-C while it is being made",
    "throttled": "the call is throttled, twice",
}
PEACE = "left in peace"
MATRIX = Matrix(MAKES, WAYS)
TOGETHER = ("refused", "refused after", "interrupted", "throttled")
"""Ways that one pool can suffer, each at other resources; a power cut would take the others' answers along."""
# A group is born with a rule like ours; where that one was adopted, ours is never made.
ADOPTED = {"aws_vpc_security_group_egress_rule.jobs"}
SETTLING = 1.0
"""Seconds from the first object that is lost to a power cut to the cut: what else is made just then is lost, too."""


@dataclass
class Trial:
    """How a pool got there in spite of one kind of trouble."""

    struck: set = field(default_factory=set)
    rounds: int = 0
    shape: dict = field(default_factory=dict)
    keys: int = 0
    drift: int = -1
    left: dict = field(default_factory=dict)
    told: str = ""


class Trouble:
    """Strikes the pools of one person, whoever else uses the account."""

    def __init__(self, aws, ways, me):
        self.aws, self.ways, self.process = aws, ways, None
        self.left = set(ways)
        self.struck = set()
        self.mine = me.environment["AWS_ACCESS_KEY_ID"]
        self.dark, self.cutting, self.guard = threading.Event(), None, threading.Lock()

    def arm(self):
        for address, way in self.ways.items():
            self.aws.faults.add(self._fault(address, way, *MAKES[address]))

    def morning(self):
        """Before the next round."""
        self.dark, self.cutting = threading.Event(), None

    def _fault(self, address, way, action, where):
        def hits(request):
            mine = request.access_key == self.mine and address in self.left
            if not mine or (where is not None and not where(request)):
                return False
            if way != "throttled" or (address, way) in self.struck:
                self.left.discard(address)
            self.struck.add((address, way))
            return True

        refused = AwsError("InvalidInputException", f"stand-in trouble with {address}")
        slow = AwsError("RequestLimitExceeded" if action.startswith("ec2:") else "ThrottlingException", "Rate exceeded")
        kinds = {
            "refused": Fault(action, "error", error=refused, where=hits),
            "refused after": Fault(action, "error-after", error=refused, where=hits),
            "killed": Fault(action, "call-after", hook=lambda _: self._lose(), where=hits),
            "interrupted": Fault(action, "call-after", hook=lambda _: self._interrupt(), where=hits),
            "throttled": Fault(action, "error", error=slow, where=hits, times=2),
        }
        return kinds[way]

    def _lose(self):
        """Answer nobody until the power is cut."""
        with self.guard:
            if self.cutting is None:
                self.cutting = threading.Timer(SETTLING, self._cut, (self.process, self.dark))
                self.cutting.start()
        self.dark.wait(30)

    def _cut(self, process, dark):
        kill_tree(process.pid)
        dark.set()

    def _interrupt(self):
        self.process.send_signal(signal.SIGINT)


def attempt(aws, ways, me):
    """Provision a pool, each of whose resources is struck in the way that is given, if any; and take it down."""
    trouble, trial = Trouble(aws, ways, me), Trial()
    trouble.arm()
    command = ["work-pool", "create", "p", "--type", "ecs:push", "--provision-infra", "--yes"]
    command += [word for variable in VARIABLES for word in ("--set", variable)]
    while trial.rounds < MOST_ROUNDS:
        trial.rounds += 1
        trouble.morning()
        trouble.process = me.start(*command)
        out, err = trouble.process.communicate(timeout=300)
        trial.told += f"\n--- round {trial.rounds}: {trouble.process.returncode}\n{out[-2000:]}\n{err[-4000:]}"
        if trouble.process.returncode == 0:
            break
        if "p" in me("work-pool", "ls").stdout.split():
            command = ["work-pool", "provision-infra", "p", "--yes"]
    else:
        return trial
    trial.struck = trouble.struck
    pool_id = me.json("work-pool", "inspect", "p")["id"]
    trial.shape, trial.keys = shape(aws, pool_id), keys_of(pool_id)
    trial.drift = me("work-pool", "drift", "p", expect=None).returncode
    trial.told += me("work-pool", "deprovision", "p", "--yes", expect=None).stderr[-3000:]
    trial.left = shape(aws, pool_id)
    return trial


def shape(aws, pool_id):
    """How many things of each kind bear the pool's id, by name or by tag."""
    from moto.ec2.models import ec2_backends
    from moto.kms.models import kms_backends

    ec2, kms = ec2_backends["123456789012"]["eu-west-1"], kms_backends["123456789012"]["eu-west-1"]
    tagged = {tag["resource_id"] for tag in ec2.describe_tags() if tag["value"] == pool_id}
    tagged |= {key for key in kms.keys if pool_id in str(kms.tagger.get_tag_dict_for_resource(key))}
    found = {kind: sum(pool_id in name or name in tagged for name in names) for kind, names in aws.inventory().items()}
    return {kind: number for kind, number in found.items() if number}


def keys_of(pool_id):
    from moto.iam.models import iam_backends

    users = iam_backends["123456789012"]["aws"].users.values()
    return sum(len(user.access_keys) for user in users if user.name.endswith(pool_id))


@pytest.fixture(scope="module")
def trials(aws, cli_config, tmp_path_factory, everything):
    """A pool for each kind of trouble, or some kinds, and one that is left in peace, all at once: by kind."""
    anything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    aws.client("iam").create_policy(PolicyName="flows", PolicyDocument=json.dumps(anything))

    def go(name, ways):
        folder = tmp_path_factory.mktemp(re.sub(r"\W", "-", name))
        credentials = aws.user(f"somebody-{folder.name}", anything)
        # Five attempts, not the provider's twenty-five: what is refused for good should be so soon.
        me = Person.at(folder, credentials, cli_config, AWS_MAX_ATTEMPTS="5")
        return attempt(aws, ways, me)

    with ThreadPoolExecutor(3) as threads:
        started = {name: threads.submit(go, name, ways) for name, ways in pools(everything=everything).items()}
    aws.faults.clear()
    done = {name: trial.result() for name, trial in started.items()}
    return {way: done[way] if way in done else done[TOGETHER[0]] for way in (PEACE, *WAYS)}


def pools(*, everything):
    """Return each pool by what befalls it, with the way of each resource: the same for all, where all are tried."""
    found = {way: dict.fromkeys(MATRIX.struck(way, everything=everything), way) for way in WAYS}
    if not everything:
        first, *others = TOGETHER
        for way in others:
            found[first] |= found.pop(way)
    return {PEACE: {}, **found}


@pytest.mark.parametrize("way", WAYS)
def test_every_resource_was_struck(trials, way, everything):
    struck = {address for address, how in trials[way].struck if how == way}
    assert set(MATRIX.struck(way, everything=everything)) - struck <= ADOPTED, trials[way].told


@pytest.mark.parametrize("way", WAYS)
def test_the_same_infrastructure_is_there_in_the_end(trials, way):
    assert trials[way].shape == trials[PEACE].shape, trials[way].told


@pytest.mark.parametrize("way", [PEACE, *WAYS])
def test_there_is_one_key(trials, way):
    assert trials[way].keys == 1, trials[way].told


@pytest.mark.parametrize("way", [PEACE, *WAYS])
def test_nothing_drifts(trials, way):
    assert trials[way].drift == 0, trials[way].told


@pytest.mark.parametrize("way", [PEACE, *WAYS])
def test_deprovisioning_leaves_nothing(trials, way):
    assert trials[way].left == {}, trials[way].told


def test_the_documentation_shows_what_was_seen(trials, everything):
    cells = set.union(*(trial.struck for trial in trials.values()))
    seen = dict.fromkeys(cells | {(address, way) for address in ADOPTED for way in WAYS}, "mended")
    rows = [
        (address if " " in address else f"`{address}`", *cells)
        for address, *cells in MATRIX.told(seen, everything=everything)
    ]
    PAGE.compare_tried("crashes", ("resource", *WAYS.values()), rows)
