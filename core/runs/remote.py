"""Flows whose code is elsewhere: `flow.from_source(source, entrypoint)`, to be deployed without being imported here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from poolform.core.runs import code, entrypoints, sources
from poolform.core.runs.supply import Suppliers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolform.core.runs.authoring import DeploymentOptions, FlowDeployment
    from poolform.core.runs.launchers import Json
    from poolform.core.runs.sources import Source


@dataclass(frozen=True)
class RemoteFlow:
    """A flow as its code describes it, in its source. `source` is empty for a folder of this machine: its `place`."""

    flow: entrypoints.Description
    place: entrypoints.Place
    source: Mapping[str, Json] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the flow's name."""
        return self.flow.flow_name

    def to_deployment(
        self,
        name: str | None = None,
        *,
        work_pool_name: str | None = None,
        work_queue_name: str | None = None,
        **options: Unpack[DeploymentOptions],
    ) -> FlowDeployment:
        """Return a deployment of this flow, for `serve(…)` or `deploy(…)` with others; nothing is stored yet."""
        from poolform.core.runs.authoring import planned

        made = planned(self.flow, self.place, name, work_pool_name, work_queue_name, options)
        return replace(made, plan=replace(made.plan, source=self.source))

    def deploy(
        self,
        name: str | None = None,
        work_pool_name: str | None = None,
        image: Any = None,
        *,
        build: bool = True,
        push: bool = True,
        work_queue_name: str | None = None,
        print_next_steps: bool = True,
        **options: Unpack[DeploymentOptions],
    ) -> str:
        """Deploy this flow to a work pool and return FLOW/NAME; all is as with `Flow.deploy`."""
        from poolform.core.runs.authoring import deploy

        made = self.to_deployment(name, work_queue_name=work_queue_name, **options)
        (full_name,) = deploy(
            made,
            work_pool_name=work_pool_name,
            image=image,
            build=build,
            push=push,
            print_next_steps=print_next_steps,
        )
        return full_name


def from_source(source: str | Path | Source, entrypoint: str) -> RemoteFlow:
    """Fetch a flow's code, look at it, and return the flow, to be deployed from there.

    `source` is the URL of a repository or of a folder in a bucket, a folder of this machine, or a GitRepository,
    RemoteStorage or LocalStorage; `entrypoint` is FILE.py:FUNCTION in it. Raises UsageError where either is not there.
    """
    from poolform.core.opening import opened

    with opened() as house:
        meant = sources.of(source, custom=tuple(house.plugins.sources))
        if isinstance(meant, sources.LocalStorage):
            place = entrypoints.locate(entrypoint, code.folder_of(meant, Path.cwd()))
            return RemoteFlow(entrypoints.read(place), place)
        found = code.fetched(meant, entrypoint, Suppliers(house.plugins, house.blocks))
    return RemoteFlow(found.flow, entrypoints.Place(found.entrypoint, Path()), found.source)
