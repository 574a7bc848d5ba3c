"""What a provider's resource types look like: read from Terraform's own description, or written in a few lines.

    schema("acme/lab", resources={
        "lab_cluster": {
            "name": Required("string"),
            "id": Computed("string"),
            "tags": Optional(["map", "string"]),
            "node": Blocks({"size": Required("number")}),
        },
    })

Types are written as Terraform writes them in JSON: "string", "number", "bool", "dynamic", ["list", T], ["set", T],
["map", T], ["object", {name: T}], ["tuple", [T]].
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from poolform.testing.standin import protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Type = Any
"""A Terraform type, in its JSON syntax."""

Mode = Literal["single", "group", "list", "set", "map"]

DEFAULT_HOST = "registry.terraform.io"
_BLOCK_NESTING = {"single": 1, "list": 2, "set": 3, "map": 4, "group": 5}
_OBJECT_NESTING = {"single": 1, "list": 2, "set": 3, "map": 4}
_FLAGS = ("required", "optional", "computed", "sensitive", "write_only", "deprecated")


@dataclass(frozen=True)
class Attribute:
    """One attribute: of a Terraform type, or, where `nested` is set, made of attributes itself."""

    type: Type = None
    nested: Nested | None = None
    required: bool = False
    optional: bool = False
    computed: bool = False
    sensitive: bool = False
    write_only: bool = False
    deprecated: bool = False


@dataclass(frozen=True)
class Nested:
    """A block inside another, or the inside of a nested attribute; `max_items` 0 is no bound."""

    block: Block
    mode: Mode = "list"
    min_items: int = 0
    max_items: int = 0


@dataclass(frozen=True)
class Block:
    """Attributes and nested blocks, by name."""

    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    blocks: Mapping[str, Nested] = field(default_factory=dict)

    def nested(self) -> Mapping[str, Nested]:
        """Return all that is nested, whether block or attribute: their values look the same."""
        inside = {name: attribute.nested for name, attribute in self.attributes.items() if attribute.nested}
        return {**inside, **self.blocks}


@dataclass(frozen=True)
class TypeSchema:
    """A resource type or data source; `version` is that of its state."""

    block: Block
    version: int = 0


@dataclass(frozen=True)
class Schema:
    """A provider: its full source address, its own configuration, its resource types and data sources."""

    source: str
    configuration: Block = field(default_factory=Block)
    resources: Mapping[str, TypeSchema] = field(default_factory=dict)
    data_sources: Mapping[str, TypeSchema] = field(default_factory=dict)
    version: str = "1.0.0"
    """The version that the stand-in passes for; a mirror offers it to the module's constraints."""

    @property
    def name(self) -> str:
        """The last part of the source address, which begins the names of the resource types."""
        return self.source.rsplit("/", 1)[1]


# -- written in Python ---------------------------------------------------------------------------------------------


def Required(type: Type, *, sensitive: bool = False) -> Attribute:  # noqa: A002, N802 - reads as Terraform's docs do
    """Declare an attribute that a configuration must set."""
    return Attribute(type, required=True, sensitive=sensitive)


def Optional(  # noqa: N802
    type: Type,  # noqa: A002
    *,
    computed: bool = False,
    sensitive: bool = False,
    write_only: bool = False,
) -> Attribute:
    """Declare an attribute that a configuration may set; `computed`: the cloud decides where it does not."""
    return Attribute(type, optional=True, computed=computed, sensitive=sensitive, write_only=write_only)


def Computed(type: Type, *, sensitive: bool = False) -> Attribute:  # noqa: A002, N802
    """Declare an attribute that only the cloud sets."""
    return Attribute(type, computed=True, sensitive=sensitive)


def Blocks(  # noqa: N802
    inside: Mapping[str, Attribute | Nested], *, mode: Mode = "list", min_items: int = 0, max_items: int = 0
) -> Nested:
    """Declare a kind of nested block."""
    return Nested(block(inside), mode, min_items, max_items)


def block(inside: Mapping[str, Attribute | Nested]) -> Block:
    """Sort declarations into attributes and blocks."""
    return Block(
        {name: item for name, item in inside.items() if isinstance(item, Attribute)},
        {name: item for name, item in inside.items() if isinstance(item, Nested)},
    )


def schema(
    source: str,
    *,
    resources: Mapping[str, Mapping[str, Attribute | Nested]],
    data_sources: Mapping[str, Mapping[str, Attribute | Nested]] | None = None,
    provider: Mapping[str, Attribute | Nested] | None = None,
    version: str = "1.0.0",
) -> Schema:
    """Declare a provider. A `source` without a host is one of the public registry, as in a module."""
    return Schema(
        full_source(source),
        block(provider or {}),
        {name: TypeSchema(block(inside)) for name, inside in resources.items()},
        {name: TypeSchema(block(inside)) for name, inside in (data_sources or {}).items()},
        version,
    )


def full_source(source: str) -> str:
    """Return a provider's source address with its host."""
    return source if source.count("/") > 1 else f"{DEFAULT_HOST}/{source}"


# -- read from `terraform providers schema -json` ------------------------------------------------------------------


def read_schema(path: Path, source: str | None = None, *, version: str = "1.0.0") -> Schema:
    """Read a file that `terraform providers schema -json` printed; `source` picks one where it describes several."""
    return parse_schema(json.loads(path.read_text(encoding="utf-8")), source, version=version)


def parse_schema(document: Any, source: str | None = None, *, version: str = "1.0.0") -> Schema:
    """Turn the document of `terraform providers schema -json` into a Schema.

    Raises KeyError when `source` is not in it, ValueError when it must be given and is not.
    """
    described = document["provider_schemas"]
    if source is None and len(described) != 1:
        raise ValueError(f"The file describes {len(described)} providers ({', '.join(described)}); name one of them.")
    chosen = full_source(source) if source else next(iter(described))
    provider = described[chosen]
    return Schema(
        chosen,
        _parse_block(provider.get("provider", {}).get("block", {})),
        _parse_types(provider.get("resource_schemas", {})),
        _parse_types(provider.get("data_source_schemas", {})),
        version,
    )


def _parse_types(types: Any) -> dict[str, TypeSchema]:
    return {name: TypeSchema(_parse_block(data["block"]), data.get("version", 0)) for name, data in types.items()}


def _parse_block(data: Any) -> Block:
    return Block(
        {name: _parse_attribute(attribute) for name, attribute in data.get("attributes", {}).items()},
        {name: _parse_nested(nested, nested["block"]) for name, nested in data.get("block_types", {}).items()},
    )


def _parse_nested(data: Any, inside: Any) -> Nested:
    return Nested(_parse_block(inside), data["nesting_mode"], data.get("min_items") or 0, data.get("max_items") or 0)


def _parse_attribute(data: Any) -> Attribute:
    nested = data.get("nested_type")
    flags = {flag: bool(data.get(flag)) for flag in _FLAGS}
    return Attribute(data.get("type"), _parse_nested(nested, nested) if nested else None, **flags)


# -- written for another process -----------------------------------------------------------------------------------


def schema_document(schema: Schema) -> dict[str, Any]:
    """Return the inverse of `parse_schema`."""
    return {
        "format_version": "1.0",
        "provider_schemas": {
            schema.source: {
                "provider": {"version": 0, "block": _block_document(schema.configuration)},
                "resource_schemas": _types_document(schema.resources),
                "data_source_schemas": _types_document(schema.data_sources),
            }
        },
    }


def _types_document(types: Mapping[str, TypeSchema]) -> dict[str, Any]:
    return {name: {"version": item.version, "block": _block_document(item.block)} for name, item in types.items()}


def _block_document(block: Block) -> dict[str, Any]:
    return {
        "attributes": {name: _attribute_document(item) for name, item in block.attributes.items()},
        "block_types": {
            name: {"block": _block_document(item.block), **_nesting_document(item)}
            for name, item in block.blocks.items()
        },
    }


def _nesting_document(nested: Nested) -> dict[str, Any]:
    return {"nesting_mode": nested.mode, "min_items": nested.min_items, "max_items": nested.max_items}


def _attribute_document(attribute: Attribute) -> dict[str, Any]:
    flags = {flag: True for flag in _FLAGS if getattr(attribute, flag)}
    if attribute.nested:
        inside = _block_document(attribute.nested.block)["attributes"]
        return {"nested_type": {"attributes": inside, **_nesting_document(attribute.nested)}, **flags}
    return {"type": attribute.type, **flags}


# -- sent to Terraform ---------------------------------------------------------------------------------------------


def to_protocol(item: TypeSchema) -> protocol.Schema:
    """Return the schema as the plugin protocol has it."""
    return protocol.Schema(item.version, _block_message(item.block))


def _block_message(block: Block) -> protocol.BlockSchema:
    return protocol.BlockSchema(
        attributes=_attribute_messages(block),
        block_types=tuple(
            protocol.NestedBlock(
                name, _block_message(item.block), _BLOCK_NESTING[item.mode], item.min_items, item.max_items
            )
            for name, item in block.blocks.items()
        ),
    )


def _attribute_messages(block: Block) -> tuple[protocol.AttributeSchema, ...]:
    return tuple(
        protocol.AttributeSchema(
            name=name,
            type=b"" if item.nested else json.dumps(item.type).encode(),
            nested_type=_object_message(item.nested) if item.nested else None,
            **{flag: getattr(item, flag) for flag in _FLAGS},
        )
        for name, item in block.attributes.items()
    )


def _object_message(nested: Nested) -> protocol.ObjectSchema:
    return protocol.ObjectSchema(_attribute_messages(nested.block), _OBJECT_NESTING[nested.mode])
