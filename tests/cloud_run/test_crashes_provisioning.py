"""Every resource dies in every way, and the next run ends where an undisturbed one does."""

from __future__ import annotations

import re
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from clouds.google import Fault
from clouds.google.wire import BROKEN, REFUSED
from dying import DYING as WAYS
from matrix import Matrix

from poolform.testing.standin import Cloud
from poolform.testing.standin.cloud import Refused

from .conftest import laboratory
from .person import Person, kill_tree
from .test_docs import PAGE

pytestmark = pytest.mark.slow

VARIABLES = (
    "credentials=key", "code_bucket=true", "network=default", "connector_range=10.8.0.0/28",
    'runtime_roles=["roles/bigquery.user"]',
)  # fmt: skip
MOST_ROUNDS = 20
KEY = "the launcher's key"
PEACE = "left in peace"
_NAMES = ("service", "account_id", "role_id", "repository_id", "role", "name")


def label(type_, attributes):
    """What a resource is called in the documentation: its type, and what tells it from others of that type."""
    own = next(str(attributes[name]) for name in _NAMES if isinstance(attributes.get(name), str))
    whose = attributes["member"].partition(":")[2].partition("@")[0] if type_.endswith("_iam_member") else ""
    text = f"{own.rpartition('/')[2] if '/poolform' in own else own} {whose}".strip()
    return f"`{type_}` {re.sub(r'[-_][a-z0-9]{8}(?= |$)', '', text)}"


class Struck(Cloud):
    """Strikes each creation aimed at, once: before it, after it, or by a power cut before anybody hears of it."""

    def __init__(self, way, aimed):
        super().__init__()
        self.way, self.aimed, self.kill = way, aimed, None
        self.made, self.struck = set(), set()
        self.dark, self.guard = threading.Event(), threading.Lock()
        self.timer = None

    def enter(self, op, type_, attributes, stop):
        super().enter(op, type_, attributes, stop)
        if self.way == "killed" and self.dark.is_set() and op == "create":
            raise Refused("nobody asks any more")
        if op == "create":
            self.made.add(label(type_, attributes))
        if self.way == "refused" and op == "create" and self._is_first(type_, attributes):
            raise Refused("Error 403: the stand-in was asked to refuse this")

    def leave(self, op, type_, attributes, stop):
        super().leave(op, type_, attributes, stop)
        if op != "create" or self.way not in ("refused after", "killed") or not self._is_first(type_, attributes):
            return
        if self.way == "refused after":
            raise Refused("Error 500: the stand-in was asked to break here")
        with self.guard:  # what else is being made just now is struck as well, and then the light goes out
            if self.timer is None:
                self.timer = threading.Timer(0.5, self._cut)
                self.timer.start()
        self.dark.wait(10)

    def morning(self):
        """Before the next round."""
        self.dark.clear()
        self.timer = None

    def _cut(self):
        self.kill()
        self.dark.set()

    def _is_first(self, type_, attributes):
        name = label(type_, attributes)
        with self.guard:
            if name in self.struck or name not in self.aimed:
                return False
            self.struck.add(name)
            return True


@dataclass
class Trial:
    """How a pool got there in spite of one kind of trouble."""

    made: set = field(default_factory=set)
    struck: set = field(default_factory=set)
    rounds: int = 0
    shape: Counter = field(default_factory=Counter)
    drift: int = -1
    left: dict = field(default_factory=dict)
    told: str = ""


def attempt(way, folder, aimed=()):
    cloud, trial = Struck(way, aimed), Trial()
    with laboratory(folder, cloud) as lab:
        me, process = Person.at(folder, lab.owner), []
        cloud.kill = lambda: kill_tree(process[-1].pid)
        key = key_fault(way, cloud) if KEY in aimed else None
        if key is not None:
            lab.google.faults.add(key)
        command = ["work-pool", "create", "p", "--type", "cloud-run:push", "--provision-infra", "--yes"]
        command += [word for variable in VARIABLES for word in ("--set", variable)]
        while trial.rounds < MOST_ROUNDS:
            trial.rounds += 1
            cloud.morning()
            process.append(me.start(*command))
            out, err = process[-1].communicate(timeout=300)
            trial.told += f"\n--- {way}, round {trial.rounds}: {process[-1].returncode}\n{out[-2000:]}\n{err[-4000:]}"
            if process[-1].returncode == 0:
                break
            if "p" in me("work-pool", "ls").stdout.split():
                command = ["work-pool", "provision-infra", "p", "--yes"]
        else:
            return trial
        trial.made = cloud.made
        trial.struck = cloud.struck | ({KEY} if key is not None and key.hits else set())
        trial.shape = Counter({kind: len(items) for kind, items in lab.google.inventory().items()})
        trial.drift = me("work-pool", "drift", "p", expect=None).returncode
        trial.told += me("work-pool", "deprovision", "p", "--yes", expect=None).stderr[-3000:]
        trial.left = lab.google.inventory()
    return trial


def key_fault(way, cloud):
    action = "iam.serviceAccountKeys.create"
    return {
        "refused": Fault(action, "error", error=REFUSED),
        "refused after": Fault(action, "error-after", error=BROKEN),
        "killed": Fault(action, "call-after", hook=lambda _: cloud.kill()),
    }.get(way)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {way: tmp_path_factory.mktemp(re.sub(r"\W", "-", way)) for way in (PEACE, *WAYS)}


@pytest.fixture(scope="module")
def undisturbed(folders):
    """A pool that is left in peace; what is made for it is what others are struck at."""
    return attempt(PEACE, folders[PEACE])


@pytest.fixture(scope="module")
def matrix(undisturbed):
    return Matrix((*sorted(undisturbed.made), KEY), WAYS)


@pytest.fixture(scope="module")
def trials(folders, undisturbed, matrix, everything):
    """A pool for each kind of trouble, and one that is left in peace, each in a project of its own."""
    aims = {way: matrix.struck(way, everything=everything) for way in WAYS}
    with ThreadPoolExecutor(2) as threads:
        started = {way: threads.submit(attempt, way, folders[way], aims[way]) for way in WAYS}
    return {PEACE: undisturbed, **{way: trial.result() for way, trial in started.items()}}


@pytest.mark.parametrize("way", WAYS)
def test_every_resource_was_struck(trials, way, matrix, everything):
    assert len(matrix.rows) == sum(trials[PEACE].shape.values()) + APIS
    assert trials[way].struck == set(matrix.struck(way, everything=everything)), trials[way].told


APIS = 9
"""Activated, and left so; they are in no inventory."""


@pytest.mark.parametrize("way", WAYS)
def test_the_same_infrastructure_is_there_in_the_end_with_one_key(trials, way):
    assert trials[way].shape == trials[PEACE].shape, trials[way].told
    assert trials[way].shape["keys"] == 1


@pytest.mark.parametrize("way", [PEACE, *WAYS])
def test_nothing_drifts(trials, way):
    assert trials[way].drift == 0, trials[way].told


@pytest.mark.parametrize("way", [PEACE, *WAYS])
def test_deprovisioning_leaves_nothing(trials, way):
    assert trials[way].left == {}, trials[way].told


def test_the_documentation_shows_what_was_seen(trials, matrix, everything):
    seen = {(name, way): "mended" for way in WAYS for name in trials[way].struck}
    PAGE.compare_tried("crashes", ("resource", *WAYS.values()), matrix.told(seen, everything=everything))
