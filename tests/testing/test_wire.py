"""The codec against bytes worked out by hand from the encoding's documentation."""

# ruff: noqa: RUF009, TC003 - as in protocol.py

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from poolform.testing.standin.protocol import (
    AttributePath,
    AttributeSchema,
    Diagnostic,
    ObjectSchema,
    ProviderSchema,
    Schema,
    Step,
)
from poolform.testing.standin.wire import at, decode, encode


@dataclass(frozen=True)
class Everything:
    number: int = at(1, 0)
    text: str = at(2, "")
    many: tuple[int, ...] = at(3, ())
    either: int | None = at(4, None)
    flag: bool = at(5, default=False)
    raw: bytes = at(6, b"")
    inner: Inner | None = at(7, None)
    named: Mapping[str, Inner] = at(16, {})


@dataclass(frozen=True)
class Inner:
    text: str = at(1, "")


@pytest.mark.parametrize(
    ("message", "data"),
    [
        (Everything(), b""),
        (Everything(number=150), b"\x08\x96\x01"),
        (Everything(text="testing"), b"\x12\x07testing"),
        (Everything(many=(1, 0)), b"\x18\x01\x18\x00"),
        (Everything(either=0), b"\x20\x00"),
        (Everything(flag=True), b"\x28\x01"),
        (Everything(raw=b"\xff"), b"\x32\x01\xff"),
        (Everything(inner=Inner("ö")), b"\x3a\x04\x0a\x02\xc3\xb6"),
        (Everything(inner=Inner()), b"\x3a\x00"),
    ],
)
def test_bytes_are_those_of_the_format(message, data):
    assert encode(message) == data
    assert decode(Everything, data) == message


def test_a_map_is_repeated_pairs_of_key_and_value():
    assert encode(Everything(named={"k": Inner("v")})) == b"\x82\x01\x08\x0a\x01k\x12\x03\x0a\x01v"


def test_unknown_fields_of_every_wire_type_are_skipped():
    unknown = b"\xa0\x06\x01" + b"\xa1\x06" + bytes(8) + b"\xa2\x06\x02ab" + b"\xa5\x06" + bytes(4)
    assert decode(Everything, unknown + b"\x08\x01" + unknown) == Everything(number=1)


def test_messages_survive_the_way_there_and_back():
    path = AttributePath((Step("metadata"), Step(element_key_int=0), Step(element_key_string="k")))
    diagnostic = Diagnostic(1, "no", "really", path)
    assert decode(Diagnostic, encode(diagnostic)) == diagnostic
    nested = AttributeSchema("a", nested_type=ObjectSchema((AttributeSchema("b", b'"string"', required=True),), 2))
    assert decode(AttributeSchema, encode(nested)) == nested


def test_equal_schemas_give_equal_bytes():
    schemas = {name: Schema(1) for name in "abc"}
    assert encode(ProviderSchema(resource_schemas=schemas)) == encode(ProviderSchema(resource_schemas=dict(schemas)))
