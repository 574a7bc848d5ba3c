"""A flow's parameters: their JSON Schema, read from its signature when it is deployed, and values checked with it."""

from __future__ import annotations

import inspect
import json
import math
from typing import TYPE_CHECKING, Any

from poolform.core.errors import InvalidValues, UsageError
from poolform.core.runs import docstrings, schemas

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from poolform.core.runs.launchers import Json

_NO_DEFAULT = inspect.Parameter.empty


def schema_of(function: Callable[..., Any]) -> dict[str, Json]:
    """Return the JSON Schema of a callable's parameters, as an object.

    Types come from the annotations (pydantic models and dataclasses included), defaults from the signature as far as
    they are JSON, descriptions from the docstring. What pydantic knows nothing of may be anything.
    """
    from pydantic import ConfigDict, Field, create_model

    signature = inspect.signature(function)
    hints = _hints(function)
    described = docstrings.parameters(inspect.getdoc(inspect.unwrap(function)))
    fields: dict[str, Any] = {}
    more = False
    for index, (name, parameter) in enumerate(signature.parameters.items()):
        if parameter.kind is parameter.VAR_KEYWORD:
            more = True
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            hint, default = _with_schema(hints.get(name, Any)), _json_default(parameter.default)
            # Any name is a good parameter; not every one is a good field of a pydantic model.
            fields[f"p{index}"] = (hint, Field(alias=name, description=described.get(name), **default))
    config = ConfigDict(extra="allow" if more else "forbid", arbitrary_types_allowed=True)
    schema: dict[str, Json] = create_model("Parameters", __config__=config, **fields).model_json_schema(by_alias=True)
    schema.setdefault("properties", {})
    schema.pop("title", None)
    for name, described_as in schema["properties"].items():
        if described_as.get("title") == name.title().replace("_", " ").strip():
            del described_as["title"]
    return schema


def validate(schema: Mapping[str, Json], values: Mapping[str, Json], *, flow: str) -> None:
    """Refuse parameters that do not fit, by name. Raises InvalidValues."""
    if found := schemas.problems(schema, values, noun="parameter"):
        raise InvalidValues(f"The parameters do not fit the flow {flow}:", found)


def to_json(values: Mapping[str, object]) -> dict[str, Json]:
    """Return Python values as what a job receives: models, dates, paths and the like become JSON.

    Raises InvalidValues naming each that cannot.
    """
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    converted: dict[str, Json] = {}
    found = []
    for name, value in values.items():
        try:
            converted[name] = to_jsonable_python(value, inf_nan_mode="constants")
        except (PydanticSerializationError, ValueError):
            found.append(f"{name}: a value of the type {type(value).__name__} cannot be sent to a job: it is not JSON.")
            continue
        if _has_nan(converted[name]):
            found.append(f"{name}: NaN and infinity cannot be sent to a job: they are not JSON.")
    if found:
        raise InvalidValues("Some parameters cannot be stored:", found, hint="Pass a path or a key to load it by.")
    return converted


def parse_assignments(
    assignments: Iterable[str], schema: Mapping[str, Json], *, option: str = "--param"
) -> dict[str, Json]:
    """Read KEY=VALUE pairs. A value is JSON where it parses as such and the schema takes that, else it is text.

    `KEY.INNER=VALUE` sets one key of an object. Later ones win. Raises UsageError for what is no pair.
    """
    values: dict[str, Json] = {}
    properties = schema.get("properties", {})
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} {assignment!r} is not of the form KEY=VALUE.")
        outer, dot, inner = name.partition(".")
        if dot and name not in properties and outer in properties:
            known = values.setdefault(outer, {})
            if isinstance(known, dict):
                known[inner] = _parse(text, _inner_schema(schema, outer))
                continue
        values[name] = _parse(text, _inner(schema, properties.get(name, {})))
    return values


def parse_object(text: str, *, option: str) -> dict[str, Json]:
    """Read a JSON object. Raises UsageError, which names the option, for what is none."""
    try:
        values = json.loads(text)
    except ValueError as exc:
        raise UsageError(f"{option} is not JSON: {exc}.", hint=f'Write {option} \'{{"name": "value"}}\'.') from exc
    if not isinstance(values, dict):
        raise UsageError(f"{option} is not a JSON object.", hint=f'Write {option} \'{{"name": "value"}}\'.')
    return values


def _parse(text: str, schema: Mapping[str, Json]) -> Json:
    if schema.get("type") == "string":
        return text
    try:
        parsed = json.loads(text)
    except ValueError:
        return text
    return text if schemas.fits(schema, text) and not schemas.fits(schema, parsed) else parsed


def _inner(schema: Mapping[str, Json], part: Mapping[str, Json]) -> dict[str, Json]:
    """Return a part of a schema that can stand alone: with the definitions that it may refer to."""
    shared = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    return {**part, **shared}


def _inner_schema(schema: Mapping[str, Json], name: str) -> dict[str, Json]:
    whole = schema["properties"][name]
    parts = [option.get("additionalProperties") for option in (whole, *whole.get("anyOf", ()))]
    return _inner(schema, next((part for part in parts if isinstance(part, dict)), {}))


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return evaluated annotations; where one cannot be (a name that only type checkers see), none."""
    from typing import get_type_hints

    inner = inspect.unwrap(function)
    if not inspect.isroutine(inner) and not inspect.isclass(inner):
        inner = type(inner).__call__
    try:
        return get_type_hints(inner, include_extras=True)
    except (NameError, TypeError):
        return {}


def _with_schema(hint: Any) -> Any:
    """Return `hint`, or Any where pydantic has no JSON Schema for it."""
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    try:
        TypeAdapter(hint).json_schema()
    except (PydanticUserError, TypeError, NameError):
        return Any
    return hint


def _json_default(default: Any) -> dict[str, Any]:
    """Return the default for a field: shown in the schema where it is JSON, else only known to be there."""
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    if default is _NO_DEFAULT:
        return {}
    try:
        value = to_jsonable_python(default)
        json.dumps(value, allow_nan=False)
    except (PydanticSerializationError, ValueError):
        return {"default_factory": lambda: default}
    return {"default": value}


def _has_nan(value: Json) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(map(_has_nan, value.values()))
    return isinstance(value, list) and any(map(_has_nan, value))
