"""One change of a pool at a time, on one machine and on several."""

from __future__ import annotations

import pytest

from poolform.core.errors import Busy
from poolform.core.pools.lock import pool_lock, require_unlocked
from poolform.core.settings import Settings
from poolform.core.store.database import open_store


def test_a_second_holder_is_told_of_the_first(store):
    settings = Settings.from_environment()
    with pool_lock(settings, store, "ab12cd34", "p", "upgrade"):
        with pytest.raises(Busy, match=r"The pool p is being changed just now: upgrade by .+ \(process \d+\)"):
            require_unlocked(settings, "ab12cd34", "p")
        with pytest.raises(Busy, match="upgrade by"), pool_lock(settings, store, "ab12cd34", "p", "drift"):
            pass
        with pool_lock(settings, store, "other", "q", "upgrade"):
            pass
    require_unlocked(settings, "ab12cd34", "p")
    with pool_lock(settings, store, "ab12cd34", "p", "upgrade"):
        pass


@pytest.mark.postgresql
def test_two_machines_with_one_database_are_kept_apart(postgresql_url, tmp_path):
    here, there = (Settings.from_environment({"POOLFORM_HOME": str(tmp_path / name)}) for name in ("a", "b"))
    with open_store(postgresql_url) as one, open_store(postgresql_url) as other:
        holding = pool_lock(here, one, "ab12cd34", "p", "upgrade")
        with holding, pytest.raises(Busy, match="from another machine"):
            pool_lock(there, other, "ab12cd34", "p", "upgrade").__enter__()
        with pool_lock(there, other, "ab12cd34", "p", "upgrade"):
            pass
