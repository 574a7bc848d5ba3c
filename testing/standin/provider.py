"""The stand-in provider: a schema and a behaviour behind the calls of plugin protocol 6, over an imaginary cloud."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any

from poolform.testing.standin import protocol as p
from poolform.testing.standin.behaviour import Given, Resource, behaviour_of, fill
from poolform.testing.standin.change import ResourceType, mark_unknown, settle
from poolform.testing.standin.cloud import Refused
from poolform.testing.standin.schema import TypeSchema, to_protocol
from poolform.testing.standin.values import conform, known, pack, read_json, unpack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolform.testing.standin.cloud import Cloud, Objects
    from poolform.testing.standin.faults import Operation
    from poolform.testing.standin.schema import Schema
    from poolform.testing.standin.values import Attributes

_CAPABILITIES = p.ServerCapabilities(get_provider_schema_optional=True)
# The older SDK's providers plan values that no configuration set (defaults), and Terraform lets them only with this.
_LEGACY = True


class Provider:
    """Answers Terraform's calls. Safe for threads: Terraform asks for up to ten resources at once.

    A method may let `Crashed` through, which the server turns into the death of the provider. Making one raises
    ValueError for a behaviour that names what the schema does not have.
    """

    def __init__(self, schema: Schema, cloud: Cloud, behaviour: Given = None) -> None:
        self.schema = schema
        self.cloud = cloud
        self.behaviour = behaviour_of(schema.source, behaviour)
        self.behaviour.check(schema)
        self.stop = threading.Event()
        self._environment: Attributes = dict(self.behaviour.environment)

    def _type(self, name: str) -> ResourceType:
        resource = self.behaviour.resources.get(name, Resource())
        return ResourceType(name, self.schema.resources[name].block, resource, self._environment)

    # -- what there is -------------------------------------------------------------------------------------------

    def get_metadata(self, _request: p.Empty) -> p.Metadata:
        """Name all types."""
        return p.Metadata(
            _CAPABILITIES,
            tuple(map(p.TypeName, self.schema.data_sources)),
            tuple(map(p.TypeName, self.schema.resources)),
        )

    def get_provider_schema(self, _request: p.Empty) -> p.ProviderSchema:
        """Describe all types."""
        return self._described

    @cached_property
    def _described(self) -> p.ProviderSchema:
        return p.ProviderSchema(
            to_protocol(TypeSchema(self.schema.configuration)),
            {name: to_protocol(item) for name, item in self.schema.resources.items()},
            {name: to_protocol(item) for name, item in self.schema.data_sources.items()},
            _CAPABILITIES,
        )

    def get_functions(self, _request: p.Empty) -> p.Empty:
        """Name no functions."""
        return p.Empty()

    # -- configuration -------------------------------------------------------------------------------------------

    def validate_provider_config(self, _request: p.Empty) -> p.ValidatedProviderConfig:
        """Accept what fits the schema."""
        return p.ValidatedProviderConfig()

    def validate_resource_config(self, request: p.ValidateConfigRequest) -> p.Findings:
        """Check the behaviour's validators."""
        try:
            self._type(request.type_name).behaviour.validate(unpack(request.config))
        except Refused as exc:
            return p.Findings(_error(exc))
        return p.Findings()

    def validate_data_resource_config(self, _request: p.ValidateConfigRequest) -> p.Findings:
        """Accept what fits the schema."""
        return p.Findings()

    def configure_provider(self, request: p.ConfigureRequest) -> p.Findings:
        """Take the provider block's settings, over those found in the environment."""
        self.stop.clear()
        config = dict(known(unpack(request.config) or {}))
        self._environment = {**self.behaviour.environment, **config}
        try:
            self.cloud.enter("configure", self.schema.name, config, self.stop)
        except Refused as exc:
            return p.Findings(_error(exc))
        return p.Findings()

    def stop_provider(self, _request: p.Empty) -> p.Empty:
        """Tell slow calls that Terraform was interrupted."""
        self.stop.set()
        return p.Empty()

    # -- resources -----------------------------------------------------------------------------------------------

    def upgrade_resource_state(self, request: p.UpgradeRequest) -> p.UpgradedState:
        """Give the state file's JSON the shape of the schema; there are no older shapes."""
        raw = request.raw_state.json if request.raw_state else b"null"
        block = self.schema.resources[request.type_name].block
        return p.UpgradedState(pack(conform(block, read_json(raw))))

    def read_resource(self, request: p.ReadRequest) -> p.ReadState:
        """Look the object up; null when it is gone."""
        resource, current = self._type(request.type_name), unpack(request.current_state)
        try:
            self.cloud.enter("read", resource.name, current, self.stop)
            found = self._find(resource, current.get(resource.key))
            self.cloud.leave("read", resource.name, current, self.stop)
        except Refused as exc:
            return p.ReadState(pack(current), _error(exc), request.private)
        return p.ReadState(pack(found), private=request.private)

    def _find(self, resource: ResourceType, key: Any) -> Attributes | None:
        with self.cloud.transaction() as world:
            found = world.objects.get(resource.name, {}).get(key)
            return None if found is None else conform(resource.block, found)

    def plan_resource_change(self, request: p.PlanRequest) -> p.PlannedChange:
        """Say what becomes of the resource. A destruction needs no thought."""
        proposed = unpack(request.proposed_new_state)
        if proposed is None:
            return p.PlannedChange(pack(None))
        resource = self._type(request.type_name)
        planned = resource.plan(unpack(request.prior_state), proposed, unpack(request.config))
        try:
            self.cloud.enter("plan", resource.name, planned.state, self.stop)
        except Refused as exc:
            return p.PlannedChange(diagnostics=_error(exc))
        return p.PlannedChange(pack(planned.state), tuple(map(_path, planned.replace)), legacy_type_system=_LEGACY)

    def apply_resource_change(self, request: p.ApplyRequest) -> p.AppliedChange:
        """Create, update or delete. What happened is answered also when the end went wrong."""
        resource = self._type(request.type_name)
        prior, planned = unpack(request.prior_state), unpack(request.planned_state)
        op: Operation = "create" if prior is None else "delete" if planned is None else "update"
        state = prior
        try:
            self.cloud.enter(op, resource.name, planned or prior, self.stop)
            state = self._change(resource, prior, planned)
            self.cloud.leave(op, resource.name, state or prior, self.stop)
        except Refused as exc:
            # A delete whose answer was lost leaves the resource in the state; the next read finds it gone.
            kept = prior if op == "delete" else state
            return p.AppliedChange(pack(kept), _error(exc), legacy_type_system=_LEGACY)
        return p.AppliedChange(pack(state), legacy_type_system=_LEGACY)

    def _change(
        self, resource: ResourceType, prior: Attributes | None, planned: Attributes | None
    ) -> Attributes | None:
        with self.cloud.transaction() as world:
            if planned is None:
                resource.delete(prior or {}, world)
                return None
            if prior is None:
                return resource.create(planned, world)
            return resource.update(prior, planned, world)

    def import_resource_state(self, request: p.ImportRequest) -> p.ImportedState:
        """Look up an object that Terraform does not know.

        One that isn't there comes back with its id alone, as most providers do it: Terraform then reads it, and says
        itself that there is nothing to import.
        """
        resource = self._type(request.type_name)
        try:
            self.cloud.enter("import", resource.name, {"id": request.id}, self.stop)
            found = self._find(resource, request.id)
        except Refused as exc:
            return p.ImportedState(diagnostics=_error(exc))
        state = found or conform(resource.block, {resource.key: request.id})
        return p.ImportedState((p.ImportedResource(resource.name, pack(state)),))

    def read_data_source(self, request: p.ReadDataRequest) -> p.DataState:
        """Give a data source its computed values."""
        name, config = request.type_name, unpack(request.config)
        block = self.schema.data_sources[name].block
        try:
            self.cloud.enter("read_data", name, config, self.stop)
            with self.cloud.transaction() as world:
                computed = self._look_up(name, dict(known(config)), world.objects)
            self.cloud.leave("read_data", name, config, self.stop)
        except Refused as exc:
            return p.DataState(pack(config), _error(exc))
        return p.DataState(pack(settle(block, mark_unknown(block, config), computed, name)))

    def _look_up(self, name: str, asked: Attributes, objects: Objects) -> Mapping[str, Any]:
        """Ask the behaviour; else, where the data source is named like a resource type, find such an object."""
        if name in self.behaviour.data_sources or name not in self.schema.resources:
            return fill(self.behaviour.data_sources.get(name, {}), {**self._environment, **asked}, objects)
        for found in objects.get(name, {}).values():
            if all(found.get(key) == value for key, value in asked.items() if value != []):
                return found
        raise Refused(f"Error 404: no {name} with {', '.join(f'{key} {value!r}' for key, value in asked.items())}")


def _error(exc: Refused) -> tuple[p.Diagnostic, ...]:
    return (p.Diagnostic(p.ERROR, str(exc), attribute=_path(exc.attribute) if exc.attribute else None),)


def _path(dotted: str) -> p.AttributePath:
    return p.AttributePath(
        tuple(p.Step(element_key_int=int(step)) if step.isdigit() else p.Step(step) for step in dotted.split("."))
    )
