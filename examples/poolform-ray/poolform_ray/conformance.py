"""What Poolform asks of pool types and launchers, asked of ours. `pytest` and `poolform plugin check` run it.

The launcher's part needs a cluster: `RAY_CLUSTER=http://HOST:PORT`, on this machine. The tests beside start one.
"""

import os
import sys

import pytest

from poolform.testing import LauncherContract, PoolTypeContract
from poolform_ray.launcher import ENTRYPOINT, RayLauncher
from poolform_ray.plugin import Ray


class TestRayPoolType(PoolTypeContract):
    """Each test is one rule of the pool type contract."""

    pool_type = Ray
    examples = ({"address": "http://127.0.0.1:8265"},)


class TestRayLauncher(LauncherContract):
    """Each test is one rule of the launcher contract."""

    pool_type = Ray
    job_variables = {"cpu": 0.1}
    python = (sys.executable,)
    patience = 120.0
    pause = 0.1

    @pytest.fixture
    def address(self):
        """Return where the cluster is."""
        if "RAY_CLUSTER" not in os.environ:
            pytest.skip("RAY_CLUSTER names no cluster to try the launcher on")
        return os.environ["RAY_CLUSTER"]

    @pytest.fixture
    def connect(self, address):
        """Return a function that makes launchers, all of one cluster."""
        return lambda: RayLauncher(address)

    @pytest.fixture
    def leftovers(self, address):
        """Return a function that names every job that the cluster knows.

        Of one that was removed within a second of its end, Ray may write down once more that it has ended, without an
        entrypoint; the launcher clears that away later.
        """
        from ray.job_submission import JobSubmissionClient

        def look():
            found = JobSubmissionClient(address).list_jobs()
            return [job.submission_id for job in found if job.entrypoint == ENTRYPOINT]

        return look
