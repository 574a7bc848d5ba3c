"""What a shell is offered when somebody presses Tab."""

from __future__ import annotations

import re

import pytest

from poolform.core.settings import Settings
from poolform.core.store import blocks, deployments, pools, queues, runs, schedules
from poolform.core.store.database import open_store


@pytest.fixture
def tab(poolform):
    """What zsh is offered for the last word of a command line, with what it shows beside each."""

    def offered(line):
        done = poolform(_POOLFORM_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS=f"poolform {line}")
        assert "Traceback" not in done.err, done.err
        return dict(re.findall(r'"([^":]+)"(?::"([^"]*)")?', done.out))

    return offered


@pytest.mark.slow
def test_names_are_offered_with_what_tells_them_apart(tab, home):
    assert tab("flow-run inspect ") == tab("block inspect ") == tab("work-queue inspect ") == {}
    assert not (home / "poolform.db").exists(), "to press Tab makes no database"
    with open_store(Settings.from_environment()) as store, store.write() as tx:
        made = {n: pools.create(tx, name=n, type="process", plugin="process", plugin_version="1") for n in ("p", "q")}
        queues.create(tx, made["p"].id, "urgent")
        queues.create(tx, made["q"].id, "unhurried")
        first, *_, last = [runs.submit(tx, pool=made["p"], flow_name="etl") for _ in range(25)]
        queue = queues.get(tx, made["p"].id)
        deployed = deployments.save(
            tx, flow_name="etl", name="x", pool_id=made["p"].id, queue_id=queue.id, entrypoint="f.py:etl"
        )
        schedules.add(tx, deployed.id, kind="cron", expression="0 1 * * *", timezone="UTC", slug="nightly")
        blocks.save(tx, type="secret", name="token", data="x")
    offered = tab("flow-run logs ")
    assert len(offered) == 20
    assert offered[last.id[:12]] == f"{last.name}, scheduled"
    assert first.id[:12] not in offered
    assert set(tab(f"flow-run cancel {first.id[:10]}")) == {first.id[:12]}
    assert tab(f"flow-run cancel {last.name}")[last.name] == f"{last.id[:12]}, scheduled"
    assert set(tab("work-queue inspect u")) == {"urgent", "unhurried"}
    assert set(tab("work-queue inspect --pool p u")) == {"urgent"}
    assert set(tab("deploy f.py:f --pool q --queue ")) == {"default", "unhurried"}
    assert tab("deployment schedule pause etl/x n") == {"nightly": "cron 0 1 * * *"}
    assert tab("deployment schedule pause etl/y ") == {}
    assert set(tab("block inspect s")) == {"secret/token"}
    assert set(tab("worker start --pool ")) == {"p", "q"}
    assert set(tab("work-pool ls --type pro")) == {"process"}
