"""No run is lost, stuck or launched twice, and no limit passed, while workers are killed and the database restarts.

The long version, with ten thousand runs, is benchmarks/storm.py.
"""

from __future__ import annotations

import shutil

import postgresql
import pytest
from storm import Storm

pytestmark = pytest.mark.slow


@pytest.mark.postgresql
def test_four_workers_on_postgresql_that_is_restarted_twice(tmp_path):
    if not shutil.which("initdb"):
        pytest.skip("PostgreSQL's server binaries are not on PATH")
    server = postgresql.start()
    try:
        storm = Storm(
            f"{server['url']}/postgres",
            tmp_path,
            count=400,
            every=(0.5, 1.5),
            restarts=[
                (0.3, lambda: postgresql.restart(server, "immediate")),
                (0.6, lambda: postgresql.restart(server, "fast")),
            ],
        )
        storm.submit()
        storm.rage(patience=180)
        storm.check()
        assert storm.restarted == 2
        assert storm.kills >= 2
    finally:
        postgresql.stop(server)


def test_four_workers_on_sqlite(tmp_path):
    storm = Storm(f"sqlite:///{tmp_path / 'store.db'}", tmp_path, count=300, every=(0.5, 1.5))
    storm.submit()
    storm.rage(patience=180)
    storm.check()
    assert storm.kills >= 2
