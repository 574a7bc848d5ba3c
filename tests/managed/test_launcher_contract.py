"""Managed jobs keep the launcher contract, as processes and as containers."""

from __future__ import annotations

import os

import pytest

from poolform.provisioners.docker.engine import Engine, found_host
from poolform.provisioners.managed.containers import ManagedContainers
from poolform.provisioners.managed.pool_type import Managed
from poolform.provisioners.managed.processes import managed_processes
from poolform.testing.launchers import LauncherContract

POOL = f"managed{os.getpid()}"  # the engine is shared with other processes that test


class TestProcesses(LauncherContract):
    pool_type = Managed
    python = ("python",)
    sees_files = False  # each job is another user, who may write nowhere but to its own folder

    @pytest.fixture
    def connect(self, folder, index):
        return lambda: managed_processes(folder, keep=3600.0, grace=1.0)

    @pytest.fixture
    def leftovers(self, folder):
        def look():
            kept = (*folder.glob("jobs/*"), *folder.glob("scratch/*"), *folder.glob("environments/uses/*"))
            return [str(path) for path in kept]

        return look


@pytest.mark.docker
@pytest.mark.slow
class TestContainers(LauncherContract):
    pool_type = Managed
    python = ("python3",)
    sees_files = False
    # The engine tells nobody that a container has ended.
    test_an_end_is_heard_of = None

    @pytest.fixture
    def connect(self, folder, base_image):
        self.job_variables = {"image": base_image}
        return lambda: ManagedContainers(folder, Engine(found_host()), POOL, keep=3600.0, grace=1.0)

    @pytest.fixture
    def leftovers(self, engine):
        import docker

        client = docker.from_env()
        yield lambda: [
            found.name for found in client.containers.list(all=True, filters={"label": f"poolform-pool-id={POOL}"})
        ]
        client.close()
