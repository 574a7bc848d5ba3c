"""The ECS launcher keeps the launcher contract, as the pool's own identity, on the module as applied."""

from __future__ import annotations

import pytest

from poolform.provisioners.ecs.launcher import EcsLauncher
from poolform.provisioners.ecs.pool_type import EcsPush
from poolform.provisioners.ecs.session import Clients
from poolform.testing.launchers import LauncherContract

pytestmark = [pytest.mark.aws_provider, pytest.mark.slow]


class TestEcsLauncher(LauncherContract):
    pool_type = EcsPush
    patience = 60.0

    # ECS counts what goes into a task's overrides, not the command and all of the environment: test_launcher.py.
    test_a_payload_over_the_limit_is_refused_before_launch = None
    test_a_payload_within_the_limit_arrives_whole = None
    # ECS tells nobody that a task has ended.
    test_an_end_is_heard_of = None

    @pytest.fixture
    def connect(self, pool, administrator):
        self.job_variables = pool.job_defaults
        administrator.tasks.stop_timeout = 1.0
        made = []

        def launcher():
            clients = Clients.of_launcher(pool.settings, None)
            made.append(EcsLauncher(clients, pool.settings, clock=administrator.clock.now, settle=0.3))
            return made[-1]

        yield launcher
        for one in made:
            one.close()

    @pytest.fixture
    def leftovers(self, pool, administrator):
        """What a job leaves until it is removed. Shared definitions and output stay until the pool goes."""

        def look():
            left = administrator.inventory()
            return [*left["parameters"], *left["tasks"], *(d for d in left["task definitions"] if "-once-" in d)]

        return look
