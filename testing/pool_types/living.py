"""The rules about a pool's life, with the real Terraform in an imaginary cloud: made, settled, broken, mended, gone."""

# ruff: noqa: D102 - the name of a rule is its sentence

from __future__ import annotations

import json
import string
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from poolform.core.errors import TerraformError
from poolform.core.pools.contract import MintsCredentials
from poolform.core.runs.jobs import base_job_template, check_template, with_defaults
from poolform.core.runs.launchers import Launcher
from poolform.testing.pool_types.case import PoolTypeCase
from poolform.testing.pool_types.sampling import texts, told
from poolform.testing.standin.faults import fail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from poolform.core.pools.contract import Connection, Outputs
    from poolform.core.terraform.plan import Plan
    from poolform.testing.pool_types.trial import Trial
    from poolform.testing.standin import Cloud
    from poolform.testing.standin.cloud import Objects
    from poolform.testing.standin.faults import When

    Connected = tuple[Any, Outputs, Connection]


class Living(PoolTypeCase):
    """What a pool of this type goes through, from its first plan to its last."""

    def test_it_is_made_settles_and_goes(self, cloud: Cloud, start: Callable[..., Trial]) -> None:
        for variables in self._all_examples():
            before = cloud.objects()
            trial = start(variables)
            trial.provision()
            assert_settled(trial.plan())
            trial.destroy()
            self._assert_as_it_was(cloud, before)

    def test_two_pools_live_side_by_side(self, cloud: Cloud, start: Callable[..., Trial]) -> None:
        """The pool's id ends its names, so that two pools with equal variables never meet."""
        first, second = start(pool_id="ab12cd34"), start(pool_id="ef56ab78")
        first.provision()
        try:
            second.provision()
        except TerraformError as exc:
            pytest.fail(f"a second pool with the same variables collides with the first: {exc}")
        first.destroy()
        assert_settled(second.plan())

    def test_everything_bears_the_pool_s_id(self, start: Callable[..., Trial]) -> None:
        """In its name, or in its tags: what an interrupted apply leaves behind is found by it."""
        trial = start()
        trial.provision()
        for address, type_, attributes in trial.state():
            borne = type_ in self.shared or any(trial.pool_id in text for text in texts(attributes))
            assert borne, f"{address} bears the pool's id nowhere (a type that belongs to no pool goes into `shared`)"

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_an_apply_that_fails_anywhere_is_mended_by_the_next(
        self, cloud: Cloud, start: Callable[..., Trial], when: When
    ) -> None:
        """At each resource in turn: refused, or made while its answer is lost. Then the same once more."""
        whole = start()
        whole.provision()
        expected = cloud.counts()
        creations = Counter(call.type for call in cloud.calls("create"))
        whole.destroy()
        for type_, number in ((type_, number) for type_, count in creations.items() for number in range(count)):
            trial = start()
            cloud.inject(fail("create", type_, when=when, skip=number))
            with pytest.raises(TerraformError):
                trial.provision()
            cloud.heal()
            self._mend(trial, f"{type_} number {number + 1} had failed")
            assert cloud.counts() == expected, f"{type_} number {number + 1} had failed, and the next apply made others"
            trial.destroy()

    def _mend(self, trial: Trial, after: str) -> None:
        try:
            trial.provision()
        except TerraformError as exc:
            pytest.fail(f"{after}, and the next apply fails too: {exc}")
        assert_settled(trial.plan())

    def test_a_destroy_that_fails_anywhere_is_mended_by_the_next(
        self, cloud: Cloud, start: Callable[..., Trial]
    ) -> None:
        before = cloud.objects()
        trial = start()
        trial.provision()
        for _ in range(sum(cloud.counts().values())):
            cloud.inject(fail("delete"))
            try:
                trial.destroy()
            except TerraformError:
                continue
            break
        cloud.heal()
        trial.destroy()
        self._assert_as_it_was(cloud, before)

    def test_a_plan_can_be_said_in_words(self, start: Callable[..., Trial]) -> None:
        for variables in self._all_examples():
            for change in start(variables).plan().changes:
                noun = self.pool_type.nouns.get(change.noun_key(self.pool_type.nouns), "")
                named = {_first(field) for _, field, _, _ in string.Formatter().parse(noun) if field}
                known = {*(change.after or {}), *change.unknown}
                unknown = ", ".join(sorted(named - known))
                assert not unknown, (
                    f"the noun of {change.address} speaks of {unknown}, which it does not have: {noun!r}"
                )

    def test_no_secret_is_in_the_state(self, start: Callable[..., Trial]) -> None:
        """Keys are minted after the apply, outside Terraform, which would keep them in clear."""
        secret = {
            f"{type_}.{name}"
            for schema in self._providers()
            for type_, item in schema.resources.items()
            for name, attribute in item.block.attributes.items()
            if attribute.sensitive
        } - set(self.secrets_in_state)
        for variables in self._all_examples():
            trial = start(variables)
            trial.provision()
            for address, type_, attributes in trial.state():
                held = [name for name, value in attributes.items() if value and f"{type_}.{name}" in secret]
                assert not held, f"the state holds {', '.join(held)} of {address} (if it must: `secrets_in_state`)"
            trial.destroy()

    # -- outputs and connection ----------------------------------------------------------------------------------

    @pytest.fixture
    def connected(self, request: pytest.FixtureRequest) -> list[Connected]:
        """Provision each example; return its variables, outputs and connection."""
        if self.pool_type.templates is None:
            return [self._connect(variables, {}) for variables in self._all_examples()]
        start = request.getfixturevalue("start")
        return [self._connect(trial.variables, _briefly(trial)) for trial in map(start, self._all_examples())]

    def _connect(self, variables: Any, outputs: Mapping[str, Any]) -> Connected:
        try:
            fitting = self.pool_type.outputs.model_validate(outputs)
        except ValidationError as exc:
            hint = "Terraform leaves out an output that is null, so its field needs None as its default"
            model = self.pool_type.outputs.__name__
            pytest.fail(f"what Terraform gave back does not fit {model} ({hint}): {told(exc)}")
        return variables, fitting, self.pool_type().connect(variables, fitting)

    def test_a_connection_is_plain_json_and_made_of_its_inputs_alone(self, connected: list[Connected]) -> None:
        for variables, outputs, connection in connected:
            plain = asdict(connection)
            assert json.loads(json.dumps(plain)) == plain, "a connection is stored as JSON, and must be the same after"
            assert self.pool_type().connect(variables, outputs) == connection, "equal inputs, equal connections"

    def test_job_defaults_are_of_job_variables(self, connected: list[Connected]) -> None:
        known = self.pool_type.job_variables.model_fields.keys()
        for _, _, connection in connected:
            unknown = ", ".join(sorted(connection.job_defaults.keys() - known))
            assert not unknown, f"job_defaults sets what are no job variables: {unknown}"
            check_template(with_defaults(base_job_template(self.pool_type), connection.job_defaults))

    def test_every_output_is_used(self, connected: list[Connected]) -> None:
        """Nothing is created and then unused: another value of an output must give another connection."""
        unused = set(self.pool_type.outputs.model_fields)
        for variables, outputs, connection in connected:
            for name in sorted(unused):
                other = outputs.model_copy(update={name: _other(getattr(outputs, name))})
                if self._connect_or_none(variables, other) != connection:
                    unused.discard(name)
        assert not unused, f"outputs that `connect` makes nothing of: {', '.join(sorted(unused))}"

    def _connect_or_none(self, variables: Any, outputs: Outputs) -> Connection | None:
        try:
            return self.pool_type().connect(variables, outputs)
        except Exception:  # noqa: BLE001 - who trips over a value has looked at it
            return None

    def test_a_launcher_is_at_hand(self, connected: list[Connected]) -> None:
        """Cheaply: making one reaches for nothing, so an environment without any account is enough."""
        pool_type = self.pool_type()
        for variables, _, connection in connected:
            if not (isinstance(pool_type, MintsCredentials) and pool_type.wants_key(variables)):
                launcher = pool_type.launcher(connection, None)
                assert isinstance(launcher, Launcher), f"launcher returned {launcher!r}"
                launcher.close()

    def _assert_as_it_was(self, cloud: Cloud, before: Objects) -> None:
        now, then = self._own(cloud.objects()), self._own(before)
        others = ", ".join(sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name)))
        assert now == then, f"destroy must leave the cloud as it was, and did not: {others}"

    def _own(self, objects: Objects) -> Objects:
        return {type_: items for type_, items in objects.items() if type_ not in self.shared and items}


def _briefly(trial: Trial) -> Mapping[str, Any]:
    """Provision a pool and destroy it; return its outputs."""
    outputs = trial.provision()
    trial.destroy()
    return outputs


def assert_settled(plan: Plan) -> None:
    """Fail unless there is nothing left to do."""
    changes = [f"{change.action} {change.address}: {', '.join(change.changed)}" for change in plan.changes]
    assert not changes, f"a second plan, right after the apply, must be empty: {'; '.join(changes)}"
    assert plan.is_empty, "outputs still change in a second plan"


def _first(field: str) -> str:
    """Return the attribute that a placeholder such as `input[folder]` begins with."""
    return field.replace("[", ".").split(".")[0]


def _other(value: Any) -> Any:
    """Return another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return f"{value}-other"
    if isinstance(value, list):
        return [*map(_other, value)] or ["other"]
    if isinstance(value, dict):
        return {key: _other(item) for key, item in value.items()} or {"other": "other"}
    return "other"
