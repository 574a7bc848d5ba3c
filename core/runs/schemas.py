"""JSON Schema, and its complaints in sentences."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from poolform.core.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from jsonschema import FormatChecker, ValidationError

    from poolform.core.runs.launchers import Json

_SHOWN = 60
"""Most characters of a value in a sentence."""
_NEVER_SHOWN = "env"
"""Values below this key stay out of sentences: people keep secrets there."""


def problems(schema: Mapping[str, Json], values: Mapping[str, Json], *, noun: str) -> list[str]:
    """Return what is wrong with `values`, a sentence a problem, each starting with the path of the value.

    `noun` is what one value is called: "parameter", "job variable".
    """
    if not values and not schema.get("required"):
        return []  # the usual case, and importing jsonschema takes longer than many a run
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(schema, format_checker=_format_checker())
    found: dict[str, None] = {}  # in order, each once
    for error in sorted(validator.iter_errors(values), key=lambda error: [str(part) for part in error.absolute_path]):
        found.update(dict.fromkeys(_sentences(error, noun)))
    return list(found)


def check(schema: Json) -> str | None:
    """Return what makes `schema` no JSON Schema, None where it is one."""
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as exc:
        path = ".".join(map(str, exc.absolute_path))
        return f"{path}: {exc.message}" if path else exc.message
    return None


def fits(schema: Mapping[str, Json], value: Json) -> bool:
    """Say whether a value fits a schema."""
    from jsonschema import Draft202012Validator

    return bool(Draft202012Validator(schema, format_checker=_format_checker()).is_valid(value))


def shown(value: Json) -> str:
    """Return a value as JSON for a sentence, shortened."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _sentences(error: ValidationError, noun: str) -> Iterable[str]:
    path = ".".join(map(str, error.absolute_path))
    instance: Any = error.instance
    limit: Any = error.validator_value
    schema: Any = error.schema
    prefix = f"{path}: " if path else ""
    value = "its value" if error.absolute_path and error.absolute_path[0] == _NEVER_SHOWN else shown(instance)
    if error.validator == "required":
        inside = f"{path}." if path else ""
        return [f"{inside}{name}: it is required and missing." for name in limit if name not in instance]
    if error.validator == "additionalProperties" and limit is False:
        known = schema.get("properties", {})
        inside = f"{path}." if path else ""
        thing = "key" if path else noun
        return [
            f"{inside}{name}: there is no such {thing}{f'. {nearest(name, known)}' if known else '; it takes none.'}"
            for name in instance
            if name not in known
        ]
    if error.validator == "type":
        return [f"{prefix}{value} is not {_either(limit)}."]
    if error.validator in ("enum", "const"):
        allowed = limit if error.validator == "enum" else [limit]
        return [f"{prefix}{value} is not {' or '.join(map(shown, allowed))}."]
    if error.validator == "format":
        return [f"{prefix}{value} is not a {limit}."]
    if error.validator in ("anyOf", "oneOf") and error.context:
        return _of_several(error, prefix, value, noun)
    if value == "its value":
        return [f"{prefix}its value does not fit ({error.validator}: {shown(limit)})."]
    return [f"{prefix}{error.message[:300]}."]


def _of_several(error: ValidationError, prefix: str, value: str, noun: str) -> Iterable[str]:
    """Where only types differ, name them all; else explain the closest of the alternatives that are of its type."""
    from jsonschema.exceptions import best_match

    context = list(error.context or ())
    of_other_types = [inner for inner in context if inner.validator == "type" and not inner.relative_path]
    if len(of_other_types) == len(context):
        return [f"{prefix}{value} is not {_either([str(inner.validator_value) for inner in context])}."]
    out = {inner.schema_path[0] for inner in of_other_types}
    closest = best_match(inner for inner in context if inner.schema_path[0] not in out)
    return _sentences(closest, noun) if closest is not None else [f"{prefix}{value} does not fit."]


def _either(types: str | list[str]) -> str:
    names = [types] if isinstance(types, str) else types
    articles = {"integer": "an integer", "object": "an object", "array": "an array", "null": "null"}
    return " or ".join(articles.get(name, f"a {name}") for name in names)


@cache
def _format_checker() -> FormatChecker:
    """Check the formats that pydantic writes for Python's own types; every other one is left to the flow."""
    from datetime import date, datetime, time
    from uuid import UUID

    from jsonschema import FormatChecker

    checker = FormatChecker(formats=())
    readers: dict[str, Callable[[str], object]] = {
        "date-time": datetime.fromisoformat,
        "date": date.fromisoformat,
        "time": time.fromisoformat,
        "uuid": UUID,
    }
    for name, reader in readers.items():
        checker.checks(name, raises=ValueError)(
            lambda value, reader=reader: not isinstance(value, str) or reader(value) is not None
        )
    return checker
