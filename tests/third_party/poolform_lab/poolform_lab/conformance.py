"""What Poolform's contracts need to know to try the laboratory."""

from __future__ import annotations

import pytest

from poolform.testing import LauncherContract, PoolTypeContract
from poolform_lab.launcher import BenchLauncher
from poolform_lab.plugin import BareLab, Lab


class TestLab(PoolTypeContract):
    pool_type = Lab
    examples = ({"folder": "/lab"}, {"folder": "/lab", "benches": 3, "lamp": True})


class TestBareLab(PoolTypeContract):
    pool_type = BareLab
    examples = ({"folder": "/lab"},)


class TestBenchLauncher(LauncherContract):
    pool_type = Lab
    patience = 10.0

    @pytest.fixture
    def connect(self, tmp_path):
        return lambda: BenchLauncher([str(tmp_path / "bench")])

    @pytest.fixture
    def leftovers(self, tmp_path):
        return lambda: [path.name for path in (tmp_path / "bench").glob("*")]
