"""A Kubernetes cluster on loopback: its API, a job controller, and a node whose containers are processes.

It refuses what the API refuses (fields, names, quantities, sizes), permits by the roles that Terraform's stand-in
provider made, keeps versions and owners, runs each Job's command for real, and brings trouble on request.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clouds.faults import Faults
from clouds.kubernetes.answers import Answers
from clouds.kubernetes.controller import Controller
from clouds.kubernetes.kubelet import Node
from clouds.kubernetes.objects import Objects
from clouds.kubernetes.people import EVERYTHING, People, User
from clouds.kubernetes.server import Api, Call, serving
from clouds.kubernetes.terraform import Made
from clouds.kubernetes.wire import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["ApiError", "Call", "Cluster", "User", "running"]

CONTEXT = "lab"


@dataclass(frozen=True)
class Cluster:
    """One running cluster."""

    url: str
    made: Made
    objects: Objects
    people: People
    controller: Controller
    faults: Faults
    api: Api
    answers: Answers
    administrator: User

    @property
    def node(self) -> Node:
        return self.controller.node

    def user(self, name: str, *rules: dict, namespace: str | None = None) -> User:
        """Somebody new, who may what these rules say."""
        return self.people.add(User(name, rules, namespace))

    def kubeconfig(self, path: Path, user: User | None = None) -> Path:
        """Write a kubeconfig for somebody; its current context is `lab`, another one leads nowhere."""
        who = user or self.administrator
        document = {
            "apiVersion": "v1", "kind": "Config", "current-context": CONTEXT,
            "clusters": [
                {"name": "here", "cluster": {"server": self.url}},
                {"name": "nowhere", "cluster": {"server": "http://127.0.0.1:9"}},
            ],
            "users": [{"name": who.name, "user": {"token": who.token}}],
            "contexts": [
                {"name": CONTEXT, "context": {"cluster": "here", "user": who.name}},
                {"name": "nowhere", "context": {"cluster": "nowhere", "user": who.name}},
            ],
        }  # fmt: skip
        path.write_text(json.dumps(document))
        return path

    def inventory(self) -> list[str]:
        """All that launchers could leave behind, once what is being deleted is gone."""
        self.answers.sweep()
        deadline = time.monotonic() + 10
        while self.objects.leaving() and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.objects.names()

    def alive(self) -> list[str]:
        """The names of pods whose container runs."""
        return [
            pod["metadata"]["name"] for pod in self.objects.find("pods") if pod["status"]["phase"] == "Running"
        ]  # fmt: skip


@contextmanager
def running() -> Iterator[Cluster]:
    """Run a fresh cluster until the block ends."""
    made, objects, faults = Made(), Objects(), Faults()
    people, controller = People(made), Controller(objects, made, Node())
    answers = Answers(objects, made, people, controller)
    api = Api(people, faults, answers)
    administrator = people.add(User("admin", EVERYTHING))
    with serving(api) as url:
        try:
            yield Cluster(url, made, objects, people, controller, faults, api, answers, administrator)
        finally:
            controller.close()
