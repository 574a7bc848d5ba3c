"""Who may do what where: roles that tests give, and those that Terraform assigned in the imaginary cloud."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poolform.testing.standin import Cloud

BUILT_IN = {"AcrPull": ("Microsoft.ContainerRegistry/registries/pull/read",)}


@dataclass(frozen=True)
class Assignment:
    """A role that a principal has on a scope and all below it."""

    principal: str
    scope: str
    actions: tuple[str, ...]
    not_actions: tuple[str, ...] = ()

    def allows(self, action: str) -> bool:
        return _any(self.actions, action) and not _any(self.not_actions, action)

    def covers(self, scope: str) -> bool:
        own, other = self.scope.lower().rstrip("/"), scope.lower().rstrip("/")
        return other == own or other.startswith(f"{own}/")


class Roles:
    """Role assignments."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.given: list[Assignment] = []

    def of(self, principal: str, scope: str) -> list[Assignment]:
        """The roles that a principal has on a scope."""
        return [item for item in (*self.given, *self._made()) if item.principal == principal and item.covers(scope)]

    def anywhere(self, principal: str) -> bool:
        """Whether a principal has a role on anything at all."""
        return any(item.principal == principal for item in (*self.given, *self._made()))

    def allow(self, principal: str, action: str, scope: str) -> bool:
        return any(item.allows(action) for item in self.of(principal, scope))

    def _made(self) -> list[Assignment]:
        objects = self._cloud.objects()
        definitions = {item["role_definition_id"]: item for item in objects.get("azurerm_role_definition", {}).values()}
        found = []
        for item in objects.get("azurerm_role_assignment", {}).values():
            definition = definitions.get(item["role_definition_id"].rsplit("/", 1)[-1])
            actions: Any = BUILT_IN.get(item["role_definition_name"], ())
            if definition is not None:
                assert any(item["scope"].lower().startswith(at.lower()) for at in definition["assignable_scopes"]), item
                actions = definition["permissions"][0]["actions"]
            found.append(Assignment(item["principal_id"], item["scope"], tuple(actions)))
        return found


def _any(patterns: tuple[str, ...], action: str) -> bool:
    return any(re.fullmatch(re.escape(one).replace(r"\*", ".*"), action, re.IGNORECASE) for one in patterns)
