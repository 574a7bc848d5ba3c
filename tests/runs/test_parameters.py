"""Parameters: a schema from a signature, values checked against it, KEY=VALUE read with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID  # noqa: TC003 - evaluated as an annotation

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from poolform import flow
from poolform.core.errors import InvalidValues, UsageError
from poolform.core.runs import docstrings, parameters
from poolform.core.runs.schemas import check

if TYPE_CHECKING:
    from decimal import Decimal


class City(BaseModel):
    name: str
    size: int = 0


@dataclass
class Point:
    x: int
    y: int


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Opaque:
    pass


def every_kind(
    text: str,
    number: int | None,
    ratio: Annotated[float, Field(ge=0, le=1)],
    city: City,
    points: list[Point],
    colour: Colour,
    kind: Literal["a", "b"],
    at: datetime,
    key: UUID,
    opaque: Opaque,
    anything,
    schema: dict[str, Any],
    _hidden: str = "x",
    where: Path = Path("/tmp"),
    strange: Opaque = Opaque(),  # noqa: B008
    colours: tuple[Colour, ...] = (Colour.RED,),
    *,
    model_config: bool = False,
):
    pass


def test_every_kind_of_annotation_has_its_schema():
    schema = parameters.schema_of(every_kind)
    assert check(schema) is None
    properties = schema["properties"]
    assert properties["text"] == {"type": "string"}
    assert properties["number"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    assert properties["ratio"] == {"type": "number", "minimum": 0, "maximum": 1}
    assert properties["city"] == {"$ref": "#/$defs/City"}
    assert properties["points"] == {"type": "array", "items": {"$ref": "#/$defs/Point"}}
    assert schema["$defs"]["Colour"]["enum"] == ["red", "blue"]
    assert properties["kind"]["enum"] == ["a", "b"]
    assert properties["at"] == {"type": "string", "format": "date-time"}
    assert properties["opaque"] == properties["anything"] == {}
    assert properties["_hidden"] == {"type": "string", "default": "x"}
    assert properties["where"] == {"type": "string", "format": "path", "default": "/tmp"}
    assert properties["colours"]["default"] == ["red"]
    assert "default" not in properties["strange"]
    assert schema["required"] == list(properties)[:12]
    assert schema["additionalProperties"] is False


def test_flows_methods_objects_and_coroutines_have_schemas_too():
    @flow(name="x")
    async def as_flow(n: int = 1):
        pass

    class Callable:
        def __call__(self, n: int = 1):
            pass

    expected = {"additionalProperties": False, "properties": {"n": {"type": "integer", "default": 1}}, "type": "object"}
    assert parameters.schema_of(as_flow) == expected
    assert parameters.schema_of(Callable()) == expected
    assert parameters.schema_of(Callable().__call__) == expected
    assert parameters.schema_of(lambda: 0)["properties"] == {}


def test_names_that_only_type_checkers_see_may_be_anything():
    def run(amount: Decimal, n: int):
        pass

    assert parameters.schema_of(run)["properties"] == {"amount": {}, "n": {}}


def test_keywords_of_any_name_are_allowed_where_the_flow_takes_them():
    def run(n: int, *rest: str, **more: Any):
        pass

    schema = parameters.schema_of(run)
    parameters.validate(schema, {"n": 1, "whatever": "x"}, flow="run")
    assert list(schema["properties"]) == ["n"]


DOCSTRINGS = {
    "google": """Load a city.

    Longer words.

    Args:
        city (str): The city's name,
            in any language.
        limit: How many: at most.

    Returns:
        Rows: many.
    """,
    "numpy": """Load a city.

    Parameters
    ----------
    city : str
        The city's name,
        in any language.
    limit : int, optional
        How many: at most.

    Returns
    -------
    rows
        Many.
    """,
    "sphinx": """Load a city.

    :param str city: The city's name,
        in any language.
    :param limit: How many: at most.
    :returns: Rows.
    """,
}


@pytest.mark.parametrize("text", DOCSTRINGS.values(), ids=DOCSTRINGS)
def test_descriptions_come_from_docstrings(text):
    assert docstrings.parameters(text) == {"city": "The city's name, in any language.", "limit": "How many: at most."}
    assert docstrings.summary(text) == "Load a city."

    def run(city: str, limit: int = 3):
        pass

    run.__doc__ = text
    properties = parameters.schema_of(flow(run))["properties"]
    assert properties["city"]["description"] == "The city's name, in any language."


@given(st.text())
def test_no_docstring_is_too_strange(text):
    docstrings.parameters(text)
    docstrings.summary(text)


GOOD = {
    "text": "a",
    "number": None,
    "ratio": 0.5,
    "city": {"name": "Bern"},
    "points": [{"x": 1, "y": 2}],
    "colour": "red",
    "kind": "a",
    "at": "2026-01-02T03:04:05Z",
    "key": "6a2f41a3-c54c-fce8-32d2-0324e1c32e22",
    "opaque": [1],
    "anything": 1,
    "schema": {},
}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"text": 1}, "text: 1 is not a string."),
        ({"number": "ten"}, 'number: "ten" is not an integer or null.'),
        ({"ratio": 2}, "ratio: 2 is greater than the maximum of 1."),
        ({"city": {"size": 1}}, "city.name: it is required and missing."),
        ({"points": [{"x": 1, "y": "b"}]}, 'points.0.y: "b" is not an integer.'),
        ({"colour": "pink"}, 'colour: "pink" is not "red" or "blue".'),
        ({"at": "soon"}, 'at: "soon" is not a date-time.'),
        ({"key": "7"}, 'key: "7" is not a uuid.'),
        ({"txet": "a"}, "txet: there is no such parameter. Did you mean text?"),
    ],
)
def test_values_that_do_not_fit_are_named(changes, problem):
    schema = parameters.schema_of(every_kind)
    parameters.validate(schema, GOOD, flow="every")
    with pytest.raises(InvalidValues) as caught:
        parameters.validate(schema, {**GOOD, **changes}, flow="every")
    assert caught.value.problems == (problem,)
    assert str(caught.value) == f"The parameters do not fit the flow every:\n  {problem}"


def test_what_is_missing_is_named_even_when_nothing_is_given():
    with pytest.raises(InvalidValues, match="text: it is required and missing"):
        parameters.validate(parameters.schema_of(every_kind), {}, flow="every")


def test_python_values_become_json_and_the_others_are_refused_by_name():
    values = {"city": City(name="Bern"), "point": Point(1, 2), "day": date(2026, 1, 2), "at": datetime.now(UTC)}
    values |= {"where": Path("/a"), "colour": Colour.RED, "some": {1, 2}}
    converted = parameters.to_json(values)
    assert converted["city"] == {"name": "Bern", "size": 0}
    assert (converted["point"], converted["day"], converted["where"]) == ({"x": 1, "y": 2}, "2026-01-02", "/a")
    with pytest.raises(InvalidValues) as caught:
        parameters.to_json({"good": 1, "socket": Opaque(), "ratio": {"a": [float("nan")]}})
    assert caught.value.problems == (
        "socket: a value of the type Opaque cannot be sent to a job: it is not JSON.",
        "ratio: NaN and infinity cannot be sent to a job: they are not JSON.",
    )


def typed(
    text: str = "",
    maybe: str | None = None,
    number: int = 0,
    items: list[int] | None = None,
    either: int | str = 0,
    colour: Colour = Colour.RED,
    city: City | None = None,
    tags: dict[str, str] | None = None,
    free: Any = None,
    *,
    flag: bool = False,
):
    pass


@pytest.mark.parametrize(
    ("assignment", "name", "value"),
    [
        ("text=7", "text", "7"),
        ("text=null", "text", "null"),
        ('text="quoted"', "text", '"quoted"'),
        ("text=a=b", "text", "a=b"),
        ("text=", "text", ""),
        ("maybe=null", "maybe", None),
        ("maybe=7", "maybe", "7"),
        ("number=7", "number", 7),
        ("number=seven", "number", "seven"),
        ("flag=true", "flag", True),
        ("items=[1, 2]", "items", [1, 2]),
        ("either=7", "either", 7),
        ("colour=blue", "colour", "blue"),
        ('city={"name": "Bern"}', "city", {"name": "Bern"}),
        ("tags.team=7", "tags", {"team": "7"}),
        ("free=7", "free", 7),
        ('free="7"', "free", "7"),
        ("free=seven", "free", "seven"),
        ("unknown=7", "unknown", 7),
    ],
)
def test_assignments_are_json_where_the_schema_wants_it(assignment, name, value):
    assert parameters.parse_assignments([assignment], parameters.schema_of(typed)) == {name: value}


def test_assignments_that_are_none_are_refused_and_later_ones_win():
    with pytest.raises(UsageError, match="--param 'text' is not of the form KEY=VALUE"):
        parameters.parse_assignments(["text"], {})
    with pytest.raises(UsageError, match="--job-variable '=x' is not"):
        parameters.parse_assignments(["=x"], {}, option="--job-variable")
    assert parameters.parse_assignments(["a=1", "a=2"], {}) == {"a": 2}
