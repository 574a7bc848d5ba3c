"""A node: how a pod of it fares. Its container's command runs for real, and its log is kept as kubelets keep it."""

from __future__ import annotations

import base64
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from clouds.kubernetes.objects import now
from clouds.kubernetes.schema import quantity
from clouds.kubernetes.wire import ApiError
from clouds.processes import Container

if TYPE_CHECKING:
    from pathlib import Path

    from clouds.kubernetes.objects import Object, Objects

CORES = 4.0


@dataclass
class Node:
    """Settings of the one node. `memory_scale` shrinks the limits of containers; `stop_timeout` is in seconds."""

    memory_scale: float = 1.0
    stop_timeout: float = 30.0
    images: dict[str, Path] = field(default_factory=dict)
    """What is in an image's working folder."""
    entrypoints: dict[str, list[str]] = field(default_factory=dict)
    missing_images: set[str] = field(default_factory=set)
    pull_seconds: float = 0.0


class Pod:
    """One pod on the node. `step` moves it on; `over` says that its container has ended, or never will begin."""

    def __init__(self, objects: Objects, node: Node, pod: Object) -> None:
        self._objects, self._node = objects, node
        self.namespace, self.name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        self._spec, self._born = pod["spec"], time.monotonic()
        self._container: Container | None = None
        self._since: str | None = None
        self.lines: list[tuple[int, str]] = []
        self.over = False
        self.ended = False  # by somebody else than itself

    @property
    def started(self) -> bool:
        return self._container is not None

    def start(self) -> bool:
        """Begin, where nothing is in the way; False where something is, or it is still being pulled."""
        own = self._spec["containers"][0]
        try:
            self._schedule(own)
            if time.monotonic() - self._born < self._node.pull_seconds:
                self._wait("ContainerCreating", "")
                return False
            self._pull(own)
            environment = self._environment(own)
        except _Hindered as exc:
            self._wait(exc.reason, str(exc), scheduled=exc.scheduled)
            return False
        command = own.get("command") or self._node.entrypoints.get(own["image"], [])
        command = [expand(word, environment) for word in (*command, *(own.get("args") or ()))]
        limit = ((own.get("resources") or {}).get("limits") or {}).get("memory")
        self._container = Container(
            command, environment, self._print, content=self._node.images.get(own["image"]),
            memory=quantity(limit) * self._node.memory_scale if limit else float("inf"),
            stop_timeout=min(float(self._spec.get("terminationGracePeriodSeconds", 30)), self._node.stop_timeout),
        )  # fmt: skip
        self._container.start()
        self._since = now()
        if self._container._process is None:
            self.lines.clear()
            why = (f'failed to create containerd task: failed to create shim task: exec: "{command[0]}": '
                   "no such file or directory: unknown")  # fmt: skip
            self._container.wait()
            self._finish(128, "StartError", why)
        else:
            self._show({"running": {"startedAt": self._since}}, "Running")
        return True

    def wait(self) -> None:
        """Until its container has ended."""
        assert self._container is not None
        if not self.over:
            code = self._container.wait()
            reason = "OOMKilled" if self._container.out_of_memory else "Completed" if code == 0 else "Error"
            self._finish(code, reason, "")

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when its time is up."""
        self.ended = True
        if self._container is not None:
            self._container.terminate()
        else:
            self.over = True

    def kill(self) -> None:
        if self._container is not None:
            self._container.kill()

    def evict(self, message: str) -> None:
        """End it as a node does that is short of something."""

        def mark(pod: Object) -> None:
            pod["status"] |= {"reason": "Evicted", "message": message}

        self._objects.change("pods", self.namespace, self.name, mark)
        self.kill()

    def _schedule(self, own: Object) -> None:
        asked = ((own.get("resources") or {}).get("requests") or {}).get("cpu")
        if asked and quantity(asked) > CORES:
            raise _Hindered("Unschedulable", "0/1 nodes are available: 1 Insufficient cpu.", scheduled=False)

    def _pull(self, own: Object) -> None:
        if own["image"] in self._node.missing_images:
            raise _Hindered("ImagePullBackOff", f'Back-off pulling image "{own["image"]}"')

    def _environment(self, own: Object) -> dict[str, str]:
        found: dict[str, str] = {}
        for variable in own.get("env") or ():
            source = (variable.get("valueFrom") or {}).get("secretKeyRef")
            found[variable["name"]] = self._secret(source) if source else expand(variable.get("value") or "", found)
        return found

    def _secret(self, source: dict[str, str]) -> str:
        try:
            data = self._objects.get("secrets", self.namespace, source["name"])["data"]
            return base64.b64decode(data[source["key"]]).decode()
        except ApiError as exc:
            raise _Hindered("CreateContainerConfigError", f'secret "{source["name"]}" not found') from exc
        except KeyError as exc:
            raise _Hindered("CreateContainerConfigError", f"couldn't find key {source['key']} in Secret") from exc

    def _print(self, text: str) -> None:
        self.lines.append((time.time_ns(), text))

    def log(self, query: dict[str, str]) -> bytes:
        """What PodLogOptions ask for; the API passes `sinceTime` on in whole seconds."""
        since = 0.0
        if "sinceTime" in query:
            since = float(int(datetime.fromisoformat(query["sinceTime"]).timestamp()))
        shown = [(at, text) for at, text in list(self.lines) if at / 1e9 >= since]
        if query.get("timestamps") == "true":
            return "".join(f"{_nanoseconds(at)} {text}\n" for at, text in shown).encode()
        return "".join(f"{text}\n" for _, text in shown).encode()

    def _wait(self, reason: str, message: str, *, scheduled: bool = True) -> None:
        if scheduled:
            self._show({"waiting": {"reason": reason, "message": message}}, "Pending")
            return
        condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}

        def mark(pod: Object) -> None:
            pod["status"] = {"phase": "Pending", "conditions": [condition]}

        self._objects.change("pods", self.namespace, self.name, mark)

    def _finish(self, code: int, reason: str, message: str) -> None:
        state = {"exitCode": code, "reason": reason, "startedAt": self._since, "finishedAt": now()}
        if message:
            state["message"] = message
        self.over = True
        self._show({"terminated": state}, "Succeeded" if code == 0 else "Failed")

    def _show(self, state: dict[str, Any], phase: str) -> None:
        status = {"name": self._spec["containers"][0]["name"], "state": state, "restartCount": 0}

        def mark(pod: Object) -> None:
            kept = {key: pod["status"][key] for key in ("reason", "message") if key in pod["status"]}
            pod["status"] = {"phase": phase, "containerStatuses": [status], **kept}

        self._objects.change("pods", self.namespace, self.name, mark)


class _Hindered(Exception):
    def __init__(self, reason: str, message: str, *, scheduled: bool = True) -> None:
        super().__init__(message)
        self.reason, self.scheduled = reason, scheduled


def expand(text: str, variables: dict[str, str]) -> str:
    """As kubelets do: $(NAME) where there is such a variable, $$ is a dollar sign, everything else is itself.

    https://github.com/kubernetes/kubernetes/blob/master/third_party/forked/golang/expansion/expand.go
    """
    return re.sub(
        r"\$(?:\$|\(([^)]*)\))",
        lambda match: "$" if match[0] == "$$" else variables.get(match[1], match[0]),
        text,
    )


def _nanoseconds(at: int) -> str:
    whole, rest = divmod(at, 1_000_000_000)
    return f"{datetime.fromtimestamp(whole, UTC).strftime('%Y-%m-%dT%H:%M:%S')}.{rest:09d}Z"
