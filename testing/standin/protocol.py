"""The slice of Terraform's plugin protocol 6 that a provider needs, as messages of `wire`.

Numbers and names are those of https://github.com/hashicorp/terraform/blob/main/docs/plugin-protocol/tfplugin6.proto.
What is not declared here (functions, ephemeral resources, provider meta, resource identity, actions) Terraform does
without when a provider answers UNIMPLEMENTED.
"""

# ruff: noqa: RUF009, TC003 - `at` is dataclasses.field, and the codec reads the annotations

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolform.testing.standin.wire import at

if TYPE_CHECKING:
    from poolform.testing.standin.wire import Message

ERROR = 1
"""The severity of a diagnostic that stops the operation."""


@dataclass(frozen=True)
class Empty:
    """A message without fields, and the request of calls that ask for nothing in particular."""


@dataclass(frozen=True)
class DynamicValue:
    """A value of any Terraform type, in MessagePack."""

    msgpack: bytes = at(1, b"")
    json: bytes = at(2, b"")


@dataclass(frozen=True)
class Step:
    """One step into a value: exactly one of the three."""

    attribute_name: str | None = at(1, None)
    element_key_string: str | None = at(2, None)
    element_key_int: int | None = at(3, None)


@dataclass(frozen=True)
class AttributePath:
    """Where in a resource something is."""

    steps: tuple[Step, ...] = at(1, ())


@dataclass(frozen=True)
class Diagnostic:
    """An error or a warning, shown by Terraform next to the attribute that it is about."""

    severity: int = at(1, 0)
    summary: str = at(2, "")
    detail: str = at(3, "")
    attribute: AttributePath | None = at(4, None)


@dataclass(frozen=True)
class RawState:
    """A resource as the state file has it."""

    json: bytes = at(1, b"")


@dataclass(frozen=True)
class ObjectSchema:
    """The schema of an attribute whose value is made of attributes."""

    attributes: tuple[AttributeSchema, ...] = at(1, ())
    nesting: int = at(3, 0)


@dataclass(frozen=True)
class AttributeSchema:
    """The schema of one attribute; `type` is Terraform's type syntax as JSON, empty where `nested_type` is set."""

    name: str = at(1, "")
    type: bytes = at(2, b"")
    description: str = at(3, "")
    required: bool = at(4, default=False)
    optional: bool = at(5, default=False)
    computed: bool = at(6, default=False)
    sensitive: bool = at(7, default=False)
    deprecated: bool = at(9, default=False)
    nested_type: ObjectSchema | None = at(10, None)
    write_only: bool = at(11, default=False)


@dataclass(frozen=True)
class NestedBlock:
    """A kind of block inside a block."""

    type_name: str = at(1, "")
    block: BlockSchema | None = at(2, None)
    nesting: int = at(3, 0)
    min_items: int = at(4, 0)
    max_items: int = at(5, 0)


@dataclass(frozen=True)
class BlockSchema:
    """The schema of a block: attributes, and blocks in it."""

    version: int = at(1, 0)
    attributes: tuple[AttributeSchema, ...] = at(2, ())
    block_types: tuple[NestedBlock, ...] = at(3, ())


@dataclass(frozen=True)
class Schema:
    """A block's schema with the version that state files carry."""

    version: int = at(1, 0)
    block: BlockSchema | None = at(2, None)


@dataclass(frozen=True)
class ServerCapabilities:
    """What Terraform may count on; `get_provider_schema_optional`: the schema need not be asked in every process."""

    get_provider_schema_optional: bool = at(2, default=False)


@dataclass(frozen=True)
class TypeName:
    """The name of a resource type or data source."""

    type_name: str = at(1, "")


@dataclass(frozen=True)
class ImportedResource:
    """A resource found in the cloud."""

    type_name: str = at(1, "")
    state: DynamicValue | None = at(2, None)


@dataclass(frozen=True)
class Metadata:
    """The answer to GetMetadata."""

    server_capabilities: ServerCapabilities | None = at(1, None)
    data_sources: tuple[TypeName, ...] = at(3, ())
    resources: tuple[TypeName, ...] = at(4, ())


@dataclass(frozen=True)
class ProviderSchema:
    """The answer to GetProviderSchema."""

    provider: Schema | None = at(1, None)
    resource_schemas: Mapping[str, Schema] = at(2, {})
    data_source_schemas: Mapping[str, Schema] = at(3, {})
    server_capabilities: ServerCapabilities | None = at(6, None)


@dataclass(frozen=True)
class ValidateConfigRequest:
    """Of ValidateResourceConfig and ValidateDataResourceConfig."""

    type_name: str = at(1, "")
    config: DynamicValue | None = at(2, None)


@dataclass(frozen=True)
class Findings:
    """An answer that is only diagnostics, in field 1."""

    diagnostics: tuple[Diagnostic, ...] = at(1, ())


@dataclass(frozen=True)
class ValidatedProviderConfig:
    """The answer to ValidateProviderConfig, whose diagnostics are in field 2."""

    diagnostics: tuple[Diagnostic, ...] = at(2, ())


@dataclass(frozen=True)
class ConfigureRequest:
    """Of ConfigureProvider."""

    terraform_version: str = at(1, "")
    config: DynamicValue | None = at(2, None)


@dataclass(frozen=True)
class UpgradeRequest:
    """Of UpgradeResourceState, which is asked for every resource in the state, of the newest version too."""

    type_name: str = at(1, "")
    version: int = at(2, 0)
    raw_state: RawState | None = at(3, None)


@dataclass(frozen=True)
class UpgradedState:
    """The answer to UpgradeResourceState."""

    upgraded_state: DynamicValue | None = at(1, None)


@dataclass(frozen=True)
class ReadRequest:
    """Of ReadResource."""

    type_name: str = at(1, "")
    current_state: DynamicValue | None = at(2, None)
    private: bytes = at(3, b"")


@dataclass(frozen=True)
class ReadState:
    """The answer to ReadResource; a null state says that the object is gone."""

    new_state: DynamicValue | None = at(1, None)
    diagnostics: tuple[Diagnostic, ...] = at(2, ())
    private: bytes = at(3, b"")


@dataclass(frozen=True)
class PlanRequest:
    """Of PlanResourceChange; a null prior state is a creation, a null proposed one a destruction."""

    type_name: str = at(1, "")
    prior_state: DynamicValue | None = at(2, None)
    proposed_new_state: DynamicValue | None = at(3, None)
    config: DynamicValue | None = at(4, None)


@dataclass(frozen=True)
class PlannedChange:
    """The answer to PlanResourceChange."""

    planned_state: DynamicValue | None = at(1, None)
    requires_replace: tuple[AttributePath, ...] = at(2, ())
    diagnostics: tuple[Diagnostic, ...] = at(4, ())
    legacy_type_system: bool = at(5, default=False)


@dataclass(frozen=True)
class ApplyRequest:
    """Of ApplyResourceChange."""

    type_name: str = at(1, "")
    prior_state: DynamicValue | None = at(2, None)
    planned_state: DynamicValue | None = at(3, None)


@dataclass(frozen=True)
class AppliedChange:
    """The answer to ApplyResourceChange; a state together with an error is kept, tainted."""

    new_state: DynamicValue | None = at(1, None)
    diagnostics: tuple[Diagnostic, ...] = at(3, ())
    legacy_type_system: bool = at(4, default=False)


@dataclass(frozen=True)
class ImportRequest:
    """Of ImportResourceState."""

    type_name: str = at(1, "")
    id: str = at(2, "")


@dataclass(frozen=True)
class ImportedState:
    """The answer to ImportResourceState."""

    imported_resources: tuple[ImportedResource, ...] = at(1, ())
    diagnostics: tuple[Diagnostic, ...] = at(2, ())


@dataclass(frozen=True)
class ReadDataRequest:
    """Of ReadDataSource."""

    type_name: str = at(1, "")
    config: DynamicValue | None = at(2, None)


@dataclass(frozen=True)
class DataState:
    """The answer to ReadDataSource."""

    state: DynamicValue | None = at(1, None)
    diagnostics: tuple[Diagnostic, ...] = at(2, ())


REQUESTS: Mapping[str, type[Message]] = {
    "GetMetadata": Empty,
    "GetProviderSchema": Empty,
    "ValidateProviderConfig": Empty,
    "ValidateResourceConfig": ValidateConfigRequest,
    "ValidateDataResourceConfig": ValidateConfigRequest,
    "UpgradeResourceState": UpgradeRequest,
    "ConfigureProvider": ConfigureRequest,
    "ReadResource": ReadRequest,
    "PlanResourceChange": PlanRequest,
    "ApplyResourceChange": ApplyRequest,
    "ImportResourceState": ImportRequest,
    "ReadDataSource": ReadDataRequest,
    "GetFunctions": Empty,
    "StopProvider": Empty,
}
"""The calls of the service `tfplugin6.Provider` that the stand-in answers, with their requests."""
