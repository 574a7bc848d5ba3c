"""What pool types may say of themselves: phrases of single resources, values to choose from, how patient to be."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import pytest
from pydantic import Field, model_validator

from poolform.core.errors import InvalidValues, PoolformError
from poolform.core.pools import credentials, variables
from poolform.core.pools.contract import Connection, Finding, PoolType, Variables
from poolform.core.pools.proposal import plan_sentences
from poolform.core.terraform.plan import Change, Plan


class LabVariables(Variables):
    project: str
    region: str = "eu-1"


class Lab(PoolType):
    slug = "lab"
    title = "Lab"
    variables = LabVariables

    def __init__(self, *verdicts):
        self.verdicts = list(verdicts)

    def launcher(self, connection, credential):
        raise AssertionError

    def suggestions(self, variable):
        return [f"lab-{number}" for number in range(14)] if variable == "project" else []

    def authenticate(self, connection, credential):
        return Finding("key", self.verdicts.pop(0), "not known yet")


def change(address, action="create", **after):
    type_, _, name = address.partition(".")
    return Change(address, type_, name.partition("[")[0], action, None, after)


def test_a_resource_may_have_a_phrase_of_its_own_and_plans_are_told_in_their_order():
    nouns = {
        "lab_api.run": "activate the Run API", "lab_bench": "a bench {name}", "lab_grant": "grant {role}",
        "lab_grant.all": "grant everybody {role}",
    }  # fmt: skip
    changes = (
        change("lab_bench.a", name="b1"), change('lab_grant.all["x"]', role="reader"),
        change("lab_grant.one", role="owner"), change("lab_api.run"), change("lab_shelf.z"),
        change("lab_bench.b", "destroy"),
    )  # fmt: skip
    plan = Plan(changes, drift=(), kept=0, outputs_change=False, engine_version="1.11.0", digest="")
    assert [sentence.text for sentence in plan_sentences(plan, nouns)] == [
        "Activate the Run API", "Create a bench b1", "Destroy the bench (known after apply)", "Grant owner",
        "Grant everybody reader", "Create a shelf (lab_shelf.z)",
    ]  # fmt: skip


def test_what_stays_when_the_pool_goes_is_not_said_to_go():
    nouns = {"lab_api": "activate-for-good the {name} API", "lab_switch": "activate the {name} switch"}
    told = [
        change(address, action, name="Run").sentence(nouns)
        for address in ("lab_api.run", "lab_switch.run")
        for action in ("create", "destroy", "update")
    ]
    assert told[:3] == ["Activate the Run API", "Leave active the Run API", 'Change the Run API: name (null → "Run")']
    assert told[3:5] == ["Activate the Run switch", "Deactivate the Run switch"]


def test_what_is_there_already_is_spoken_of_as_such_and_a_grant_that_ends_is_no_longer_given():
    nouns = {
        "lab_bench": "a bench {name}",
        "lab_oven": "an oven",
        "lab_rest": "the rest",
        "lab_grant": "grant Ada {name}",
    }
    assert [change(f"lab_{what}.x", "destroy", name="b1").sentence(nouns) for what in ("bench", "oven", "rest")] == [
        "Destroy the bench b1", "Destroy the oven", "Destroy the rest",
    ]  # fmt: skip
    assert change("lab_bench.x", "import", name="b1").sentence(nouns).startswith("Adopt a bench b1, left by")
    assert change("lab_shelf.z", "destroy").sentence(nouns) == "Destroy the shelf (lab_shelf.z)"
    granted = [
        change("lab_grant.x", action, name="a key").sentence(nouns) for action in ("create", "replace", "destroy")
    ]
    assert granted == ["Grant Ada a key", "Grant anew Ada a key", "No longer grant Ada a key"]


def test_what_moved_outside_is_written_as_the_plan_writes_it_and_nothing_is_no_change_of_nothing():
    before = {"days": 30, "open": False, "tags": None, "rules": [], "name": "ü", "key": "old"}
    after = {"days": 1, "open": True, "tags": {}, "rules": None, "name": "o", "key": "new"}
    moved = Change("lab_bench.a", "lab_bench", "a", "update", before, after, sensitive=frozenset({"key"}))
    planned = Change("lab_bench.a", "lab_bench", "a", "update", after, before)
    plan = Plan((planned,), drift=(moved,), kept=0, outputs_change=False, engine_version="1.11.0", digest="")
    assert plan_sentences(plan, {})[0].details == (
        "days was changed outside Poolform from 30 to 1", "key was changed outside Poolform",
        'name was changed outside Poolform from "ü" to "o"', "open was changed outside Poolform from false to true",
    )  # fmt: skip


def test_a_required_variable_that_nobody_gave_comes_with_values_to_choose_from():
    asked = []
    given = variables.ask("project", Lab(), lambda question: asked.append(question) or "lab-3")
    assert given.value == "lab-3"
    assert asked == [f"project, such as {', '.join(f'lab-{number}' for number in range(12))} and 2 more"]
    with pytest.raises(InvalidValues) as refused:
        variables.validate(Lab(), {})
    assert refused.value.hint.startswith("Known for project: lab-0, lab-1, ")
    with pytest.raises(InvalidValues) as refused:
        variables.validate(Lab(), {"project": variables.Given("p", "--set"), "x": variables.Given("y", "--set")})
    assert "Known for" not in refused.value.hint


class ChosenVariables(Variables):
    colour: Literal["red", "blue"]
    size: Literal[1, 2] | None
    tags: dict[str, str] = Field({})
    zones: list[str] = Field([])


class Chosen(Lab):
    variables = ChosenVariables

    def suggestions(self, variable):
        return []


def test_what_a_variable_can_be_is_said_where_it_is_a_choice():
    asked = []
    variables.ask("colour", Chosen(), lambda question: asked.append(question) or "red")
    variables.ask("size", Chosen(), lambda question: asked.append(question) or "1")
    assert asked == ["colour, one of red, blue", "size, one of 1, 2"]
    with pytest.raises(InvalidValues) as refused:
        variables.validate(Chosen(), {"size": variables.Given(1, "--set")})
    assert refused.value.hint.startswith("Known for colour: red, blue. ")


def test_how_to_write_lists_and_maps_is_said_where_one_is_written_otherwise():
    given = variables.from_assignments(["colour=red", "size=1", "tags=x", "zones=north,south"], ChosenVariables)
    with pytest.raises(InvalidValues) as refused:
        variables.validate(Chosen(), given)
    tags, zones = refused.value.problems
    assert tags.endswith("""got "x". Write JSON: tags={"key": "value"}""")
    assert zones.endswith("""got "north,south". Write JSON: zones=["one", "two"]""")
    written = variables.from_assignments(["colour=red", "size=1", 'tags={"a": "b"}', 'zones=["n"]'], ChosenVariables)
    assert variables.validate(Chosen(), written).tags == {"a": "b"}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("project and region do not agree", "Project and region do not agree."),
        ("vpc_id and region do not agree", "vpc_id and region do not agree."),
    ],
)
def test_a_validator_of_all_variables_says_its_sentence(said, told):
    class Agreeing(LabVariables):
        @model_validator(mode="after")
        def agree(self):
            raise ValueError(said)

    pool_type = Lab()
    pool_type.variables = Agreeing
    with pytest.raises(InvalidValues) as refused:
        variables.validate(pool_type, {"project": variables.Given("p", "--set")})
    assert refused.value.problems == (told,)


def test_a_credential_is_waited_for_as_long_as_the_pool_type_says(monkeypatch):
    credentials.wait_until_accepted(Lab("missing", "missing", "allowed"), Connection(), None)
    monkeypatch.setattr(Lab, "patience", timedelta(0))
    with pytest.raises(PoolformError, match="The pool cannot be used: not known yet"):
        credentials.wait_until_accepted(Lab("missing", "allowed"), Connection(), None)
