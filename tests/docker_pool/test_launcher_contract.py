"""The Docker launcher keeps the launcher contract, on a real engine."""

from __future__ import annotations

import os

import pytest

from poolform.provisioners.docker.engine import Engine, found_host
from poolform.provisioners.docker.launcher import DockerLauncher
from poolform.provisioners.docker.pool_type import Docker
from poolform.testing.launchers import LauncherContract

pytestmark = [pytest.mark.docker, pytest.mark.slow]
POOL = f"contract{os.getpid()}"  # the engine is shared with other processes that test


class TestDockerLauncher(LauncherContract):
    pool_type = Docker
    python = ("python3",)
    # The engine tells nobody that a container has ended.
    test_an_end_is_heard_of = None

    @pytest.fixture
    def connect(self, base_image, tmp_path):
        # The rules count starts in a folder of this machine.
        self.job_variables = {"image": base_image, "volumes": [f"{tmp_path}:{tmp_path}"]}
        return lambda: DockerLauncher(Engine(found_host()), POOL, grace=1.0)

    @pytest.fixture
    def leftovers(self, client):
        def look():
            found = client.containers.list(all=True, filters={"label": f"poolform-pool-id={POOL}"})
            return [item.name for item in found]

        return look
