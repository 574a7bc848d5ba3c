"""What no schema says of a resource type: what the cloud fills in, which changes replace, what may exist only once.

    behaviour = {
        "lab_cluster": Resource(
            computed={"id": "clusters/{name}", "endpoint": "https://{name}.lab.test"},
            force_new=("name", "network.0.subnet"),
            unique=("name",),
        ),
    }

Without one, a resource type gets an id nobody had before, made-up values for what is computed, and changes in place.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from poolform.testing.standin.cloud import Refused
from poolform.testing.standin.values import UNKNOWN, look

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from poolform.testing.standin.cloud import Objects
    from poolform.testing.standin.schema import Schema
    from poolform.testing.standin.values import Attributes

Compute: TypeAlias = "Callable[[Attributes, Objects], Mapping[str, Any]]"
"""Gives computed attributes, from those that are set (and the provider's configuration) and what the cloud holds."""

Computed: TypeAlias = "Compute | Mapping[str, Any]"
"""A function, or plain values, in whose strings `{name}` stands for an attribute."""


@dataclass(frozen=True)
class Validator:
    """A rule for one attribute that the provider checks before any plan; `{}` in `message` is the value."""

    holds: Callable[[Any], object]
    message: str


@dataclass(frozen=True)
class Resource:
    """How one resource type behaves.

    `defaults` are what the provider puts where the configuration is silent; `from_provider` are attributes that come
    from the provider's configuration then. `force_new` are attributes (dotted paths into blocks) whose change replaces
    the resource, or "all". `touched` are computed attributes that every update changes. `unique` attributes may
    together exist once: a second creation is refused with `conflict`, or takes the object over where the platform does
    that (`adopts`). `requires` returns why an object can't be made, or None. `protected_by` names a boolean attribute
    that must be false before a delete, `undeletable` returns why an object can't be deleted, or None, and `abandons`
    says of one whether a delete only forgets it.
    """

    computed: Computed = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    from_provider: tuple[str, ...] = ()
    force_new: tuple[str, ...] | Literal["all"] = ()
    touched: tuple[str, ...] = ()
    unique: tuple[str, ...] = ()
    conflict: str = "Error 409: {type} {id} already exists"
    adopts: bool = False
    validators: Mapping[str, Validator] = field(default_factory=dict)
    requires: Callable[[Attributes, Objects], str | None] | None = None
    protected_by: str | None = None
    undeletable: Callable[[Attributes, Objects], str | None] | None = None
    abandons: Callable[[Attributes], object] | None = None

    def names(self) -> set[str]:
        """Return the attributes at the top that this speaks of."""
        paths = [*self.defaults, *self.from_provider, *self.touched, *self.unique, *self.validators]
        paths += () if self.force_new == "all" else self.force_new
        paths += [self.protected_by] if self.protected_by else []
        paths += () if callable(self.computed) else self.computed
        return {path.split(".")[0] for path in paths}

    def compute(self, given: Attributes, objects: Objects) -> Mapping[str, Any]:
        """Return the computed attributes of an object."""
        return fill(self.computed, given, objects)

    def replacing(self, changed: list[str], prior: Attributes, planned: Attributes) -> list[str]:
        """Return the paths of those changes that replace the resource; `changed` are attributes at the top."""
        if self.force_new == "all":
            return changed
        return [path for path in self.force_new if _differ(look(prior, path), look(planned, path))]

    def validate(self, config: Attributes) -> None:
        """Raise Refused for the first attribute that breaks its rule."""
        for name, rule in self.validators.items():
            value = look(config, name)
            if value is not None and value is not UNKNOWN and not rule.holds(value):
                raise Refused(rule.message.format(value), name)

    def twin(self, new: Attributes, objects: Mapping[str, Attributes]) -> str | None:
        """Return the id of an object that has the same unique attributes."""
        for id_, other in objects.items():
            if self.unique and all(look(other, path) == look(new, path) for path in self.unique):
                return id_
        return None


@dataclass(frozen=True)
class Behaviour:
    """How a provider behaves: resource types, data sources, and `environment`, its configuration found outside."""

    resources: Mapping[str, Resource] = field(default_factory=dict)
    data_sources: Mapping[str, Computed] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)

    def over(self, other: Behaviour) -> Behaviour:
        """Return this, and what only `other` says."""
        return Behaviour(
            {**other.resources, **self.resources},
            {**other.data_sources, **self.data_sources},
            {**other.environment, **self.environment},
        )

    def check(self, schema: Schema) -> None:
        """Raise ValueError where an attribute is named that the schema's resource types do not have."""
        for name, resource in self.resources.items():
            if name not in schema.resources:
                continue  # one behaviour may serve several providers
            block = schema.resources[name].block
            unknown = resource.names() - {*block.attributes, *block.blocks}
            if unknown:
                raise ValueError(f"The behaviour of {name} names what its schema lacks: {', '.join(sorted(unknown))}.")


Given: TypeAlias = "Behaviour | Mapping[str, Resource] | str | None"
"""How callers say it: also resource types alone, or where to import it from (`package.module:NAME`)."""

_BUILT_IN = {
    "registry.terraform.io/hashicorp/google": "poolform.testing.standin.behaviours.google:BEHAVIOUR",
    "registry.terraform.io/hashicorp/azurerm": "poolform.testing.standin.behaviours.azurerm:BEHAVIOUR",
    "registry.terraform.io/hashicorp/azuread": "poolform.testing.standin.behaviours.azuread:BEHAVIOUR",
    "registry.terraform.io/hashicorp/kubernetes": "poolform.testing.standin.behaviours.kubernetes:BEHAVIOUR",
}


def behaviour_of(source: str, given: Given = None) -> Behaviour:
    """Return what was given, on top of what the kit knows of this provider."""
    known = _imported(_BUILT_IN[source]) if source in _BUILT_IN else Behaviour()
    return _settled(given).over(known)


def _settled(given: Given) -> Behaviour:
    if isinstance(given, str):
        return _imported(given)
    if isinstance(given, Behaviour):
        return given
    return Behaviour(given or {})


def _imported(reference: str) -> Behaviour:
    module, _, name = reference.partition(":")
    return _settled(getattr(importlib.import_module(module), name))


def fill(computed: Computed, given: Attributes, objects: Objects) -> Mapping[str, Any]:
    """Return computed values, with the placeholders of plain ones filled in."""
    if callable(computed):
        return computed(given, objects)
    return {name: item.format_map(given) if isinstance(item, str) else item for name, item in computed.items()}


def _differ(old: Any, new: Any) -> bool:
    return new is UNKNOWN or old != new


# -- made-up values, equal for equal inputs ------------------------------------------------------------------------


def digest(*parts: Any, size: int = 8) -> str:
    """Return `size` hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, default=str, sort_keys=True).encode()).hexdigest()[:size]


def digits(*parts: Any, size: int) -> str:
    """Return `size` decimal digits."""
    return str(int(digest(*parts, size=64), 16))[:size]


def uuid(*parts: Any) -> str:
    """Return something that looks like a random UUID."""
    text = digest(*parts, size=32)
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"
