"""The semantics of a resource: what a plan promises, and what is there once it is carried out. Pure, no protocol."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from poolform.testing.standin.behaviour import Resource, digest
from poolform.testing.standin.cloud import Refused
from poolform.testing.standin.values import UNKNOWN, known, map_attributes, zero

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolform.testing.standin.cloud import World
    from poolform.testing.standin.schema import Attribute, Block
    from poolform.testing.standin.values import Attributes


@dataclass(frozen=True)
class Planned:
    """What a change will make of a resource; `replace` are the paths that can't be changed in place."""

    state: Attributes
    replace: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ResourceType:
    """A resource type: its schema and its behaviour, under one provider configuration."""

    name: str
    block: Block
    behaviour: Resource
    environment: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The attribute by which objects are told apart: `id`, or what comes nearest in a schema without one."""
        attributes = self.block.attributes
        required = (name for name, item in attributes.items() if item.required)
        return next(name for name in ("id", "name", *required, *attributes) if name in attributes)

    # -- plan ----------------------------------------------------------------------------------------------------

    def plan(self, prior: Attributes | None, proposed: Attributes, config: Attributes) -> Planned:
        """Say what becomes of the resource; `proposed` is the configuration with the prior state's computed values."""
        wanted = forget_write_only(self.block, {**proposed, **self._defaults(proposed)})
        if prior is None:
            state = mark_unknown(self.block, wanted)
            return Planned({**state, **self._from_provider(state)})
        changed = [name for name in wanted if wanted[name] != prior.get(name)]
        if not changed:
            return Planned(wanted)
        state = mark_unknown(self.block, wanted)
        # Terraform could not carry these over, because an enclosing value changed; the cloud keeps them.
        state.update({name: prior[name] for name, item in state.items() if item is UNKNOWN and prior.get(name)})
        state.update({name: UNKNOWN for name in self.behaviour.touched if config.get(name) is None})
        return Planned(state, self.behaviour.replacing(changed, prior, wanted))

    def _defaults(self, proposed: Attributes) -> Attributes:
        return {name: item for name, item in self.behaviour.defaults.items() if proposed.get(name) is None}

    def _from_provider(self, state: Attributes) -> Attributes:
        names = self.behaviour.from_provider
        return {
            name: self.environment[name] for name in names if state.get(name) is UNKNOWN and name in self.environment
        }

    # -- apply ---------------------------------------------------------------------------------------------------

    def create(self, planned: Attributes, world: World) -> Attributes:
        """Make an object. Raises Refused where the cloud has it already, or lacks what it needs."""
        made_up = f"{self.name}-{world.next_serial()}"
        new = self._settle(planned, world, made_up)
        objects = world.objects.setdefault(self.name, {})
        twin = self.behaviour.twin(new, objects)
        if (twin or new[self.key] in objects) and not self.behaviour.adopts:
            raise Refused(self.behaviour.conflict.format_map({"type": self.name, **new}))
        reason = self.behaviour.requires and self.behaviour.requires(new, world.objects)
        if reason:
            raise Refused(reason)
        objects[new[self.key]] = new
        return new

    def update(self, prior: Attributes, planned: Attributes, world: World) -> Attributes:
        """Change an object. Raises Refused where it is gone."""
        objects = world.objects.get(self.name, {})
        if prior[self.key] not in objects:
            raise Refused(f"Error 404: {self.name} {prior[self.key]} was not found")
        new = self._settle(planned, world, str(prior[self.key]))
        del objects[prior[self.key]]
        objects[new[self.key]] = new
        return new

    def delete(self, prior: Attributes, world: World) -> None:
        """Remove an object; gone is fine. Raises Refused where it is protected, or not to be deleted."""
        protection = self.behaviour.protected_by
        if protection and prior.get(protection):
            raise Refused(f"{self.name} {prior[self.key]} is protected: set {protection} to false and apply first")
        reason = self.behaviour.undeletable and self.behaviour.undeletable(prior, world.objects)
        if reason:
            raise Refused(reason)
        if not (self.behaviour.abandons and self.behaviour.abandons(prior)):
            world.objects.get(self.name, {}).pop(prior[self.key], None)

    def _settle(self, planned: Attributes, world: World, made_up: str) -> Attributes:
        given = {**self.environment, **dict(known(planned))}
        computed = {self.key: made_up, **self.behaviour.compute(given, world.objects)}
        return settle(self.block, planned, computed, made_up)


def forget_write_only(block: Block, value: Attributes) -> Attributes:
    """Return what may be kept: write-only attributes reach the cloud and are null in plan and state."""
    return map_attributes(block, value, lambda _name, attribute, item: None if attribute.write_only else item)


def mark_unknown(block: Block, value: Attributes) -> Attributes:
    """Return a plan in which what is computed and not set is unknown."""
    return map_attributes(
        block, value, lambda _name, attribute, item: UNKNOWN if item is None and attribute.computed else item
    )


def settle(block: Block, value: Attributes, computed: Mapping[str, Any], seed: str) -> Attributes:
    """Return an object: what was unknown has its computed value, or one that is made up from `seed`."""
    decided = {name: computed[name] for name, item in value.items() if item is UNKNOWN and name in computed}

    def make_up(name: str, attribute: Attribute, item: Any) -> Any:
        if item is not UNKNOWN:
            return item
        if attribute.nested:
            return None if attribute.nested.mode in ("single", "group") else zero([attribute.nested.mode])
        return f"{name}-{digest(seed, name)}" if attribute.type == "string" else zero(attribute.type)

    return map_attributes(block, {**value, **decided}, make_up)
