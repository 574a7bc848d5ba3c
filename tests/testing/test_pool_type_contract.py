"""The pool type contract proves itself: a pool type that keeps it passes, one that breaks a rule fails that rule."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from typing import Annotated, Literal

import pytest
from hypothesis import given
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from poolform.core.pools.contract import Connection, JobVariables, Outputs, PoolType, Provider, Variables
from poolform.core.runs.launchers import Launcher
from poolform.testing.pool_types import PoolTypeContract
from poolform.testing.pool_types.rendering import sampled
from poolform.testing.standin import Blocks, Computed, Optional, Required, Resource, schema

pytestmark = pytest.mark.slow

LAB = schema(
    "acme/lab",
    version="2.1.4",
    resources={
        "lab_cluster": {
            "id": Computed("string"),
            "name": Required("string"),
            "region": Required("string"),
            "endpoint": Computed("string"),
            "admin_token": Computed("string", sensitive=True),
            "tags": Optional(["map", "string"]),
            "zone": Blocks({"name": Required("string")}),
        },
        "lab_network": {"id": Computed("string"), "name": Required("string"), "cidr": Required("string")},
        "lab_api": {"id": Computed("string"), "name": Required("string")},
    },
)
BEHAVIOUR = {
    "lab_cluster": Resource(
        computed=lambda given, _objects: {
            "id": f"clusters/{given['name']}",
            "endpoint": f"https://{given['name']}.lab.test",
            "admin_token": "",
        },
        force_new=("name", "region"),
        unique=("name",),
    ),
    "lab_network": Resource(computed={"id": "networks/{name}"}, force_new=("name",), unique=("name",)),
    "lab_api": Resource(computed={"id": "{name}"}, adopts=True, abandons=lambda _prior: True),
}
MAIN = """\
provider "lab" {}

resource "lab_api" "this" {
  name = "clusters"
}
{% if variables.network == "own" %}

resource "lab_network" "this" {
  name = "flows-${var.pool_id}"
  cidr = var.cidr
}
{% endif %}

resource "lab_cluster" "this" {
  name   = "flows-${var.pool_id}"
  region = var.region
  tags   = merge(var.tags, { owner = var.owner, pool = var.pool_name })

  dynamic "zone" {
    for_each = range(var.zones)

    content {
      name = "${var.region}-${zone.key}"
    }
  }

  depends_on = [lab_api.this]
}
"""
OUTPUTS = """\
output "cluster" {
  value = lab_cluster.this.id
}

output "network" {
{% if variables.network == "own" %}
  value = lab_network.this.id
{% else %}
  value = null
{% endif %}
}
"""


class Text:
    """A file of a templates folder that is nowhere on disk; or the folder."""

    def __init__(self, name, content):
        self.name, self.content = name, content

    def iterdir(self):
        return iter(self.content)

    def is_file(self):
        return not self.is_dir()

    def is_dir(self):
        return isinstance(self.content, list)

    def read_text(self, encoding=None, errors=None):
        return self.content() if callable(self.content) else self.content


def templates(main=MAIN, outputs=OUTPUTS):
    return Text("templates", [Text("main.tf.j2", main), Text("outputs.tf.j2", outputs)])


def _cidr(text):
    if not re.fullmatch(r"10\.\d+\.0\.0/16", text):
        raise ValueError("not a network of the lab")
    return text


class LabVariables(Variables):
    """With all that a model can say, and things that its schema does not show."""

    region: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}-\d$")] = Field(description="Where the pool runs.")
    network: Literal["own", "none"] = "own"
    cidr: Annotated[str, AfterValidator(_cidr)] = "10.1.0.0/16"
    zones: int = Field(2, ge=1, le=4)
    share: float | None = Field(None, gt=0, le=1)
    owner: str = ""
    tags: dict[str, str] = {}
    admins: list[str] = []

    @model_validator(mode="after")
    def _agree(self):
        if self.network == "none" and self.cidr != "10.1.0.0/16":
            raise ValueError("without a network there is no cidr")
        return self


class LabOutputs(Outputs):
    cluster: str
    network: str | None = None  # Terraform leaves out what is null


class LabJobVariables(JobVariables):
    cluster: str | None = None
    network: str | None = None


class NoLauncher(Launcher):
    launch = find = poll = logs = cancel = remove = None


class Lab(PoolType):
    slug = "lab:push"
    title = "Lab"
    revision = 2
    variables, outputs, job_variables = LabVariables, LabOutputs, LabJobVariables
    providers = {"lab": Provider("acme/lab", "~> 2.1")}
    templates = templates()
    nouns = {"lab_api": "activate the {name} API", "lab_cluster": "a cluster {name}", "lab_network": "a network {name}"}

    def connect(self, variables, outputs):
        return Connection({"region": variables.region}, {"cluster": outputs.cluster, "network": outputs.network})

    def launcher(self, connection, credential):
        return NoLauncher()

    def migrate(self, revision, variables):
        return {**{key: item for key, item in variables.items() if key != "zone"}, "zones": variables["zone"]}


class LabContract(PoolTypeContract):
    pool_type = Lab
    examples = ({"region": "eu-1"}, {"region": "eu-2", "network": "none"})
    schemas = (LAB,)
    behaviour = BEHAVIOUR
    shared = {"lab_api"}
    history = {1: {"region": "eu-1", "zone": 3}}


class TestLab(LabContract):
    def test_the_samples_reach_what_the_schema_does_not_show(self):
        """Validators refuse most networks; the samples are valid all the same, and of many kinds."""
        seen = []

        def see(variables):
            seen.append(variables)

        sampled(given(self.made_up())(see))()
        assert {item.network for item in seen} == {"own", "none"}
        assert len({item.zones for item in seen}) >= 3
        assert {item.share is None for item in seen} == {True, False}
        assert {bool(item.tags) for item in seen} == {True, False}
        assert any("${" in item.owner for item in seen)


# -- one way of breaking each rule ---------------------------------------------------------------------------------

BROKEN = {}
_numbers = itertools.count()


def breaks(rule, **attributes):
    """Register a pool type that differs from Lab in these attributes, and so breaks a rule."""
    contract = {
        name: attributes.pop(name) for name in ("examples", "behaviour", "shared", "history") if name in attributes
    }
    name = f"Lab{next(_numbers)}"
    broken = type(name, (Lab,), attributes)
    BROKEN[f"Contract{name}"] = rule
    # Not collected here, for want of a name that begins with Test; the test below asks for each by its own.
    globals()[f"Contract{name}"] = type(f"Contract{name}", (LabContract,), {"pool_type": broken, **contract})


def main_with(old, new):
    assert old in MAIN
    return templates(MAIN.replace(old, new))


breaks("test_the_class_keeps_the_contract", slug="Not A Slug")
breaks("test_the_examples_are_valid", examples=({},))
breaks("test_what_the_environment_offers_are_variables", discover=lambda self: {"regoin": "eu-1"})
breaks("test_job_variables_make_a_template", job_configuration={"cluster": "{{ clutser }}"})
breaks("test_it_renders_whatever_the_variables", templates=main_with("var.region\n", '"{{ variables.region }}"\n'))
breaks("test_it_renders_whatever_the_variables", templates=templates(lambda: f"{MAIN}# {next(_numbers)}\n"))
breaks("test_terraform_finds_nothing_to_mend", templates=main_with("region = var", "region=var"))
breaks("test_terraform_finds_nothing_to_mend", templates=main_with("cidr = var.cidr", "cidr = var.network_cidr"))
breaks("test_every_resource_has_a_noun", nouns={"lab_cluster": "a cluster", "lab_api": "an API"})
breaks("test_variables_of_older_revisions_can_be_upgraded", history={})
breaks("test_variables_of_older_revisions_can_be_upgraded", migrate=lambda self, revision, variables: variables)
breaks(
    "test_variables_of_older_revisions_can_be_upgraded",
    migrate=lambda self, revision, variables: {"zones": variables.pop("zone"), **variables},
)
breaks("test_it_is_made_settles_and_goes", shared=set())
breaks(
    "test_it_is_made_settles_and_goes",
    templates=main_with("owner = var.owner", "owner = timestamp()"),
)
breaks("test_two_pools_live_side_by_side", templates=templates(MAIN.replace("flows-${var.pool_id}", "flows")))
breaks("test_everything_bears_the_pool_s_id", templates=templates(MAIN.replace("flows-${var.pool_id}", "flows")))
breaks(
    "test_an_apply_that_fails_anywhere_is_mended_by_the_next",
    templates=main_with("depends_on = [lab_api.this]", "lifecycle {\n    create_before_destroy = true\n  }"),
)
breaks(
    "test_a_destroy_that_fails_anywhere_is_mended_by_the_next",
    templates=main_with("depends_on = [lab_api.this]", "lifecycle {\n    prevent_destroy = true\n  }"),
)
breaks("test_a_plan_can_be_said_in_words", nouns={**Lab.nouns, "lab_cluster": "a cluster {nmae}"})
breaks(
    "test_no_secret_is_in_the_state",
    behaviour={**BEHAVIOUR, "lab_cluster": Resource(computed={"id": "{name}", "admin_token": "hush"})},
)
breaks(
    "test_a_connection_is_plain_json_and_made_of_its_inputs_alone",
    connect=lambda self, variables, outputs: Connection({"all": (variables.region, outputs.cluster)}),
)
breaks(
    "test_a_connection_is_plain_json_and_made_of_its_inputs_alone",
    connect=lambda self, variables, outputs: Connection({"number": next(_numbers)}),
)
breaks(
    "test_job_defaults_are_of_job_variables",
    connect=lambda self, variables, outputs: Connection({}, {"clutser": outputs.cluster}),
)
breaks(
    "test_every_output_is_used", connect=lambda self, variables, outputs: Connection({}, {"cluster": outputs.cluster})
)
breaks("test_a_launcher_is_at_hand", launcher=lambda self, connection, credential: None)


class Hidden(LabVariables):
    """Values that find their way around the renderer, which lets no text be printed."""

    @model_validator(mode="after")
    def _tell(self):
        TOLD.append(self.owner)
        return self


TOLD = ["nobody"]
breaks(
    "test_no_value_is_written_into_hcl",
    variables=Hidden,
    templates=templates(lambda: f"{MAIN}\n# for {TOLD[-1].encode('ascii', 'ignore').decode()}\n"),
)


def test_each_broken_pool_type_fails_the_rule_that_it_breaks(tmp_path):
    """One test for all: they are run by one pytest, which costs as much as all of them."""
    report = tmp_path / "report.xml"
    nodes = [f"{__file__}::{contract}::{rule}" for contract, rule in BROKEN.items()]
    quiet = ("-q", "-o", "python_classes=Contract", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=short")
    command = [sys.executable, "-m", "pytest", *quiet, f"--junitxml={report}", *nodes]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    failed = {
        (case.get("classname").rsplit(".")[-1], case.get("name").split("[")[0])
        for case in ET.parse(report).iter("testcase")
        if case.find("failure") is not None
    }
    assert [pair for pair in BROKEN.items() if pair not in failed] == []


def test_every_rule_has_a_pool_type_that_breaks_it():
    rules = {name for name in dir(PoolTypeContract) if name.startswith("test_")}
    assert rules == set(BROKEN.values())
