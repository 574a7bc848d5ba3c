"""What a pool type's author says about it, and what every rule is tried with."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from poolform.core.errors import NotFound, TerraformError
from poolform.testing.pool_types.sampling import variables
from poolform.testing.pool_types.trial import Trial
from poolform.testing.schemas import load
from poolform.testing.standin.schema import full_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from hypothesis.strategies import SearchStrategy

    from poolform.core.pools.contract import PoolType, Variables
    from poolform.testing.fixtures import StandinFactory
    from poolform.testing.standin import Cloud, Schema
    from poolform.testing.standin.behaviour import Given


class PoolTypeCase:
    """The settings and fixtures of the contract.

    `examples` are variables of pools that people would make, one at least for each way the module can look; whatever
    is required must be in them. The first is the one that failures are tried with. `strategies` makes up a variable
    whose model says too little. `schemas` are the providers that the module uses, where the kit does not have them,
    and `behaviour` is how they behave. `shared` are resource types that belong to no pool and outlive it, such as an
    activated API. `secrets_in_state` names attributes (`type.attribute`) that hold a secret although no secret should
    be in the state. `history` are variables as older revisions have stored them, by revision.
    """

    pool_type: ClassVar[type[PoolType]]
    examples: ClassVar[Sequence[Mapping[str, Any]]] = ({},)
    strategies: ClassVar[Mapping[str, SearchStrategy[Any]]] = {}
    schemas: ClassVar[Sequence[Schema]] = ()
    behaviour: ClassVar[Given] = None
    shared: ClassVar[frozenset[str] | set[str]] = frozenset()
    secrets_in_state: ClassVar[frozenset[str] | set[str]] = frozenset()
    history: ClassVar[Mapping[int, Mapping[str, Any]]] = {}

    def furnish(self, cloud: Cloud) -> None:
        """Put into the imaginary cloud what pools of this type expect to find there: override where there is any."""

    # -- what the rules use --------------------------------------------------------------------------------------

    def made_up(self) -> SearchStrategy[Variables]:
        """Return variables of any kind that the model admits."""
        return variables(self.pool_type.variables, self.examples, self.strategies)

    def example(self, index: int = 0) -> Variables:
        """Return an example as the pool type's model."""
        return self.pool_type.variables.model_validate(self.examples[index])

    def _all_examples(self) -> list[Variables]:
        return [self.example(index) for index in range(len(self.examples))]

    @pytest.fixture
    def cloud(self, standin: StandinFactory) -> Cloud:
        """Return the imaginary cloud, furnished, behind stand-ins for all providers of the pool type."""
        if self.pool_type.templates is None:
            pytest.skip("pools of this type have no resources")
        cloud = standin(*self._providers(), behaviour=self.behaviour)
        self.furnish(cloud)
        return cloud

    def _providers(self) -> list[Schema]:
        given = {schema.source: schema for schema in self.schemas}
        found = []
        for name, provider in self.pool_type.providers.items():
            source = full_source(provider.source)
            try:
                found.append(given[source] if source in given else load(name))
            except NotFound:
                pytest.skip(
                    f"there is no schema of {provider.source}: give one in `schemas`, or test it by other means"
                )
        return found

    @pytest.fixture
    def start(self, cloud: Cloud, tmp_path: Path) -> Iterator[Callable[..., Trial]]:
        """Return a function that renders a pool, each in a workspace of its own: `start(variables, pool_id=…)`."""
        trials: list[Trial] = []

        def start(of: Variables | None = None, *, pool_id: str = "ab12cd34") -> Trial:
            folder = tmp_path / f"pool-{len(trials)}"
            trials.append(Trial.start(self.pool_type(), of or self.example(), folder, pool_id=pool_id))
            return trials[-1]

        yield start
        cloud.heal()
        for trial in trials:
            if any(type_ == "terraform_data" for _, type_, _ in trial.state()):
                # The cloud is imaginary and goes by itself, but what its commands have made is on this machine.
                with suppress(TerraformError):
                    trial.destroy()
