"""The Cloud Run launcher keeps the launcher contract, as the pool's own identity, on the module as applied."""

from __future__ import annotations

import pytest

from poolform.provisioners.cloud_run.launcher import CloudRunLauncher
from poolform.provisioners.cloud_run.pool_type import CloudRunPush
from poolform.provisioners.cloud_run.session import Google
from poolform.testing.launchers import LauncherContract

pytestmark = pytest.mark.slow


class TestCloudRunLauncher(LauncherContract):
    pool_type = CloudRunPush
    patience = 60.0

    # Cloud Run counts each variable's value, not the command and all of the environment: test_launcher.py.
    test_a_payload_over_the_limit_is_refused_before_launch = None
    test_a_payload_within_the_limit_arrives_whole = None
    # Cloud Run tells nobody that a job has ended.
    test_an_end_is_heard_of = None

    @pytest.fixture
    def connect(self, pool, owner):
        self.job_variables = pool.job_defaults
        made = []

        def launcher():
            google = Google.of_launcher(pool.settings, None)
            made.append(CloudRunLauncher(google, pool.settings, settle=0.2, interval=0.0))
            return made[-1]

        yield launcher
        for one in made:
            one.close()

    @pytest.fixture
    def leftovers(self, owner):
        def look():
            left = owner.inventory()
            return [*left.get("jobs", ()), *left.get("secrets", ())]

        return look
