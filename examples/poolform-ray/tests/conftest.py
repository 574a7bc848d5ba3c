"""A real Ray cluster of two nodes on this machine, for all tests of a session."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

pytest_plugins = ["poolform.testing.fixtures"]


class Cluster:
    """A head node, and another one that can be killed and brought back."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short: Ray keeps sockets in it
        self.gcs, self.dashboard = free(), free()
        self.address = f"http://127.0.0.1:{self.dashboard}"
        # Not the first free ports from 10002 on, which other clusters of this machine take as well.
        self.head = self.start(
            "--head", f"--port={self.gcs}", f"--dashboard-port={self.dashboard}", "--dashboard-host=127.0.0.1",
            f"--ray-client-server-port={free()}", f"--temp-dir={self.folder}",
        )  # fmt: skip
        self.wait(self.answers)
        self.node = self.start(f"--address=127.0.0.1:{self.gcs}", '--resources={"other": 1}')
        self.wait(lambda: self.nodes() == 2)

    def start(self, *how):
        command = [
            Path(sys.executable).with_name("ray"), "start", "--block", "--disable-usage-stats", "--num-cpus=4",
            "--node-ip-address=127.0.0.1", "--object-store-memory=100000000",
            f"--dashboard-agent-listen-port={free()}", *how,
        ]  # fmt: skip
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"}
        with (self.folder / "said").open("a") as said:
            return subprocess.Popen(command, env=env, stdout=said, stderr=said, start_new_session=True)

    def kill_node(self):
        """End the other node as a power cut does: all that runs on it."""
        kill(self.node)

    def bring_node_back(self):
        self.node = self.start(f"--address=127.0.0.1:{self.gcs}", '--resources={"other": 1}')
        self.wait(lambda: self.nodes() == 2)

    def stop(self):
        kill(self.node)
        kill(self.head)
        shutil.rmtree(self.folder, ignore_errors=True)

    def answers(self):
        try:
            return bool(get(f"{self.address}/api/version"))
        except OSError:
            return False

    def nodes(self):
        found = get(f"{self.address}/nodes?view=summary")["data"]["summary"]
        return sum(node["raylet"]["state"] == "ALIVE" for node in found)

    def wait(self, said):
        deadline = time.monotonic() + 120
        while not said():
            assert time.monotonic() < deadline, (self.folder / "said").read_text()[-3000:]
            time.sleep(0.2)


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def free():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def kill(node):
    """Kill a node's processes, and those of the jobs on it, which have sessions of their own."""
    for process in [*descendants(node.pid), node.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(node.pid, signal.SIGKILL)
    node.wait()


def descendants(pid):
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                yield from descendants(child)
                yield child


@pytest.fixture(scope="session")
def cluster():
    """The cluster."""
    made = Cluster()
    yield made
    made.stop()
