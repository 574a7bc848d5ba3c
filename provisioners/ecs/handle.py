"""How a task is named in Poolform's records: all that is needed to follow it after ECS has forgotten it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from poolform.core.runs.launchers import Json


@dataclass(frozen=True)
class Handle:
    """A task's ARN, its definition as `family:revision`, its container, and when it was made, in epoch seconds."""

    task: str
    definition: str
    container: str
    created: int

    @classmethod
    def of(cls, task: Mapping[str, Json]) -> Self:
        """Return the handle of a task as ECS describes it."""
        definition = task["taskDefinitionArn"].rsplit("/", 1)[-1]
        return cls(task["taskArn"], definition, own_container(task)["name"], int(task["createdAt"].timestamp()))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote."""
        task, definition, container, created = text.split("#")
        return cls(task, definition, container, int(created))

    def __str__(self) -> str:
        return f"{self.task}#{self.definition}#{self.container}#{self.created}"

    @property
    def cluster(self) -> str:
        """The ARN of the cluster that the task runs in."""
        return self.task.replace(":task/", ":cluster/").rsplit("/", 1)[0]


def own_container(task: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return the job's container among a task's: the one that its overrides name."""
    named = [item["name"] for item in (task.get("overrides") or {}).get("containerOverrides", ())][:1]
    containers: list[Mapping[str, Json]] = task.get("containers") or [{"name": (named or ["flow"])[0]}]
    return next((container for container in containers if container.get("name") in named), containers[0])
