"""The process launcher keeps the launcher contract, with pidfds and without."""

from __future__ import annotations

import sys

import pytest

from poolform.core.runs.launchers import Notifies
from poolform.provisioners.process import Process
from poolform.provisioners.process.launcher import ProcessLauncher
from poolform.provisioners.process.watching import process_launcher
from poolform.testing.launchers import LauncherContract


class TestPollingProcessLauncher(LauncherContract):
    """As on a system without pidfds."""

    pool_type = Process

    @pytest.fixture
    def connect(self, tmp_path):
        return lambda: ProcessLauncher(tmp_path / "jobs", grace=1.0)

    @pytest.fixture
    def leftovers(self, tmp_path):
        return lambda: [path.name for path in (tmp_path / "jobs").glob("*")] if (tmp_path / "jobs").exists() else []


@pytest.mark.skipif(sys.platform != "linux", reason="pidfds are Linux's")
class TestNotifyingProcessLauncher(TestPollingProcessLauncher):
    """As on Linux."""

    @pytest.fixture
    def connect(self, tmp_path):
        return lambda: process_launcher(tmp_path / "jobs", grace=1.0)

    def test_it_notifies(self, launcher):
        assert isinstance(launcher, Notifies)
