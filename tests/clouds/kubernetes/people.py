"""Who asks, and what they may: bearer tokens, impersonation, and RBAC by the roles that Terraform made."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clouds.kubernetes.wire import ApiError, Request

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clouds.kubernetes.terraform import Made

EVERYTHING = ({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},)
# What everybody who is known may, by the cluster role system:basic-user.
_BASIC = {("authorization.k8s.io", "selfsubjectaccessreviews"), ("authentication.k8s.io", "selfsubjectreviews")}
_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True)
class User:
    """Somebody with a token, and rules for the whole cluster or (`namespace`) one namespace."""

    name: str
    rules: tuple[dict[str, Any], ...] = ()
    namespace: str | None = None
    token: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)


class People:
    """Everybody who is known. `denied` is left out of everybody's rights."""

    def __init__(self, made: Made) -> None:
        self._made = made
        self._by_token: dict[str, User] = {}
        self.denied: set[tuple[str, str, str]] = set()
        """(verb, group, resource) that no rule grants any more."""

    def add(self, user: User) -> User:
        self._by_token[user.token] = user
        return user

    def forget(self, user: User) -> None:
        del self._by_token[user.token]

    def caller(self, request: Request) -> User:
        """Who asks; whoever they act as, where they may. Raises ApiError."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        user = self._by_token.get(token)
        if user is None or scheme.lower() != "bearer":
            raise ApiError(401, "Unauthorized", "Unauthorized")
        other = request.headers.get("impersonate-user")
        if not other:
            return user
        account = other.startswith(_ACCOUNT)
        namespace, name = other.removeprefix(_ACCOUNT).split(":") if account else (None, other)
        self.require(user, "impersonate", "", "serviceaccounts" if account else "users", namespace, name)
        return User(other)

    def require(
        self, user: User, verb: str, group: str, resource: str, namespace: str | None, name: str | None
    ) -> None:
        if self.allows(user, verb, group, resource, namespace, name) or (group, resource) in _BASIC:
            return
        where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
        full = ".".join(filter(None, (resource.partition("/")[0], group)))
        message = (
            f'{full} "{name or ""}" is forbidden: User "{user.name}" cannot {verb} resource "{resource}" in API group '
            f'"{group}" {where}'
        )
        raise ApiError(403, "Forbidden", message)

    def allows(self, user: User, verb: str, group: str, resource: str, namespace: str | None, name: str | None) -> bool:
        if (verb, group, resource) in self.denied:
            return False
        return any(_grants(rule, verb, group, resource, name) for rule in self._rules(user, namespace))

    def _rules(self, user: User, namespace: str | None) -> Iterable[dict[str, Any]]:
        if user.namespace in (None, namespace):
            yield from user.rules
        if namespace is None or not user.name.startswith(_ACCOUNT):
            return
        home, name = user.name.removeprefix(_ACCOUNT).split(":")
        roles = {role["metadata"]["name"]: role for role in self._made.objects("roles", namespace)}
        for binding in self._made.objects("rolebindings", namespace):
            for subject in binding["subjects"]:
                if (subject["kind"], subject["namespace"], subject["name"]) == ("ServiceAccount", home, name):
                    role = roles.get(binding["roleRef"]["name"])
                    yield from role["rules"] if role else ()


def _grants(rule: dict[str, Any], verb: str, group: str, resource: str, name: str | None) -> bool:
    names = rule.get("resourceNames") or ()
    return (
        bool({verb, "*"} & set(rule["verbs"]))
        and bool({group, "*"} & set(rule["apiGroups"]))
        and bool({resource, "*"} & set(rule["resources"]))
        and (not names or name in names)
    )
