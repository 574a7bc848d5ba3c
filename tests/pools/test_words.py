"""What is said of values that do not fit, and of attributes that a plan changes: in plain words, and never a secret."""

from __future__ import annotations

import pytest

from poolform.core.blocks import validated
from poolform.core.errors import InvalidValues, UsageError
from poolform.core.pools.contract import Block
from poolform.core.runs.images import DockerImage
from poolform.core.runs.parameters import to_json
from poolform.core.terraform.plan import Change


class Login(Block):
    block_type = "login"
    username: str
    password: str


def test_blocks_speak_no_pydantic():
    with pytest.raises(InvalidValues) as caught:
        validated({"login": Login}, "login", {"username": 1, "pasword": "hunter2"})
    assert caught.value.problems == (
        "username: it should be a valid string.",
        "password: it is required and was not given.",
        "pasword: there is no such field. Did you mean password?",
    )


def test_what_an_update_changes_is_said_with_its_values_unless_they_are_secret():
    change = Change(
        "terraform_data.pool", "terraform_data", "pool", "update",
        before={"input": {"id": "x", "folder": "/a"}, "size": 1, "key": "old", "many": [1]},
        after={"input": {"id": "x", "folder": "/b"}, "size": 2, "key": "new", "many": [2]},
        sensitive=frozenset({"key"}), unknown=frozenset({"output"}),
    )  # fmt: skip
    said = change.sentence({"terraform_data": "a pool"})
    assert said == 'Change the pool: input.folder ("/a" → "/b"), key, many and size (1 → 2)'


@pytest.mark.parametrize(("wrong", "right"), [("UPPER case", "upper-case"), ("Mine", "mine"), ("a b/C", "a-b/c")])
def test_a_name_that_is_suggested_for_an_image_is_one(wrong, right):
    with pytest.raises(UsageError) as caught:
        DockerImage(wrong)
    assert caught.value.hint == f"Write it so: {right}."
    assert DockerImage(right).name == right


def test_a_value_that_is_not_json_is_named_by_its_type():
    with pytest.raises(InvalidValues, match="a value of the type object cannot be sent to a job: it is not JSON"):
        to_json({"x": object()})
