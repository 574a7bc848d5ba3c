"""The little HCL that Poolform writes itself: literals, types and blocks, laid out as `terraform fmt` would."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from poolform.core.errors import PoolformError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from poolform.core.runs.launchers import Json


def quote(text: str) -> str:
    """Return `text` as an HCL string that means exactly `text`.

    JSON's escapes, plus the two that would start an expression: `${` and `%{`.
    """
    return json.dumps(text, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def literal(value: Json) -> str:
    """Return a JSON value as an HCL expression on one line."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, dict):
        items = ", ".join(f"{quote(key)} = {literal(item)}" for key, item in value.items())
        return f"{{ {items} }}" if items else "{}"
    return json.dumps(value)


def attributes(pairs: Mapping[str, str], indent: str = "  ") -> str:
    """Lay out `key = expression` lines with their equals signs in one column."""
    width = max(map(len, pairs), default=0)
    return "".join(f"{indent}{key:<{width}} = {expression}\n" for key, expression in pairs.items())


def type_constraint(schema: Mapping[str, Json], definitions: Mapping[str, Json]) -> str:
    """Return the Terraform type of what a JSON Schema describes.

    Raises PoolformError for shapes that Terraform has no type for (unions, tuples).
    """
    schema = _resolved(schema, definitions)
    match schema:
        case {"enum": [first, *rest]} if all(type(value) is type(first) for value in rest):
            return {str: "string", bool: "bool"}.get(type(first), "number")
        case {"const": value}:
            return {str: "string", bool: "bool"}.get(type(value), "number")
        case {"type": "string"}:
            return "string"
        case {"type": "integer" | "number"}:
            return "number"
        case {"type": "boolean"}:
            return "bool"
        case {"type": "array", "items": items}:
            # Sets travel as JSON lists, sorted or not; Terraform makes them one again and ignores the order.
            kind = "set" if schema.get("uniqueItems") else "list"
            return f"{kind}({type_constraint(items, definitions)})"
        case {"type": "object", "properties": properties}:
            return _object_type(properties, schema.get("required", ()), definitions)
        case {"type": "object", "additionalProperties": dict() as items}:
            return f"map({type_constraint(items, definitions)})"
    raise PoolformError(f"Terraform has no type for {json.dumps(dict(schema))[:200]}.")


def nullable(schema: Mapping[str, Json]) -> bool:
    """Say whether a JSON Schema admits null."""
    return schema.get("type") == "null" or any(nullable(option) for option in schema.get("anyOf", ()))


def allowed(schema: Mapping[str, Json], definitions: Mapping[str, Json]) -> Sequence[Json] | None:
    """Return the values that an enumeration admits, None for anything else."""
    values: Sequence[Json] | None = _resolved(schema, definitions).get("enum")
    return values


def _object_type(properties: Mapping[str, Json], required: Sequence[str], definitions: Mapping[str, Json]) -> str:
    fields = []
    for name, field in properties.items():
        constraint = type_constraint(field, definitions)
        fields.append(f"{name} = {constraint if name in required else f'optional({constraint})'}")
    return f"object({{ {', '.join(fields)} }})"


def _resolved(schema: Mapping[str, Json], definitions: Mapping[str, Json]) -> Mapping[str, Json]:
    """Follow a reference, and see through `X or null`."""
    while True:
        if "$ref" in schema:
            schema = definitions[schema["$ref"].rsplit("/", 1)[-1]]
            continue
        options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
        if len(options) != 1:
            return schema
        schema = options[0]
