"""The launcher contract as tests. Subclass, say how to reach the platform, and run pytest:

    class TestLabLauncher(LauncherContract):
        pool_type = Lab                             # whose jobs these are
        job_variables = {"image": "lab/python"}     # what must be set of them here

        @pytest.fixture
        def connect(self, lab):                     # your fixture: the platform, or a stand-in that runs jobs
            return lambda: LabLauncher(lab.url)

        @pytest.fixture
        def leftovers(self, lab):
            return lambda: lab.everything()

Each test is one rule of `poolform.core.runs.launchers`, and its failure says which.
"""  # noqa: D400 - the example is the point

from __future__ import annotations

from poolform.testing.launchers.ending import Ending
from poolform.testing.launchers.launching import Launching
from poolform.testing.launchers.watching import Watching


class LauncherContract(Launching, Watching, Ending):
    """Every launcher passes these. Override the fixtures `connect` and `leftovers`, set what the platform needs."""


__all__ = ["LauncherContract"]
