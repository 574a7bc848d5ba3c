"""The Kubernetes launcher keeps the launcher contract, as the pool's own identity, in the namespace as applied."""

from __future__ import annotations

import pytest

from poolform.provisioners.kubernetes.launcher import KubernetesLauncher
from poolform.provisioners.kubernetes.pool_type import Kubernetes
from poolform.provisioners.kubernetes.session import Cluster
from poolform.testing.launchers import LauncherContract

pytestmark = pytest.mark.slow


class TestKubernetesLauncher(LauncherContract):
    pool_type = Kubernetes
    patience = 30.0
    # Kubernetes can be watched, but a dispatcher's network need not let a watch live.
    test_an_end_is_heard_of = None

    @pytest.fixture
    def connect(self, pool, cluster):
        self.job_variables = pool.job_defaults
        cluster.node.stop_timeout = 0.5
        yield lambda: KubernetesLauncher(Cluster.of_launcher(pool.settings), pool.settings)
        cluster.node.stop_timeout = 30.0

    @pytest.fixture
    def leftovers(self, cluster):
        return cluster.inventory
