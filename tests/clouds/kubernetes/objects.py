"""What the cluster holds besides what Terraform made: versioned, selected by labels, collected with their owners."""

from __future__ import annotations

import copy
import json
import re
import threading
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from clouds.kubernetes.schema import OBJECT_LIMIT
from clouds.kubernetes.wire import ApiError, not_found

if TYPE_CHECKING:
    from collections.abc import Callable

Object = dict[str, Any]
KINDS = {"jobs": ("batch/v1", "Job"), "pods": ("v1", "Pod"), "secrets": ("v1", "Secret"), "events": ("v1", "Event")}


class Objects:
    """Jobs, pods, secrets and events, by namespace and name. Thread-safe: `lock` holds several steps together."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._all: dict[tuple[str, str, str], Object] = {}
        self._version = 1000

    def add(self, resource: str, namespace: str, body: Object) -> Object:
        """Make an object. Raises ApiError where there is one of that name, or it is too large for etcd."""
        api, kind = KINDS[resource]
        name = body["metadata"]["name"]
        with self.lock:
            if (resource, namespace, name) in self._all:
                full = f"{resource}.batch" if resource == "jobs" else resource
                raise ApiError(409, "AlreadyExists", f'{full} "{name}" already exists')
            made = copy.deepcopy(body)
            made |= {"apiVersion": api, "kind": kind}
            made["metadata"] |= {"namespace": namespace, "uid": str(uuid.uuid4()), "creationTimestamp": now()}
            if len(json.dumps(made, ensure_ascii=False).encode()) > OBJECT_LIMIT:
                raise ApiError(500, "", "etcdserver: request is too large")
            self._touch(made)
            self._all[resource, namespace, name] = made
            return copy.deepcopy(made)

    def get(self, resource: str, namespace: str, name: str) -> Object:
        with self.lock:
            found = self._all.get((resource, namespace, name))
            if found is None:
                raise not_found(f"{resource}.batch" if resource == "jobs" else resource, name)
            return copy.deepcopy(found)

    def find(self, resource: str, namespace: str | None = None, selector: str = "") -> list[Object]:
        with self.lock:
            return [
                copy.deepcopy(item)
                for (kind, home, _), item in sorted(self._all.items())
                if kind == resource and namespace in (None, home) and matches(selector, item["metadata"].get("labels"))
            ]

    def change(self, resource: str, namespace: str, name: str, change: Callable[[Object], object]) -> Object | None:
        """Let `change` alter an object in place; None where it is gone."""
        with self.lock:
            found = self._all.get((resource, namespace, name))
            if found is None:
                return None
            change(found)
            self._touch(found)
            return copy.deepcopy(found)

    def drop(self, resource: str, namespace: str, name: str) -> None:
        """Remove an object, and what it owns."""
        with self.lock:
            gone = self._all.pop((resource, namespace, name), None)
            if gone is None:
                return
            uid = gone["metadata"]["uid"]
            for (kind, home, other), item in list(self._all.items()):
                owners = item["metadata"].get("ownerReferences") or ()
                if any(owner["uid"] == uid for owner in owners):
                    self.drop(kind, home, other)

    def uids(self) -> set[str]:
        with self.lock:
            return {item["metadata"]["uid"] for item in self._all.values()}

    def names(self) -> list[str]:
        """Everything but events, for who looks whether something is left."""
        with self.lock:
            return sorted("/".join(key) for key in self._all if key[0] != "events")

    def leaving(self) -> bool:
        """Whether something is being deleted."""
        with self.lock:
            return any("deletionTimestamp" in item["metadata"] for item in self._all.values())

    def homes(self) -> set[str]:
        with self.lock:
            return {home for _, home, _ in self._all}

    def tell(self, namespace: str, about: Object, reason: str, message: str) -> None:
        """Write a warning; the same again counts once."""
        named = {"kind": about["kind"], "name": about["metadata"]["name"], "namespace": namespace}
        with self.lock:
            for event in self.find("events", namespace):
                if (event["involvedObject"], event["message"]) == (named, message):
                    return
            self.add("events", namespace, {
                "metadata": {"name": f"{named['name']}.{uuid.uuid4().hex[:12]}"}, "type": "Warning", "reason": reason,
                "message": message, "involvedObject": named, "lastTimestamp": now(),
            })  # fmt: skip

    def _touch(self, item: Object) -> None:
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def matches(selector: str, labels: dict[str, str] | None) -> bool:
    """Whether labels fit a selector such as `a=b,c in (d,e)`. Raises ApiError for one that cannot be read."""
    for part in filter(None, re.split(r",(?![^(]*\))", selector)):
        equal = re.fullmatch(r"\s*([\w./-]+)\s*==?\s*([\w.-]*)\s*", part)
        among = re.fullmatch(r"\s*([\w./-]+)\s+in\s+\(([\w.,\s-]*)\)\s*", part)
        if equal is None and among is None:
            raise ApiError(400, "BadRequest", f"unable to parse requirement: {part}")
        wanted = [equal[2]] if equal else [value.strip() for value in among[2].split(",")]
        if (labels or {}).get((equal or among)[1]) not in wanted:
            return False
    return True


def merge(target: Object, patch: Object) -> None:
    """A JSON merge patch (RFC 7396), in place."""
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict) and isinstance(target.get(key), dict):
            merge(target[key], value)
        else:
            target[key] = copy.deepcopy(value)
