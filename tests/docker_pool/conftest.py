"""The engine of this machine, and a client of it that is not ours."""

from __future__ import annotations

import pytest
from clouds.docker import base_image, engine, registry

from poolform.testing.fixtures import standin, throwaway_home

__all__ = ["base_image", "engine", "registry", "standin", "throwaway_home"]  # fixtures


@pytest.fixture
def client(engine):
    import docker

    client = docker.from_env()
    yield client
    client.close()
