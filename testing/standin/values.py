"""Terraform's values in Python: how they travel, and how a schema shapes them.

An object is a dict of all its attributes, null ones too; a list or set is a list; a number is an int, a float where
that is exact, else its digits as a string (Terraform's numbers have 512 bits, so 0.1 is none of Python's floats).
UNKNOWN is Terraform's "known after apply".
"""

from __future__ import annotations

import json
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final, final

import msgpack

from poolform.testing.standin.protocol import DynamicValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from poolform.testing.standin.schema import Attribute, Block, Nested, Type

Attributes = dict[str, Any]
"""The value of a resource, a data source or a block."""


@final
class Unknown:
    """The type of UNKNOWN, of which there is one."""

    def __repr__(self) -> str:
        return "<known after apply>"

    def __copy__(self) -> Unknown:
        return self

    def __deepcopy__(self, memo: object) -> Unknown:
        return self


UNKNOWN: Final = Unknown()


def unpack(value: DynamicValue | None) -> Any:
    """Read a value that Terraform sent; None for null and for a value that it left out."""
    if value is None:
        return None
    if value.msgpack:
        return msgpack.unpackb(value.msgpack, ext_hook=lambda _code, _data: UNKNOWN, strict_map_key=False)
    return read_json(value.json) if value.json else None


def pack(value: Any) -> DynamicValue:
    """Write a value for Terraform."""
    return DynamicValue(msgpack=msgpack.packb(value, default=_pack_unknown))


def _pack_unknown(value: object) -> msgpack.ExtType:
    if value is UNKNOWN:
        return msgpack.ExtType(0, b"\x00")
    raise TypeError(f"A value of Terraform can't be {value!r}.")


def read_json(text: str | bytes) -> Any:
    """Read JSON with numbers as `unpack` gives them."""
    return json.loads(text, parse_float=_number)


def _number(digits: str) -> float | str:
    return float(digits) if Decimal(digits) == Decimal(float(digits)) else digits


def conform(block: Block, value: Mapping[str, Any]) -> Attributes:
    """Return a value from JSON with exactly the attributes of its schema, the absent ones null."""
    shaped: Attributes = {name: _conform_type(item.type, value.get(name)) for name, item in block.attributes.items()}
    for name, nested in block.nested().items():
        shaped[name] = _map_nested(nested, value.get(name), partial(conform, nested.block))
        if shaped[name] is None and name in block.blocks and nested.mode not in ("single", "group"):
            shaped[name] = {} if nested.mode == "map" else []  # no blocks is none of them, never null
    return shaped


def _conform_type(type_: Type, value: Any) -> Any:
    if type_ != "dynamic" or value is None:
        return value
    # The state file tells a dynamic value's type in an object, MessagePack in a pair, as JSON the way Go writes it.
    if isinstance(value, dict):
        value = (json.dumps(value["type"], separators=(",", ":")), value["value"])
    kind, inner = value
    return [kind.encode() if isinstance(kind, str) else kind, inner]


def _map_nested(nested: Nested, value: Any, change: Callable[[Attributes], Any]) -> Any:
    """Return nested objects changed one by one; null and unknown ones stay as they are."""
    if value is None or value is UNKNOWN:
        return value
    if nested.mode in ("single", "group"):
        return change(value)
    if nested.mode == "map":
        return {key: change(inner) for key, inner in value.items()}
    return [inner if inner is None or inner is UNKNOWN else change(inner) for inner in value]


def map_attributes(block: Block, value: Attributes, change: Callable[[str, Attribute, Any], Any]) -> Attributes:
    """Return `value` with each attribute, at all depths, replaced by `change(its name, its schema, its value)`.

    A nested attribute is changed first; then what is inside of it.
    """
    new = {**value, **{name: change(name, item, value.get(name)) for name, item in block.attributes.items()}}
    for name, nested in block.nested().items():
        new[name] = _map_nested(nested, new.get(name), partial(map_attributes, nested.block, change=change))
    return new


def zero(type_: Type) -> Any:
    """Return the emptiest value of a type."""
    if not isinstance(type_, list):
        return {"string": "", "number": 0, "bool": False}.get(type_)
    if type_[0] == "object":
        return {name: zero(inner) for name, inner in type_[1].items()}
    if type_[0] == "tuple":
        return [zero(inner) for inner in type_[1]]
    return {} if type_[0] == "map" else []


def look(value: Any, path: str) -> Any:
    """Return what is at a dotted path (`metadata.0.name`), None where nothing is."""
    for step in path.split("."):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return UNKNOWN if value is UNKNOWN else None
    return value


def known(value: Attributes) -> Iterator[tuple[str, Any]]:
    """Yield the attributes that are set and known."""
    return ((name, item) for name, item in value.items() if item is not None and item is not UNKNOWN)
