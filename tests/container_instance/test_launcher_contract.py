"""The launcher keeps the launcher contract, as the pool's own service principal, on the module as applied."""

from __future__ import annotations

import pytest

from poolform.provisioners.container_instance.launcher import ContainerInstanceLauncher
from poolform.provisioners.container_instance.pool_type import ContainerInstancePush
from poolform.provisioners.container_instance.session import Access
from poolform.testing.launchers import LauncherContract

pytestmark = pytest.mark.slow


class TestContainerInstanceLauncher(LauncherContract):
    pool_type = ContainerInstancePush

    # Azure shows the last 1,000 lines of a container that has ended: test_output.py.
    test_every_line_comes_once_and_in_order = None
    # Azure tells nobody that a container has ended.
    test_an_end_is_heard_of = None

    @pytest.fixture
    def connect(self, pool, owner):
        self.job_variables = pool.connection.job_defaults
        owner.groups.stop_timeout, owner.groups.making = 1.0, 0.1
        made = []

        def launcher():
            access = Access.of_launcher(pool.settings, pool.credential)
            made.append(ContainerInstanceLauncher(access, pool.settings, settle=0.3))
            return made[-1]

        yield launcher
        for one in made:
            one.close()

    @pytest.fixture
    def leftovers(self, owner):
        return owner.groups.names
