"""The protobuf wire format, for messages declared as frozen dataclasses.

No generated code and no protobuf package: its versions fight with those that the cloud SDKs pin, and a provider
needs only a small slice. A message declares each field with its number and its default, and the annotation gives the
encoding: `int` and `bool` are varints, `str` and `bytes` are length-delimited, another message is nested,
`tuple[X, ...]` is repeated, `Mapping[str, X]` is a map. A field that equals its default is left out, as proto3 does;
a member of a `oneof` is `X | None`, so that its zero is sent.

Format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBER = "wire number"
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5


class Message(Protocol):
    """A frozen dataclass whose fields were declared with `at`."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


M = TypeVar("M", bound=Message)
T = TypeVar("T")


def at(number: int, default: T) -> T:
    """Declare a message's field: its number on the wire, and the value that is not sent."""
    metadata = {_NUMBER: number}
    if isinstance(default, Mapping):  # a map is unhashable, which dataclasses refuse as a default
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class _Slot:
    """How one field travels. `kind` is the type of a single value, or of a map's values."""

    name: str
    number: int
    default: Any
    kind: type[Any]
    repeated: bool = False
    mapped: bool = False


@cache
def _slots(cls: type[Message]) -> Mapping[int, _Slot]:
    """Read the declarations of a message, by field number."""
    hints = get_type_hints(cls)
    slots = {}
    for declared in fields(cls):
        kind, shape = hints[declared.name], get_origin(hints[declared.name])
        if shape in (Union, types.UnionType):
            kind = next(arg for arg in get_args(kind) if arg is not type(None))
        elif shape is tuple:
            kind = get_args(kind)[0]
        elif shape is not None:
            kind = get_args(kind)[1]
        number = declared.metadata[_NUMBER]
        slots[number] = _Slot(
            declared.name,
            number,
            {} if shape is Mapping else declared.default,
            kind,
            repeated=shape is tuple,
            mapped=shape is Mapping,
        )
    return slots


def encode(message: Message) -> bytes:
    """Return the bytes of a message, fields in the order of their declaration."""
    return b"".join(_chunks(message))


def _chunks(message: Message) -> Iterator[bytes]:
    for slot in _slots(type(message)).values():
        value = getattr(message, slot.name)
        if value == slot.default:
            continue
        if slot.mapped:
            for key, item in value.items():
                yield _delimited(slot.number, _delimited(1, key.encode()) + _delimited(2, encode(item)))
        else:
            for item in value if slot.repeated else (value,):
                yield _single(slot, item)


def _single(slot: _Slot, value: Any) -> bytes:
    if isinstance(value, int):
        return _varint(slot.number << 3 | _VARINT) + _varint(int(value))
    if isinstance(value, str):
        return _delimited(slot.number, value.encode())
    return _delimited(slot.number, value if isinstance(value, bytes) else encode(value))


def _delimited(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | _DELIMITED) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # a negative number is sent as its two's complement
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode(cls: type[M], data: bytes) -> M:
    """Read a message; unknown fields are skipped, absent ones have their defaults. Maps are sent only, never read."""
    slots = _slots(cls)
    values: dict[str, Any] = {}
    for number, raw in _raw_fields(data):
        slot = slots.get(number)
        if slot is None or slot.mapped:
            continue
        value = _value(slot.kind, raw)
        if slot.repeated:
            values[slot.name] = (*values.get(slot.name, ()), value)
        else:
            values[slot.name] = value
    return cls(**values)


def _value(kind: type[Any], raw: int | bytes) -> Any:
    if isinstance(raw, int):
        return kind(raw)
    if kind is str:
        return raw.decode()
    return raw if kind is bytes else decode(kind, raw)


def _raw_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at_byte = 0
    while at_byte < len(data):
        key, at_byte = _read_varint(data, at_byte)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value, at_byte = _read_varint(data, at_byte)
            yield number, value
            continue
        if wire_type == _DELIMITED:
            size, at_byte = _read_varint(data, at_byte)
        else:
            size = {_FIXED64: 8, _FIXED32: 4}[wire_type]
        yield number, data[at_byte : at_byte + size]
        at_byte += size


def _read_varint(data: bytes, at_byte: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at_byte]
        at_byte += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at_byte
